"""A script for each claim: it prints a table, writes JSON and plots. Run as `python -m benchmarks.lfw`."""
