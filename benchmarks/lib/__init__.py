"""What several benchmarks use: results, plots, crops, searches, data sets."""
