"""Training: small ONNX networks for low-resolution faces are distilled from high-resolution teachers.

A package of the checkout, run as ``python -m training``; it is not part of the wheel.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before any module imports onnxruntime: nothing leaves this machine
