"""The landmarks' second look: aligned faces brought into small scenes, ``models/lrface-landmarks.onnx`` out."""
