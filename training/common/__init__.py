"""Shared by all parts of training: files, averaging of weights, processes, ONNX files, the manifest."""
