"""Clean-up of exported ONNX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

SMALL = 1024
"""Weights of fewer numbers stay as they are: biases cost little, and rounding them gains nothing."""


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


def store_in_float16(file: Path, target: Path) -> Path:
    """A copy of a float32 network that stores its large weights in float16: half the size, computed as before.

    A Cast to float32 follows each of them; runtimes do it once, when they load the file.

    Raises:
        ValueError: a weight is too large for float16.
    """
    model = onnx.load(file)
    graph, casts = model.graph, []
    for i, weight in enumerate(graph.initializer):
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < SMALL:
            continue
        if not np.abs(values).max() < np.finfo(np.float16).max:
            raise ValueError(f"{file.name}: {weight.name} holds numbers too large for float16")
        stored = numpy_helper.from_array(values.astype(np.float16), f"{weight.name}_float16")
        casts.append(onnx.helper.make_node("Cast", [stored.name], [weight.name], to=onnx.TensorProto.FLOAT))
        graph.initializer[i].CopyFrom(stored)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, target)
    return target
