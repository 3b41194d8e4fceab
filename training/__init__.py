"""Training: small ONNX networks for low-resolution faces are distilled from high-resolution teachers.

A package of the checkout, run as ``python -m training``; it is not part of the wheel.
"""
