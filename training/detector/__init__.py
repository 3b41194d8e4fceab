"""Training of the face detector: from scenes and pasted faces to ``models/lrface-detector.onnx``."""
