"""Thresholds are measured here: people's photos and a models folder -> calibration.json."""
