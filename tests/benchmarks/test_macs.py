"""Multiply-accumulates, read off the graph that ships, are those that torch counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("pandas")

from benchmarks.lib.macs import count_macs as of_graph
from training.embedder.export import to_onnx
from training.embedder.networks import count_macs
from training.embedder.quantize import quantize
from training.embedder.students import Student


@pytest.mark.parametrize(("level", "mirror"), [(8, False), (16, True), (32, False), (112, True)])
def test_a_student_costs_in_onnx_what_it_costs_in_torch(level: int, mirror: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)  # the parity of to_onnx depends on the weights a little
    student = Student(level, 8, (16, 16, 16)).eval()
    to_onnx(student, tmp_path / "s.onnx", with_quality=True, mirror=mirror)
    assert of_graph(tmp_path / "s.onnx") == count_macs(student) * (1 + mirror)


def test_int8_costs_as_many(tmp_path: Path) -> None:
    torch.manual_seed(0)
    student = Student(16, 8, (16, 16, 16)).eval()
    to_onnx(student, tmp_path / "s.onnx", mirror=True)
    faces = np.random.default_rng(0).uniform(-1, 1, (64, 3, 16, 16)).astype(np.float32)
    quantize(tmp_path / "s.onnx", tmp_path / "q.onnx", faces)
    assert of_graph(tmp_path / "q.onnx") == 2 * count_macs(student)
