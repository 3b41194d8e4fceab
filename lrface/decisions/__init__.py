"""Calibration curves, thresholds and the rates that they promise."""
