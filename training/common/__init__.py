"""What every part of the workshop uses: files, averaging of weights, processes, ONNX files, the manifest."""
