"""A whole small run on faces that a generator draws: train, be killed, resume, export, read the manifest."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch")
pd = pytest.importorskip("pandas")

from lrface.embedding.embedders import Embedder
from lrface.models.manifest import Manifest
from training.common.averaging import Ema, learning_rate
from training.data.faces import FaceSet, load_faces
from training.data.pairs import Pairs, load_pairs
from training.data.views import aligned_view, student_view, to_input
from training.embedder.distill import distill, load_student
from training.embedder.export import HALVED, choose, export, to_onnx
from training.embedder.networks import count_macs
from training.embedder.quantize import quantize
from training.embedder.students import Student
from training.embedder.targets import project, projection
from training.embedder.variant import Variant
from training.recipe import Degradation, LossSpec, Recipe, Schedule, StudentSpec

RECIPE = Recipe(
    "tiny-16",
    ("none.onnx",),
    StudentSpec(16, 8, (8, 8, 8), (1, 1, 1)),
    (LossSpec("order1"), LossSpec("relational_kl", 0.5)),
    Schedule(epochs=4, batch=16, ema=0.9),
    license="CC0",
    terms="drawn by a test",
)


@pytest.fixture(scope="module")
def world() -> tuple[FaceSet, np.ndarray, Pairs]:
    """80 smooth pictures; the 'teacher' sees their mean colours by region, which a student can learn."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (80, 4, 4, 3), np.uint8)
    crops = np.stack([cv2.resize(s, (112, 112), interpolation=cv2.INTER_CUBIC) for s in small])
    embeddings = small.reshape(80, -1).astype(np.float32) - 127
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    table = pd.DataFrame({
        "name": [f"f{i}" for i in range(80)], "source": "toy", "identity": "", "native_crop_px": 112,
        "split": ["train"] * 64 + ["val"] * 16,
    })  # fmt: skip
    a = np.arange(64, 80)
    pairs = Pairs(np.r_[a, a], np.r_[a, np.roll(a, 1)], np.r_[np.ones(16, bool), np.zeros(16, bool)], np.arange(32) % 2)
    return FaceSet(crops, table, "toy"), embeddings, pairs


@pytest.mark.usefixtures("curves")
def test_a_run_learns_and_a_killed_one_resumes_to_the_same_student(world, tmp_path: Path, monkeypatch) -> None:
    whole = distill(RECIPE, *world, tmp_path / "whole")
    lines = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert lines[-1]["order1"] < 0.95 * lines[0]["order1"]
    assert lines[-1]["val_cosine"] > lines[0]["val_cosine"]
    assert (tmp_path / "whole" / "curves.png").stat().st_size > 1000

    import training.embedder.distill as module

    honest = module.draw_curves

    def killed(run: Path) -> None:
        honest(run)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "draw_curves", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            distill(RECIPE, *world, tmp_path / "cut")
    monkeypatch.setattr(module, "draw_curves", honest)
    cut = distill(RECIPE, *world, tmp_path / "cut")
    one, other = (torch.load(path, weights_only=True)["ema"] for path in (whole, cut))
    for name, value in one.items():
        torch.testing.assert_close(value, other[name])


def test_a_run_folder_belongs_to_one_recipe(world, tmp_path: Path) -> None:
    distill(replace(RECIPE, schedule=Schedule(epochs=1, batch=16)), *world, tmp_path)
    with pytest.raises(ValueError, match="belongs to another recipe"):
        distill(RECIPE, *world, tmp_path)


def test_too_few_faces_say_so(world, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="less than one batch"):
        distill(replace(RECIPE, schedule=Schedule(epochs=1, batch=128)), *world, tmp_path)


