"""Benchmarks: each prints a table and writes JSON and plots. Run one as `python -m benchmarks.lfw`."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before any module imports onnxruntime: nothing leaves this machine
