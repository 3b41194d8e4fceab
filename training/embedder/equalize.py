"""Equal ranges for the channels inside a network, before it is quantised to int8.

A layer's activations share one scale in int8, so the channels with the largest values leave few steps to the others.
Where a convolution is followed by LeakyReLU and another convolution alone, a channel can be divided by any positive
number in the first and multiplied by it in the second: f(s x) = s f(x), so the float32 network stays the same (Nagel et
al., "Data-free quantization through weight equalization and bias correction", ICCV 2019, section 4.1; there by the
ranges of weights, here by those of activations on training faces).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import numpy_helper

BATCH = 8
QUANTILE = 0.9999
"""Of a channel's magnitudes: its range, without the outermost values."""
LEAST = 1e-3
"""A channel that is smaller than the largest by more than this is not enlarged further."""

Tensors = npt.NDArray[np.float32]


def equalize(source: Path, target: Path, tensors: Tensors) -> int:
    """Write ``source`` with channels of equal ranges.

    Args:
        source: float32 ONNX.
        target: where to write.
        tensors: faces of the training split as the network reads them, float32 ``[n, 3, r, r]``, n > 0.

    Returns:
        How many layers were changed; 0 where the network has none of that kind.
    """
    model = onnx.load(str(source))
    graph = model.graph
    weights = {item.name: item for item in graph.initializer}
    pairs = _pairs(graph, weights)
    for (first, second), ranges in zip(pairs, _ranges(model, pairs, tensors), strict=True):
        # The square root: the weights of the second layer must be quantised too, and share what is gained.
        factor = np.sqrt(np.maximum(ranges / ranges.max(), LEAST)) if ranges.max() > 0 else np.ones(len(ranges))
        depthwise = _groups(second) > 1
        _scale(weights[first.input[1]], 1 / factor[:, None, None, None])
        if len(first.input) > 2:
            _scale(weights[first.input[2]], 1 / factor)
        _scale(weights[second.input[1]], factor[:, None, None, None] if depthwise else factor[None, :, None, None])
    onnx.save(model, str(target))
    return len(pairs)


def _pairs(graph: onnx.GraphProto, weights: dict[str, onnx.TensorProto]) -> list[tuple[onnx.NodeProto, onnx.NodeProto]]:
    """Convolutions with nothing but a LeakyReLU between them, in order."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {output.name for output in graph.output}

    def only_reader(node: onnx.NodeProto, kind: str) -> onnx.NodeProto | None:
        found = readers.get(node.output[0], [])
        alone = len(found) == 1 and node.output[0] not in outputs and found[0].op_type == kind
        return found[0] if alone and found[0].input[0] == node.output[0] else None

    def own_weights(node: onnx.NodeProto) -> bool:
        return all(name in weights and len(readers[name]) == 1 for name in node.input[1:])

    pairs = []
    for node in graph.node:
        if node.op_type != "Conv" or not own_weights(node):
            continue
        between = only_reader(node, "LeakyRelu")
        after = between and only_reader(between, "Conv")
        if after is None or not own_weights(after):
            continue
        channels = weights[node.input[1]].dims[0]
        if _groups(after) in (1, channels):
            pairs.append((node, after))
    return pairs


def _ranges(
    model: onnx.ModelProto, pairs: list[tuple[onnx.NodeProto, onnx.NodeProto]], tensors: Tensors
) -> list[npt.NDArray[np.float64]]:
    """For each pair the range of each channel between its two layers."""
    if not pairs:
        return []
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    names = [second.input[0] for _, second in pairs]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = ort.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[list[npt.NDArray[np.float64]]] = []
    for start in range(0, len(tensors), BATCH):
        values = session.run(names, {model.graph.input[0].name: tensors[start : start + BATCH]})
        found.append([_quantile(value) for value in values])
    return [np.max(each, axis=0) for each in zip(*found, strict=True)]


def _quantile(value: Tensors) -> npt.NDArray[np.float64]:
    by_channel = np.abs(value).transpose(1, 0, 2, 3).reshape(value.shape[1], -1)
    return np.quantile(by_channel, QUANTILE, axis=1).astype(np.float64)


def _groups(node: onnx.NodeProto) -> int:
    return next((int(each.i) for each in node.attribute if each.name == "group"), 1)


def _scale(weight: onnx.TensorProto, by: npt.NDArray[np.float64]) -> None:
    value = (numpy_helper.to_array(weight).astype(np.float64) * by).astype(np.float32)
    weight.CopyFrom(numpy_helper.from_array(value, weight.name))
