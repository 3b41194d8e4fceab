"""Quantises the exported detector to int8 (`training.common.int8`).

Rounding the weights shifts the mean of a channel's values; its bias takes the shift back (Nagel et al., "Data-free
quantization through weight equalization and bias correction", ICCV 2019, section 4.2; the inputs' means are measured on
training scenes). The stem stays in float32: with 3 and 16 input channels, int8 is no faster there. So do the last layer
and the decoding, which give scores and coordinates.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationMethod

from training.common.files import replacing
from training.common.int8 import Tensors, write_int8
from training.common.onnx_file import strip
from training.detector.scenes import Image, held_out

SAMPLE = 64
"""Training scenes on which the ranges of activations are measured."""
BIAS_SAMPLE = 24
"""Those of them on which means are measured."""
SIDES = 384, 512
"""Height and width of the parts of scenes that are shown, pixels."""
LEAST_CHANNELS = 32
"""Of the first convolution in int8, at its input."""
STEPS = 64
"""Largest magnitude of a weight in 7 bits."""
OPS = ["Conv", "Add", "Relu", "Resize"]


def drawn(scenes: int) -> npt.NDArray[np.int64]:
    """Which of so many training scenes, in the order of their names, are quantised on: ``SAMPLE`` of them at most."""
    return np.random.default_rng(0).permutation(scenes)[:SAMPLE]


def training_scenes(folder: Path) -> list[Image]:
    """The scenes of ``scenes.zip`` in this folder that are quantised on, none held out; uint8 ``[h, w, 3]``."""
    with zipfile.ZipFile(folder / "scenes.zip") as pack:
        names = [name for name in sorted(pack.namelist()) if name.endswith(".webp") and not held_out(name)]
        encoded = [np.frombuffer(pack.read(names[i]), np.uint8) for i in drawn(len(names))]
    return [np.asarray(cv2.imdecode(each, cv2.IMREAD_COLOR), np.uint8) for each in encoded]


def views_of(scenes: Sequence[Image]) -> Tensors:
    """A part of each scene as the network reads it, float32 ``[n, 3, *SIDES]``; small scenes are enlarged."""
    rng = np.random.default_rng(0)
    views: Tensors = np.empty((len(scenes), 3, *SIDES), np.float32)
    for view, image in zip(views, scenes, strict=True):
        scale = max(1.0, *(side / length for side, length in zip(SIDES, image.shape[:2], strict=True)))
        height, width = (max(side, round(scale * length)) for side, length in zip(SIDES, image.shape[:2], strict=True))
        enlarged = cv2.resize(image, (width, height))
        top, left = int(rng.integers(height - SIDES[0] + 1)), int(rng.integers(width - SIDES[1] + 1))
        view[:] = enlarged[top : top + SIDES[0], left : left + SIDES[1]].transpose(2, 0, 1)
    return views


def quantize(source: Path, target: Path, tensors: Tensors) -> Path:
    """Write ``source`` quantised to int8.

    Args:
        source: float32 ONNX of ``training.detector.export.to_onnx``.
        target: where to write.
        tensors: of ``views_of``.

    Returns:
        ``target``.
    """
    model = onnx.load(source)
    opset = max(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    del model.opset_import[:]  # the exporter names the domain twice, which onnxruntime's tool does not take
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx", opset))
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f"decoding_{i}"
    nodes = _quantised(model.graph)
    _correct_biases(model, nodes, tensors[:BIAS_SAMPLE])
    with tempfile.TemporaryDirectory() as scratch, replacing(target) as part:
        prepared = Path(scratch) / source.name
        onnx.save(model, prepared)
        write_int8(
            prepared, part, tensors, 1, calibrate_method=CalibrationMethod.MinMax, op_types_to_quantize=OPS,
            nodes_to_quantize=[node.name for node in nodes],
        )  # fmt: skip
        strip(part)
    return target


def _quantised(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes between the stem and the last layer."""
    channels = {item.name: item.dims[1] for item in graph.initializer if len(item.dims) == 4}
    layers = [i for i, node in enumerate(graph.node) if node.op_type == "Conv"]
    last = [i for i in layers if graph.node[i].output[0].startswith("cells")]
    first = next(i for i in layers if channels[graph.node[i].input[1]] >= LEAST_CHANNELS)
    return [graph.node[i] for i in range(first, max(last)) if graph.node[i].op_type in OPS and i not in last]


def _correct_biases(model: onnx.ModelProto, nodes: list[onnx.NodeProto], tensors: Tensors) -> None:
    """Takes from each convolution's bias what rounding its weights adds to the mean of its outputs."""
    weights = {item.name: item for item in model.graph.initializer}
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    means = _channel_means(model, sorted({node.input[0] for node in convolutions}), tensors)
    for node in convolutions:
        values = numpy_helper.to_array(weights[node.input[1]]).astype(np.float64)
        step = np.abs(values).max(axis=(1, 2, 3), keepdims=True) / STEPS + 1e-12
        change = (np.round(values / step) * step - values).sum(axis=(2, 3))
        mean = means[node.input[0]]
        shift = change[:, 0] * mean if values.shape[1] == 1 and len(mean) == len(values) else change @ mean
        bias = weights[node.input[2]]
        corrected = (numpy_helper.to_array(bias).astype(np.float64) - shift).astype(np.float32)
        bias.CopyFrom(numpy_helper.from_array(corrected, bias.name))


def _channel_means(model: onnx.ModelProto, names: list[str], tensors: Tensors) -> dict[str, npt.NDArray[np.float64]]:
    """The mean of each channel of some values of the float32 network."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = ort.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    found = [
        [value.mean(axis=(0, 2, 3), dtype=np.float64) for value in session.run(names, {model.graph.input[0].name: x})]
        for x in tensors[:, None]
    ]
    return {name: np.mean(each, axis=0) for name, each in zip(names, zip(*found, strict=True), strict=True)}
