"""Benchmarks: each prints a table and writes JSON and plots. Run one as `python -m benchmarks.lfw`."""
