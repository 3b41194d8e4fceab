"""A network carried over to another space: small files, no training but of the run whose space it is."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pandas")

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "helpers"))
from toy_run import toy

from lrface.models.manifest import Manifest
from training.data.views import aligned_view, to_input
from training.embedder.distill import distill, load_student
from training.embedder.export import export, to_onnx
from training.embedder.remap import append_matrix, remap, ridge_matrix
from training.embedder.students import Student
from training.embedder.targets import project
from training.recipe import LossSpec, Recipe, Schedule, StudentSpec


def test_a_ridge_matrix_finds_a_linear_map_again() -> None:
    rng = np.random.default_rng(0)
    x, wanted = rng.standard_normal((400, 12)).astype(np.float32), rng.standard_normal((12, 5)).astype(np.float32)
    assert np.allclose(ridge_matrix(x, x @ wanted, 1e-9), wanted, atol=1e-4)
    assert np.abs(ridge_matrix(x, x @ wanted, 10.0)).mean() < 0.5 * np.abs(wanted).mean()


def test_an_appended_matrix_is_the_product_and_leaves_the_quality(tmp_path: Path) -> None:
    to_onnx(Student(16, 8, (8, 8, 8)).eval(), tmp_path / "a.onnx", with_quality=True)
    rng = np.random.default_rng(0)
    matrices = rng.standard_normal((2, 8, 8)).astype(np.float32)
    x = rng.uniform(-1, 1, (5, 3, 16, 16)).astype(np.float32)
    before, quality = ort.InferenceSession(tmp_path / "a.onnx").run(["embedding", "quality"], {"faces": x})
    expected = before
    for i, matrix in enumerate(matrices):  # the second time: it was remapped before
        append_matrix(tmp_path / "a.onnx", tmp_path / "a.onnx", "embedding", matrix)
        expected = expected @ matrix
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        found = ort.InferenceSession(tmp_path / "a.onnx").run(["embedding", "quality"], {"faces": x})
        assert np.allclose(found[0], expected, atol=1e-5), i
        assert (found[1] == quality).all()
    with pytest.raises(ValueError, match="no output 'vector'"):
        append_matrix(tmp_path / "a.onnx", tmp_path / "b.onnx", "vector", matrices[0])
    assert not (tmp_path / "b.onnx").exists()


def test_a_network_is_carried_over_with_its_manifests_and_card(tmp_path: Path) -> None:
    faces, embeddings, pairs = toy()
    recipe = Recipe(
        "toy-16", ("none.onnx",), StudentSpec(16, 8, (8, 8, 8), (1, 1, 1)), (LossSpec("order1"),),
        Schedule(2, batch=32, rate=2e-3, ema=0.9), quality=0.5, space="old", license="CC0", terms="drawn by a test",
    )  # fmt: skip
    distill(recipe, faces, embeddings, pairs, tmp_path / "first")
    # The other space is the first one turned.
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((48, 48)))[0].astype(np.float32)
    other = np.ascontiguousarray(embeddings @ turn)
    other[:, ::2] *= 1.5
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    distill(replace(recipe, name="new-run", space="new"), faces, other, pairs, tmp_path / "second")
    models = tmp_path / "models"
    export(tmp_path / "first", models, faces, embeddings, pairs)
    before = {place: Manifest.load(place).embedders[16].sha256 for place in (models, models / "float32")}
    targets = project(other, load_student(tmp_path / "second")[2])

    def cosine() -> float:
        session = ort.InferenceSession(models / "float32" / "toy-16.onnx")
        views = np.stack([aligned_view(crop, 16) for crop in faces.crops[pairs.a]])
        found = session.run(["embedding"], {"faces": np.ascontiguousarray(to_input(views))})[0]
        return float(np.mean(np.sum(found * targets[pairs.a], axis=1)))

    old = cosine()
    found = remap("toy-16", models, tmp_path / "second", faces, other, pairs, views=100)
    assert cosine() > old + 0.2
    card = (models / "toy-16.md").read_text()
    for place, digest in before.items():
        manifest = Manifest.load(place)
        manifest.read(manifest.embedders[16])  # its hash is the manifest's
        assert manifest.embedders[16].space == "new"
        assert manifest.embedders[16].sha256 != digest
        assert manifest.embedders[16].sha256 in card
        assert digest not in card
    assert "(space `new`)" in card
    assert "## Carried over to another space" in card
    assert f"| {found['lr_lr']:.2f} |" in card
    with pytest.raises(ValueError, match="in the space new already"):
        remap("toy-16", models, tmp_path / "second", faces, other, pairs)
    with pytest.raises(ValueError, match="no embedder 'toy-8'"):
        remap("toy-8", models, tmp_path / "second", faces, other, pairs)
    assert json.loads((models / "manifest.json").read_text())["models"][0]["output"]["dim"] == 8