def test_export_ships_what_was_trained(world, tmp_path: Path) -> None:
    faces = world[0]
    distill(replace(RECIPE, schedule=Schedule(epochs=1, batch=16)), *world, tmp_path / "run")
    export(tmp_path / "run", tmp_path / "models", *world)
    default = Manifest.load(tmp_path / "models")
    manifest = Manifest.load(tmp_path / "models" / "float32")
    assert all(status.ok for status in (*default.verify(), *manifest.verify()))
    _, student, _ = load_student(tmp_path / "run")
    crops = faces.crops[:5]
    with torch.no_grad():
        x = torch.from_numpy(to_input(np.stack([aligned_view(crop, 16) for crop in crops])))
        expected = torch.nn.functional.normalize(student(x)).numpy()
    np.testing.assert_allclose(Embedder(manifest.embedders[16], manifest.folder).embed(crops), expected, atol=1e-5)
    assert {path.name for path in (tmp_path / "models").iterdir()} == {
        "float32", "manifest.json", "tiny-16.onnx", "tiny-16.md"
    }  # fmt: skip
    card = (tmp_path / "models" / "tiny-16.md").read_text()
    assert manifest.embedders[16].sha256 in card
    assert default.embedders[16].sha256 in card
    assert "| drawn by a test |" in card
    assert "64 aligned faces: toy 64" in card
    assert manifest.embedders[16].license == "CC0"
    assert manifest.embedders[16].space == "tiny-16"  # not comparable with what we ship


def test_int8_keeps_the_embedding_and_the_quality(world, tmp_path: Path) -> None:
    faces = world[0]
    recipe = replace(RECIPE, schedule=Schedule(epochs=6, batch=16, ema=0.9), quality=0.5, mirror=True)
    distill(recipe, *world, tmp_path / "run")
    _, student, _ = load_student(tmp_path / "run")
    exact, small = tmp_path / "exact.onnx", tmp_path / "small.onnx"
    to_onnx(student, exact, with_quality=True, mirror=True)
    tensors = np.ascontiguousarray(to_input(np.stack([aligned_view(crop, 16) for crop in faces.crops])))
    quantize(exact, small, tensors)
    outputs = []
    for path in (exact, small):
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        outputs.append(session.run(["embedding", "quality"], {"faces": tensors}))
        mirrored = session.run(["embedding"], {"faces": np.ascontiguousarray(tensors[..., ::-1])})[0]
        np.testing.assert_allclose(mirrored, outputs[-1][0], atol=1e-5)
        alone = session.run(["embedding"], {"faces": tensors[:1]})[0]
        np.testing.assert_allclose(alone, outputs[-1][0][:1], atol=1e-5)  # alone as in a batch
    assert np.sum(outputs[0][0] * outputs[1][0], axis=1).min() > 0.97
    np.testing.assert_allclose(outputs[0][1], outputs[1][1], atol=0.1)
    assert b"QuantizeLinear" in small.read_bytes()


@pytest.mark.parametrize(
    ("lost", "faster", "ships"),
    [
        ((0.3, 0.0), True, "int8"),
        ((0.3, 0.2), True, "float32"),
        ((-0.5, 0.1), True, "int8"),
        ((0, 0), False, "float32"),
    ],
)
def test_int8_ships_where_it_is_faster_and_loses_little(lost: tuple[float, float], faster: bool, ships: str) -> None:
    exact = Variant(Path("a"), "float32", {16: {"lr_lr": 90.0, "hr_lr": 95.0}}, 1.0)
    figures = {"lr_lr": 90 - lost[0], "hr_lr": 95 - lost[1]}
    assert choose(exact, Variant(Path("b"), "int8", {16: figures}, 0.5 if faster else 1.5)).precision == ships


def test_smaller_weights_ship_where_they_lose_little_however_fast_they_are() -> None:
    exact = Variant(Path("a"), "float32", {16: {"lr_lr": 90.0, "hr_lr": 95.0}}, 1.0)
    for lost, ships in ((0.1, HALVED), (0.5, "float32")):
        figures = {"lr_lr": 90 - lost, "hr_lr": 95 - lost}
        assert choose(exact, Variant(Path("b"), HALVED, {16: figures}, 1.01)).precision == ships


@pytest.mark.parametrize("level", [8, 16, 32, 112])
def test_students_take_their_level_and_no_other(level: int, tmp_path: Path) -> None:
    student = Student(level, 8, (8, 8, 8)).eval()
    assert student(torch.zeros(2, 3, level, level)).shape == (2, 8)
    assert to_onnx(student, tmp_path / "s.onnx") <= 1e-5


@pytest.mark.parametrize("level", [0, 20, -16])
def test_other_levels_are_refused(level: int) -> None:
    with pytest.raises(ValueError, match="there is no stem"):
        Student(level, 8)


def test_macs_of_the_stem_by_hand() -> None:
    stem = 16 * 16 * 8 * 27
    assert count_macs(Student(16, 4, (8, 8, 8), (0, 0, 0))) == stem + 8 * 8 * 8 * 72 + 4 * 4 * 8 * 72 + 128 * 4


