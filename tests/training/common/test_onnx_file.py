"""Networks that store their weights in float16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from training.common.onnx_file import store_in_float16

RNG = np.random.default_rng(0)


def network(path: Path, weight: np.ndarray) -> Path:
    """``y = x @ weight + bias``."""
    bias = numpy_helper.from_array(RNG.normal(size=weight.shape[1]).astype(np.float32), "bias")
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "weight", "bias"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", weight.shape[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", weight.shape[1]])],
        [numpy_helper.from_array(weight, "weight"), bias],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def run(path: Path, x: np.ndarray) -> np.ndarray:
    return np.asarray(ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0])


def test_half_the_size_and_nearly_the_same_output(tmp_path: Path) -> None:
    exact = network(tmp_path / "exact.onnx", RNG.normal(size=(64, 256)).astype(np.float32))
    small = store_in_float16(exact, tmp_path / "small.onnx")
    x = RNG.normal(size=(5, 64)).astype(np.float32)
    assert small.stat().st_size < 0.6 * exact.stat().st_size
    difference = np.abs(run(small, x) - run(exact, x)).max()
    assert 0 < difference < 0.02


def test_weights_beyond_float16_are_refused(tmp_path: Path) -> None:
    exact = network(tmp_path / "exact.onnx", np.full((64, 64), 1e5, np.float32))
    with pytest.raises(ValueError, match="weight holds numbers too large"):
        store_in_float16(exact, tmp_path / "small.onnx")
