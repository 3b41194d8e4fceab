"""Multiply-accumulates of an ONNX network for one face, read off its graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx


def count_macs(path: Path) -> int:
    """Convolutions, linear layers and matrix products of ``path`` at batch 1; nodes of unknown shape count as none."""
    model = onnx.load(str(path))
    for dim in model.graph.input[0].type.tensor_type.shape.dim[:1]:
        dim.dim_value = 1
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    # A quantised graph reads its weights through DequantizeLinear, which keeps their shape.
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in shapes:
            shapes[node.output[0]] = shapes[node.input[0]]
    total = 0
    for node in graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul"):
            continue
        out, weight = shapes.get(node.output[0], []), shapes.get(node.input[1], [])
        if not out or not weight:
            continue
        inner = np.prod(weight[1:]) if node.op_type == "Conv" else weight[-2] if node.op_type == "MatMul" else None
        if inner is None:
            transposed = any(a.name == "transB" and a.i for a in node.attribute)
            inner = weight[1] if transposed else weight[0]
        total += int(np.prod([max(1, d) for d in out]) * inner)
    return total
