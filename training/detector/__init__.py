"""The face detector's workshop: scenes and pasted faces in, ``models/lrface-detector.onnx`` out."""
