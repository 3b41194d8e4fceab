"""The workshop: high-resolution teachers in, small low-resolution ONNX students out.

A package of the checkout, run as ``python -m training``; it is not part of the wheel.
"""
