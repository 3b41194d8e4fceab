"""Clean-up of exported ONNX files."""

from __future__ import annotations

from pathlib import Path

import onnx


def strip(file: Path) -> None:
    """Remove the exporter's notes (names and paths of source files) from a graph, and check it.

    The shapes stay: onnxruntime fuses an addition into the convolution before it only if it knows both shapes.
    """
    model = onnx.load(file)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")
    onnx.checker.check_model(model)
    onnx.save(model, file)
