"""What both exports do to an ONNX file."""

from __future__ import annotations

from pathlib import Path

import onnx


def strip(file: Path) -> None:
    """Take the exporter's notes (names and places of source files) out of a graph, and check it.

    The shapes stay: onnxruntime adds a tensor in the convolution that makes the other, if it knows them to be alike.
    """
    model = onnx.load(file)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")
    onnx.checker.check_model(model)
    onnx.save(model, file)
