"""Equal ranges of channels: the same network in float32, and less lost in int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper

from training.embedder import quantize as module
from training.embedder.equalize import equalize

CHANNELS, SIDE = 12, 16


def network(path: Path, taps: bool = False) -> Path:
    """Convolution, depthwise, 1x1, mean: channels whose ranges are three orders of magnitude apart.

    Args:
        path: where to write.
        taps: whether the maps between the layers are also read by something else.
    """
    rng = np.random.default_rng(0)
    unequal = np.geomspace(1, 1000, CHANNELS).astype(np.float32)
    weights = {
        "a": rng.normal(size=(CHANNELS, 3, 3, 3)).astype(np.float32) * unequal[:, None, None, None],
        "a_bias": rng.normal(size=CHANNELS).astype(np.float32) * unequal,
        "b": rng.normal(size=(CHANNELS, 1, 3, 3)).astype(np.float32),
        "b_bias": rng.normal(size=CHANNELS).astype(np.float32) * unequal,
        "c": rng.normal(size=(8, CHANNELS, 1, 1)).astype(np.float32) / unequal[None, :, None, None],
        "axes": np.array([2, 3]),
    }
    nodes = [
        helper.make_node("Conv", ["faces", "a", "a_bias"], ["x1"], pads=[1, 1, 1, 1]),
        helper.make_node("LeakyRelu", ["x1"], ["x2"], alpha=-0.5),
        helper.make_node("Conv", ["x2", "b", "b_bias"], ["x3"], pads=[1, 1, 1, 1], group=CHANNELS),
        helper.make_node("LeakyRelu", ["x3"], ["x4"], alpha=3.0),
        helper.make_node("Conv", ["x4", "c"], ["x5"]),
        helper.make_node("ReduceMean", ["x5", "axes"], ["embedding"], keepdims=0),
    ]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 8])]
    if taps:
        nodes += [helper.make_node("Relu", ["x2"], ["tap"])]
        outputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("tap", "x3")]
    inputs = [helper.make_tensor_value_info("faces", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])]
    initial = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "it", inputs, outputs, initial)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def run(path: Path, faces: np.ndarray) -> list[np.ndarray]:
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"faces": faces})


def faces(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (64, 3, SIDE, SIDE)).astype(np.float32)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean())


def test_the_network_stays_and_its_ranges_become_nearer(tmp_path: Path) -> None:
    source, target = network(tmp_path / "a.onnx"), tmp_path / "b.onnx"
    assert equalize(source, target, faces(1)) == 2
    (expected,), (found,) = run(source, faces(2)), run(target, faces(2))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    first = numpy_helper.to_array(onnx.load(target).graph.initializer[0])
    ranges = np.abs(first).reshape(CHANNELS, -1).max(axis=1)
    assert ranges.max() / ranges.min() < 100  # it was above 300


def test_int8_loses_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = network(tmp_path / "a.onnx")
    (expected,) = run(source, faces(2))
    (found,) = run(module.quantize(source, tmp_path / "with.onnx", faces(1)), faces(2))
    monkeypatch.setattr(module, "equalize", lambda *_: 0)
    (without,) = run(module.quantize(source, tmp_path / "without.onnx", faces(1)), faces(2))
    assert cosine(found, expected) > 0.99
    assert 1 - cosine(found, expected) < 0.5 * (1 - cosine(without, expected))


def test_maps_that_something_else_reads_stay(tmp_path: Path) -> None:
    source, target = network(tmp_path / "a.onnx", taps=True), tmp_path / "b.onnx"
    assert equalize(source, target, faces(1)) == 0
    for found, expected in zip(run(target, faces(2)), run(source, faces(2)), strict=True):
        np.testing.assert_array_equal(found, expected)
