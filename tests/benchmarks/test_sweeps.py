"""Sweeps on a set that a generator draws, whose 'teacher' is one pooling layer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pd = pytest.importorskip("pandas")
pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

from onnx import helper

from benchmarks.sweeps import COMMANDS, decidability, main, people, report
from training.data.faces import FaceSet
from training.data.pairs import Pairs
from training.embedder.recipes import load_recipe
from training.embedder.teachers import Preprocessing, Teacher, embed_all
from training.embedder.training_data import TrainingData
from training.recipe import Recipe, Schedule, StudentSpec
from training.sweeps.runs import subset, upscaled
from training.sweeps.variants import BALANCED, COSINE, SWEEPS, published_weights_as_sums

BASE = Recipe("tiny", ("mean.onnx",), StudentSpec(16, 8, (8, 8, 8)), (COSINE,), Schedule(epochs=1, batch=16, ema=0.9))


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take longer than these runs."""
    monkeypatch.setattr("training.embedder.distill.draw_curves", lambda run: None)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    """Mean colours of 16 regions."""
    path = tmp_path_factory.mktemp("teacher") / "mean.onnx"
    nodes = [
        helper.make_node("AveragePool", ["x"], ["pooled"], kernel_shape=[28, 28], strides=[28, 28]),
        helper.make_node("Flatten", ["pooled"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
            for name, shape in (("x", ["n", 3, 112, 112]), ("y", ["n", 48])))  # fmt: skip
    graph = helper.make_graph(nodes, "mean", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return Teacher(path, Preprocessing())


@pytest.fixture(scope="module")
def data(teacher: Teacher) -> TrainingData:
    """24 people of four photos each; the last six are for validation."""
    rng = np.random.default_rng(0)
    base = rng.integers(20, 235, (24, 4, 4, 3)).repeat(4, axis=0)
    small = np.clip(base + rng.integers(-20, 20, base.shape), 0, 255).astype(np.uint8)
    crops = np.stack([cv2.resize(s, (112, 112), interpolation=cv2.INTER_CUBIC) for s in small])
    table = pd.DataFrame({
        "name": [f"f{i}" for i in range(96)], "source": "toy", "identity": [f"p{i // 4}" for i in range(96)],
        "native_crop_px": 112, "split": ["train"] * 72 + ["val"] * 24,
    })  # fmt: skip
    first = np.arange(72, 96, 4)
    a, b = np.r_[first, first], np.r_[first + 1, np.roll(first, 1)]
    pairs = Pairs(a, b, np.r_[np.ones(6, bool), np.zeros(6, bool)], np.arange(12) % 2)
    return TrainingData(FaceSet(crops, table, "toy"), embed_all([teacher], crops), pairs)


def test_a_part_keeps_pairs_and_faces_together(data: TrainingData) -> None:
    small = subset(data, 32, 1)
    assert len(small.faces.rows("train")) == 32
    whole, names = data.faces.table["name"].to_numpy(), small.faces.table["name"].to_numpy()
    for side in ("a", "b"):
        rows, kept = getattr(data.pairs, side), getattr(small.pairs, side)
        assert (whole[rows] == names[kept]).all()
        assert (data.faces.crops[rows] == small.faces.crops[kept]).all()
        assert (data.embeddings[rows] == small.embeddings[kept]).all()
    assert (subset(data, 32, 1).faces.table["name"] == names).all()
    assert set(subset(data, 32, 2).faces.table["name"]) != set(names)
    with pytest.raises(ValueError, match="smaller --count"):
        subset(data, 73, 1)


def test_sweeps_cover_what_the_papers_compare(data: TrainingData) -> None:
    assert [variant.label for variant in SWEEPS["orders"](BASE, data)] == [
        "1", "1+2", "1+3", "1+C", "1+2+3", "1+2+C", "1+3+C", "1+2+3+C",
    ]  # fmt: skip
    settings = {name: [v.recipe.losses[-1].arguments for v in SWEEPS[name](BASE, data)] for name in SWEEPS}
    assert [s["negatives"] for s in settings["negatives"]] == [64, 256, 1024, 4096]
    assert [s["temperature"] for s in settings["temperature"]] == [0.02, 0.05, 0.1, 0.2, 0.5]
    for chosen, given in zip(["", "2", "3", "C", "23", "2C", "3C", "23C"], settings["orders"], strict=True):
        for order, name in (("2", "alpha"), ("3", "beta"), ("C", "gamma")):
            assert given.get(name, 0.0) == (BALANCED[name] if order in chosen else 0.0)
    alone, two, assistant = SWEEPS["stages"](BASE, data)
    assert (alone.recipe.guide, two.recipe.guide) == ("", assistant.recipe.name)
    assert alone.recipe.losses == two.recipe.losses
    assert (two.recipe.student.level, assistant.recipe.student.level) == (16, 32)


def test_runs_are_shared_by_sweeps_and_told_apart_by_all_that_decides_them(data: TrainingData) -> None:
    names = {name: {v.label: v.recipe.name for v in SWEEPS[name](BASE, data)} for name in SWEEPS}
    cosine = names["methods"]["cosine (order 1)"]
    assert cosine == names["orders"]["1"] == names["stages"]["one stage"]
    assert names["methods"]["HORKD, balanced"] == names["orders"]["1+2+3+C"]
    assert names["methods"]["cosine + CRRCD"] == names["negatives"]["N = 1024"] == names["temperature"]["tau = 0.1"]
    for other in (
        replace(BASE, seed=2), replace(BASE, schedule=Schedule(epochs=2, batch=16)),
        replace(BASE, student=StudentSpec(8, 8, (8, 8, 8))),
    ):  # fmt: skip
        assert SWEEPS["orders"](other, data)[0].recipe.name != cosine
    assert SWEEPS["orders"](BASE, subset(data, 48, 1))[0].recipe.name != cosine


def test_published_weights_as_sums_count_pairs_triplets_and_classes(data: TrainingData) -> None:
    # 18 training people; batches of 16
    assert published_weights_as_sums(BASE, data) == {"alpha": 15 * 0.02, "beta": 15 * 15 * 0.01, "gamma": 18.0}


def test_teachers_are_fed_the_small_face_brought_back(data: TrainingData, teacher: Teacher, tmp_path: Path) -> None:
    found = upscaled([teacher], data, 8, tmp_path)
    row = int(data.pairs.b[0])
    small = cv2.resize(data.faces.crops[row], (8, 8), interpolation=cv2.INTER_AREA)
    view = cv2.resize(small, (112, 112), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_allclose(found[row], teacher.embed(view[None])[0], atol=1e-6)
    assert not found[data.faces.rows("train")].any()
    assert (upscaled([teacher], data, 8, tmp_path) == found).all(), "read from the cache"
    assert len(list(tmp_path.glob("upscaled-*.npy"))) == 1


@pytest.mark.parametrize("what", COMMANDS)
def test_each_command_ends_in_json_and_plots(
    what: str, data: TrainingData, teacher: Teacher, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.getbasetemp()
    out = root / "results"
    result = json.loads(report(what, BASE, data, [teacher], root / "runs", out).read_text())
    for entry in result["plots"]:
        assert (out / f"sweep-{what}-{entry['name']}.svg").read_bytes().startswith(b"<?xml")
    assert len(result["teachers"]["mean.onnx"]) == 64
    if what not in SWEEPS:
        assert [row["features"][:7] for row in result["rows"]] == ["teacher", "teacher", "student", "student"]
        return
    rows = {row["method"]: row for row in result["rows"]}
    assert len(rows) == len(SWEEPS[what](BASE, data))
    for row in rows.values():
        assert row["seconds"] >= 0
        if row["level"] == 16:
            over = row["lr_lr"] - result["upscaled_teachers"]["lr_lr"]
            assert row["gain_over_upscaled"] == pytest.approx(over, abs=0.01)
    if what == "methods":
        assert rows["cosine (order 1)"]["gain_over_cosine"] == 0


def test_a_finished_run_is_read_not_trained_again(data: TrainingData, teacher: Teacher, tmp_path: Path) -> None:
    for _ in range(2):
        report("stages", BASE, data, [teacher], tmp_path / "runs", tmp_path)
    logs = list((tmp_path / "runs").glob("*/log.jsonl"))
    assert len(logs) == 3
    assert all(len(log.read_text().splitlines()) == 1 for log in logs)


def test_decidability_by_hand() -> None:
    assert decidability(np.array([2.0, 4.0]), np.array([-1.0, 1.0])) == pytest.approx(3.0)


def test_people_are_those_with_most_photos_of_the_pairs(data: TrainingData) -> None:
    rows, person = people(data)
    assert np.bincount(person).tolist() == [2] * 6
    identities = data.faces.table["identity"].to_numpy()[rows]
    assert all(len(set(identities[person == i])) == 1 for i in range(6))


def test_the_recipe_that_ships_loads() -> None:
    recipe = load_recipe(Path(__file__).parents[2] / "training" / "recipes" / "sweep.toml")
    assert recipe.losses == (COSINE,)


def test_an_unknown_sweep_names_those_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks/sweeps.py", "colours"])
    with pytest.raises(SystemExit, match="2"):
        main()
    said = capsys.readouterr().err
    assert "colours" in said
    assert "orders" in said