def test_learning_rate_rises_stays_and_falls() -> None:
    rates = [learning_rate(i / 100, 1.0, 0.1) for i in range(101)]
    assert max(rates) == rates[10] == 1.0
    assert rates[0] < 0.1
    assert rates[100] == pytest.approx(0, abs=1e-9)
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    late = [learning_rate(i / 100, 1.0, 0.1, fall=0.25) for i in range(101)]
    assert set(late[10:76]) == {1.0}
    assert late[100] == pytest.approx(0, abs=1e-9)
    assert learning_rate(1.0, 1.0, 0.1, fall=0.0) == 1.0


def test_ema_of_a_constant_model_is_that_model() -> None:
    model = Student(16, 4, (8, 8, 8))
    ema = Ema(model, 0.99)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    for _ in range(600):
        ema.update(model)
    assert all(torch.allclose(p, torch.ones_like(p), atol=0.01) for p in ema.model.parameters())


def test_projection_keeps_inner_products_as_far_as_it_can() -> None:
    rng = np.random.default_rng(0)
    low = rng.normal(size=(200, 4)).astype(np.float32) @ rng.normal(size=(4, 12)).astype(np.float32)
    low /= np.linalg.norm(low, axis=1, keepdims=True)
    basis = projection(low, 4)
    np.testing.assert_allclose(basis.T @ basis, np.eye(4), atol=1e-5)
    kept = project(low, basis)
    np.testing.assert_allclose(kept @ kept.T, low @ low.T, atol=1e-4)
    with pytest.raises(ValueError, match="exceeds"):
        projection(low, 13)


def test_views_are_reproducible_varied_and_of_the_level() -> None:
    crop = np.random.default_rng(0).integers(0, 255, (112, 112, 3), np.uint8)
    one, again, other = (student_view(crop, 16, Degradation(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.shape == (16, 16, 3)
    assert one.dtype == np.uint8
    assert (one == again).all()
    assert (one != other).any()


def test_views_of_many_widths_keep_the_level_and_lose_detail() -> None:
    """Log-uniform widths from the narrowest to the level; a share stays sharp."""
    crop = np.random.default_rng(0).integers(0, 255, (112, 112, 3), np.uint8)
    calm = Degradation(shift=0, scale=0, rotation=0, camera=0, light=0, narrowest=12, sharp=0.25)
    views = [student_view(crop, 112, calm, np.random.default_rng(seed)) for seed in range(60)]
    assert {view.shape for view in views} == {(112, 112, 3)}
    detail = np.array([view.std() for view in views])
    full = np.isclose(detail, crop.std(), rtol=0.05)
    assert 0.1 < full.mean() < 0.5
    assert detail.min() < 0.3 * crop.std()
    always = [student_view(crop, 112, replace(calm, sharp=1.0), np.random.default_rng(seed)) for seed in range(8)]
    assert all((view == crop).all() or (view == crop[:, ::-1]).all() for view in always)


def test_input_is_rgb_and_scaled() -> None:
    blue = np.zeros((1, 2, 2, 3), np.uint8)
    blue[..., 0] = 255
    x = to_input(blue)[0]
    assert x[2].max() == pytest.approx(127.5 / 128)
    assert x[0].max() == pytest.approx(-127.5 / 128)


def test_the_real_training_set(shared: Path, tmp_path: Path) -> None:
    """One Parquet file of it, through the cache, twice; and the pairs that point into it."""
    source = tmp_path / "train"
    source.mkdir()
    (source / "faces-0.parquet").symlink_to(shared / "data" / "train" / "faces-0.parquet")
    first = load_faces(source, tmp_path / "cache")
    again = load_faces(source, tmp_path / "cache")
    assert first.key == again.key
    assert len(first) == len(again.table) > 19_000
    assert first.crops.shape == (len(first), 112, 112, 3)
    assert not set(first.rows("train")) & set(first.rows("val"))
    everything = pd.concat(
        pd.read_parquet(path, columns=["name", "split"])
        for path in sorted((shared / "data" / "train").glob("*.parquet"))
    )
    faces = FaceSet(first.crops, everything, "names")
    pairs = load_pairs(shared / "data" / "train" / "val_pairs.csv", faces)
    assert len(pairs.a) == 6000
    assert set(everything["split"].to_numpy()[np.r_[pairs.a, pairs.b]]) == {"val"}
