"""A teacher fine-tuned on small faces: really converted from ONNX, really trained, on faces that a generator draws."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
if importlib.util.find_spec("onnx2torch") is None:
    pytest.skip("pip install --no-deps onnx2torch (it would pull torchvision and CUDA)", allow_module_level=True)
pd = pytest.importorskip("pandas")

from training.common.files import read_log
from training.data.faces import FaceSet
from training.data.pairs import Pairs
from training.data.views import aligned_view
from training.embedder.adapt import Adaptation, adapt, embed, load_adaptation, load_low_resolution_teacher, open_torch

RECIPES = Path("training/recipes/adapt")


@pytest.fixture
def teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny network under the name of a known teacher."""
    monkeypatch.setattr("training.embedder.adapt.BATCH", 16)
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 8, 8), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3, 2, 1), torch.nn.ReLU(),
        torch.nn.Conv2d(8, 24, 7),
    )  # fmt: skip
    torch.onnx.export(net, (torch.zeros(1, 3, 112, 112),), str(tmp_path / "edgeface_xs.onnx"), dynamo=True,
                      external_data=False, verbose=False, input_names=["x"], opset_version=18,
                      dynamic_shapes=({0: torch.export.Dim("batch")},))  # fmt: skip
    return tmp_path


@pytest.fixture
def world() -> tuple[FaceSet, np.ndarray, Pairs]:
    """96 smooth pictures; all teachers together see the colours of 16 regions."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (96, 4, 4, 3), np.uint8)
    crops = np.stack([cv2.resize(s, (112, 112), interpolation=cv2.INTER_CUBIC) for s in small])
    embeddings = small.reshape(96, -1).astype(np.float32) - 127
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    table = pd.DataFrame({"name": range(96), "source": "toy", "identity": "", "native_crop_px": 112})
    faces = FaceSet(crops, table.assign(split=["train"] * 80 + ["val"] * 16), "toy")
    a = np.arange(80, 96)
    pairs = Pairs(np.r_[a, a], np.r_[a, np.roll(a, 1)], np.r_[np.ones(16, bool), np.zeros(16, bool)], np.arange(32) % 2)
    return faces, embeddings, pairs


PLAN = Adaptation("toy", "edgeface_xs.onnx", ("edgeface_xs.onnx",), (16,), epochs=40.0, rate=3e-3, dim=16)


def test_a_teacher_learns_small_faces(teacher: Path, world: tuple[FaceSet, np.ndarray, Pairs]) -> None:
    faces, embeddings, pairs = world
    crops, plan = faces.crops, PLAN
    run = teacher / "runs" / "toy"
    adapt(plan, teacher, faces, embeddings, pairs, run)
    line = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    assert line["step"] == 200
    model = load_low_resolution_teacher(plan, teacher, teacher)
    views = np.stack([aligned_view(crop, 16) for crop in crops[:21]])  # no multiple of the batch
    found = embed(model, views)
    assert found.shape == (21, 16)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-3)
    basis = torch.load(run / "checkpoint.pt", weights_only=True)["basis"].numpy()
    targets = embeddings[:21] @ basis
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    cosines = found @ targets.T
    assert np.mean(cosines.argmax(axis=1) == np.arange(21)) > 0.6  # it knows most faces from their small version

    before = (run / "checkpoint.pt").read_bytes()
    adapt(plan, teacher, faces, embeddings, pairs, run)  # done: nothing left to do
    assert (run / "checkpoint.pt").read_bytes() == before


def test_an_interrupted_one_ends_as_one_that_was_not(
    teacher: Path, world: tuple[FaceSet, np.ndarray, Pairs], monkeypatch: pytest.MonkeyPatch
) -> None:
    import training.embedder.adapt as module

    monkeypatch.setattr(module, "EVERY", 4)
    plan = replace(PLAN, epochs=2.4, levels=(16, 8))  # 12 steps
    adapt(plan, teacher, *world, teacher / "runs" / "whole")
    honest, cut = module.student_view, teacher / "runs" / "cut"
    seen = []

    def killed(*args) -> np.ndarray:
        seen.append(1)
        if len(seen) == 7 * 16 - 3:  # within step 7: the checkpoint is of step 4
            raise KeyboardInterrupt
        return honest(*args)

    monkeypatch.setattr(module, "student_view", killed)
    with pytest.raises(KeyboardInterrupt):
        adapt(plan, teacher, *world, cut)
    adapt(plan, teacher, *world, cut)
    ours, theirs = (
        torch.load(teacher / "runs" / name / "checkpoint.pt", weights_only=True) for name in ("cut", "whole")
    )
    assert ours["step"] == theirs["step"] == 12
    for part in ("model", "ema"):
        for name, value in ours[part].items():
            torch.testing.assert_close(value, theirs[part][name], rtol=1e-4, atol=1e-5)
    first, second = (
        [(line["step"], line["loss"]) for line in read_log(teacher / "runs" / name)] for name in ("whole", "cut")
    )
    assert [step for step, _ in second] == [4, 8, 12]
    np.testing.assert_allclose(second, first, rtol=1e-3)
    with pytest.raises(ValueError, match="belongs to another recipe"):
        adapt(replace(plan, rate=1e-3), teacher, *world, cut)


def test_fewer_faces_than_a_batch_say_so(teacher: Path, world: tuple[FaceSet, np.ndarray, Pairs]) -> None:
    faces, *rest = world
    few = replace(faces, table=faces.table.assign(split=["train"] * 10 + ["val"] * 86))
    with pytest.raises(ValueError, match="10 training faces"):
        adapt(PLAN, teacher, few, *rest, teacher / "few")


def test_conversion_leaves_no_false_torchvision_behind(teacher: Path) -> None:
    open_torch(teacher / "edgeface_xs.onnx")

    assert "torchvision" not in sys.modules or importlib.util.find_spec("torchvision") is not None


def test_a_missing_run_is_named(teacher: Path) -> None:
    plan = Adaptation("none", "edgeface_xs.onnx", ("edgeface_xs.onnx",), (16,), epochs=1.0)
    with pytest.raises(ValueError, match="training adapt"):
        load_low_resolution_teacher(plan, teacher, teacher)


def test_the_shipped_adaptation_loads() -> None:
    assert load_adaptation(RECIPES / "low16.toml").name == "low16"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (("rate = 3e-4", "speed = 1"), "unknown speed"),
        (("rate = 3e-4", "rate = 0"), "rate 0.0"),
        (("[16, 16, 16, 8]", "[]"), "levels"),
        (('teacher = "edgeface_xs.onnx"', 'teacher = "x.onnx"'), "not one of"),
        (("edgeface_xs.onnx", "x.onnx"), "unknown teacher"),
    ],
)
def test_a_wrong_adaptation_says_where(tmp_path: Path, change: tuple[str, str], match: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text((RECIPES / "low16.toml").read_text().replace(*change))
    with pytest.raises(ValueError, match=match) as caught:
        load_adaptation(path)
    assert "a.toml" in str(caught.value)
