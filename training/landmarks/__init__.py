"""Landmark refinement: trained on aligned faces in small scenes, exported as ``models/lrface-landmarks.onnx``."""
