"""Pictures with classes through the whole chain: teacher, assistant, student, export; scikit-learn's digits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pandas")
pytest.importorskip("sklearn")
ort = pytest.importorskip("onnxruntime")

import onnx
import torch
from click.testing import CliRunner
from onnx import helper

from benchmarks.lib.image_runs import write_digits
from training.cli import main
from training.common.files import read_log
from training.data.images import load_images
from training.embedder.distill import distill
from training.embedder.export_images import export_images
from training.embedder.recipes import load_recipe
from training.embedder.training_data import open_image_data
from training.embedder.validate_images import classifier_of
from training.recipe import ImageSpec, LossSpec, Recipe, TeacherSpec

FOLDER = Path(__file__).parents[3] / "training/recipes/images"
CLOSED = ImageSpec(8, "pictures")


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take longer than these runs."""
    monkeypatch.setattr("training.embedder.distill.draw_curves", lambda run: None)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("digits"), 900)


def small(name: str, spec: ImageSpec, level: int, epochs: int) -> Recipe:
    given = load_recipe(FOLDER / f"{name}.toml")
    return replace(
        given, images=spec, student=replace(given.student, level=level, widths=(16, 16, 24)),
        schedule=replace(given.schedule, epochs=epochs, ema=0.9),
        degradation=replace(given.degradation, mirror=False),
    )  # fmt: skip


@pytest.fixture(scope="module")
def chain(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the three runs on closed classes: 8x8, 8x8, then 4x4."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.embedder.distill.draw_curves", lambda run: None)
        for name, level, epochs in (("teacher-96", 8, 8), ("assistant-96", 8, 6), ("student-16", 4, 6)):
            recipe = small(name, CLOSED, level, epochs)
            data = open_image_data(recipe.teachers, CLOSED, digits, None, cache)
            distill(recipe, data.images, data.embeddings, None, cache / "runs" / recipe.name)
    return cache


def test_each_network_of_the_chain_learns_the_classes(chain: Path) -> None:
    """A tenth is chance; the student sees 4x4 pixels."""
    found = {run.name: read_log(run)[-1] for run in (chain / "runs").iterdir()}
    for name, least in (("images-teacher-96", 70), ("images-assistant-96", 50), ("images-student-16", 30)):
        assert found[name]["val_accuracy"] > least
        assert found[name]["val_recall_1"] > least
    assert found["images-student-16"]["horkd.order1"] < 1.5  # 2 where the features have nothing in common


def test_an_exported_student_is_used_by_its_json_alone(chain: Path, digits: Path, tmp_path: Path) -> None:
    file = export_images(chain / "runs" / "images-student-16", tmp_path / "out", digits, chain)
    facts = json.loads(file.with_suffix(".json").read_text())
    images = load_images(digits, CLOSED, chain)
    rows = images.rows("val")
    side = facts["input"]["height"]
    pictures = np.asarray(images.crops[rows]).reshape(len(rows), side, 2, side, 2, 3).mean(axis=(2, 4)).round()
    x = (pictures[..., ::-1].transpose(0, 3, 1, 2) - facts["input"]["mean"]) * facts["input"]["scale"]
    features = ort.InferenceSession(file).run(None, {"faces": x.astype(np.float32)})[0]
    chosen = (features @ np.array(facts["classifier"]).T).argmax(1)
    right = np.array(facts["classes"])[chosen] == images.table["identity"].to_numpy()[rows]
    assert 100 * right.mean() == pytest.approx(facts["held_out"]["accuracy"], abs=2)
    with pytest.raises(ValueError, match="not empty"):
        export_images(chain / "runs" / "images-student-16", tmp_path / "out", digits, chain)


def test_new_classes_are_searched_and_not_classified(digits: Path, tmp_path: Path) -> None:
    spec = ImageSpec(8, "classes")
    recipe = small("teacher-96", spec, 8, 1)
    data = open_image_data((), spec, digits, None, tmp_path)
    run = tmp_path / "runs" / "open"
    distill(recipe, data.images, data.embeddings, None, run)
    assert read_log(run)[-1]["val_recall_1"] > 50
    assert "val_accuracy" not in read_log(run)[-1]
    weights = classifier_of(torch.load(run / "checkpoint.pt", weights_only=True)["objective"])
    assert len(weights) == 5


def test_any_onnx_file_teaches_pictures(digits: Path, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("AveragePool", ["x"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pooled"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
            for name, shape in (("x", ["n", 3, 8, 8]), ("y", ["n", 48])))  # fmt: skip
    graph = helper.make_graph(nodes, "mean", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "mean.onnx")
    plain = small("teacher-96", CLOSED, 4, 2)
    recipe = replace(
        plain, name="taught", teachers=(TeacherSpec("mean.onnx", size=8),), losses=(LossSpec("order1"),),
        student=replace(plain.student, dim=8),
    )  # fmt: skip
    data = open_image_data(recipe.teachers, CLOSED, digits, tmp_path, tmp_path / "cache")
    run = tmp_path / "runs" / "taught"
    distill(recipe, data.images, data.embeddings, None, run)
    first, last = read_log(run)
    assert last["order1"] < first["order1"]
    with pytest.raises(ValueError, match="--teachers"):
        open_image_data(recipe.teachers, CLOSED, digits, None, tmp_path / "cache")


@pytest.mark.parametrize(
    ("recipe", "given", "message"),
    [
        ("images/teacher-96.toml", [], "give --images FOLDER"),
        ("first-16.toml", ["--images", "."], "is for faces"),
        ("first-16.toml", [], "give --faces FOLDER and --teachers FOLDER"),
    ],
)
def test_the_command_says_which_folder_a_recipe_needs(recipe: str, given: list[str], message: str) -> None:
    done = CliRunner().invoke(
        main, ["distill", str(FOLDER.parent / recipe), *given], env={"LRFACE_FACES": "", "LRFACE_TEACHERS": ""}
    )
    assert done.exit_code == 2
    assert message in done.output
