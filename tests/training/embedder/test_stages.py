"""Runs that build on others: a student that begins as another, one that another teaches, one that a bank feeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pandas")

from toy_run import toy

from training.data.views import to_input
from training.embedder.adapt import Adaptation, open_bank
from training.embedder.distill import distill, load_student, start_from_run
from training.embedder.mobilefacenet import MobileFaceNet
from training.embedder.students import Student
from training.embedder.validate import embed_views
from training.recipe import BankSpec, LossSpec, Recipe, Schedule, StudentSpec

SPEC = StudentSpec(16, 8, (8, 8, 8), (1, 1, 1))
RECIPE = Recipe("assistant", ("edgeface_xs.onnx",), SPEC, (LossSpec("order1"),), Schedule(2, batch=32, ema=0.9))


def _run(folder: Path, student: Student) -> Path:
    """A folder as ``start_from_run`` reads it, with statistics as after training."""
    folder.mkdir()
    for module in student.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    torch.save({"ema": student.state_dict()}, folder / "checkpoint.pt")
    return folder


def test_an_assistant_begins_as_the_student_whose_trunk_it_shares(tmp_path: Path) -> None:
    torch.manual_seed(0)
    student, assistant = Student(32, 8, (8, 8, 8)), Student(112, 8, (8, 8, 8))
    start_from_run(assistant, _run(tmp_path / "student", student))
    faces = np.random.default_rng(0).uniform(0, 255, (4, 112, 112, 3)).astype(np.float32)
    small = np.stack([cv2.resize(face, (32, 32), interpolation=cv2.INTER_AREA) for face in faces])
    with torch.no_grad():
        wanted = student.eval()(torch.from_numpy(to_input(small)))
        found = assistant.eval()(torch.from_numpy(to_input(faces)))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_what_does_not_fit_stays_random_and_the_rest_is_taken(tmp_path: Path) -> None:
    torch.manual_seed(0)
    given, own = Student(16, 8, (8, 8, 8)), Student(32, 8, (16, 8, 8))
    before = own.trunk.stem.mix[0].weight.clone()
    start_from_run(own, _run(tmp_path / "given", given))
    torch.testing.assert_close(own.trunk.stem.mix[0].weight, before)
    torch.testing.assert_close(own.head[1].weight, given.head[1].weight)


def test_a_network_with_more_blocks_begins_with_the_same_output(tmp_path: Path) -> None:
    torch.manual_seed(0)
    given, own = MobileFaceNet(8, 64, extra=1), MobileFaceNet(8, 64, extra=3)
    for parameter in given.parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)
    (tmp_path / "given").mkdir()
    torch.save({"ema": given.state_dict()}, tmp_path / "given" / "checkpoint.pt")
    start_from_run(own, tmp_path / "given")
    faces = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(own.eval()(faces), given.eval()(faces))
    # the same weights for crops of another side: the kernel of the last convolution is summed over neighbours
    large = MobileFaceNet(8, 112, extra=1)
    torch.nn.init.normal_(large.pool.weight)
    torch.save({"ema": large.state_dict()}, tmp_path / "given" / "checkpoint.pt")
    start_from_run(own, tmp_path / "given")
    torch.testing.assert_close(own.pool.weight[:, 0, 1, 2], large.pool.weight[:, 0, 2:4, 4:6].sum((1, 2)))


def test_a_run_needs_what_it_begins_with_only_once(tmp_path: Path) -> None:
    world = toy()
    with pytest.raises(ValueError, match="holds no checkpoint to start from"):
        distill(replace(RECIPE, init="missing"), *world, tmp_path / "alone")
    distill(RECIPE, *world, tmp_path / "assistant")
    second = replace(RECIPE, name="second", init="assistant")
    distill(second, *world, tmp_path / "second")
    (tmp_path / "assistant").rename(tmp_path / "moved away")
    distill(second, *world, tmp_path / "second")  # done, and only read


def test_a_student_learns_from_the_run_that_guides_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HORKD's second stage: the assistant's features of the sharp faces are the target, computed once."""
    faces, embeddings, pairs = toy()
    distill(RECIPE, faces, embeddings, pairs, tmp_path / "assistant")
    seen: list[np.ndarray] = []

    class Spy:
        def __init__(self, recipe, faces, guides, *rest) -> None:
            seen.append(guides)
            raise KeyboardInterrupt

    monkeypatch.setattr("training.embedder.distill.Batches", Spy)
    student = replace(RECIPE, name="student", guide="assistant", student=replace(SPEC, level=8))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            distill(student, faces, embeddings, pairs, tmp_path / "student")
    _, guide, _ = load_student(tmp_path / "assistant")
    wanted = embed_views(guide, faces.crops, 16, torch.device("cpu"))
    for found in seen:
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert len(list((tmp_path / "assistant").glob("features-*.npy"))) == 1


@pytest.mark.parametrize(
    "change", [{"student": replace(SPEC, dim=4)}, {"teachers": ("other.onnx",)}], ids=["dim", "teachers"]
)
def test_a_guide_of_another_space_is_refused(tmp_path: Path, change: dict) -> None:
    world = toy()
    distill(replace(RECIPE, schedule=Schedule(1, batch=64)), *world, tmp_path / "assistant")
    with pytest.raises(ValueError, match="guide assistant has dim and teachers"):
        distill(replace(RECIPE, name="student", guide="assistant", **change), *world, tmp_path / "student")


def test_a_bank_belongs_to_its_teacher_and_its_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.bank.SHARD", 128)
    monkeypatch.setattr("training.embedder.adapt.embed", lambda model, views: np.ones((len(views), 8), np.float32))
    faces = toy()[0]
    recipe = replace(RECIPE, bank=BankSpec("low", 1))
    plan = Adaptation("low", "edgeface_xs.onnx", recipe.teachers, (16,), 1.0, dim=8)
    opened = []
    assert len(open_bank(recipe, plan, lambda: opened.append(1), faces, tmp_path)) == 128
    open_bank(recipe, plan, lambda: opened.append(1), faces, tmp_path)
    assert opened == [1]
    open_bank(recipe, plan, lambda: opened.append(1), replace(faces, key="other"), tmp_path)
    assert opened == [1, 1]
    with pytest.raises(ValueError, match="belongs to another recipe"):
        open_bank(recipe, replace(plan, epochs=2.0), lambda: None, faces, tmp_path)
    for other in (replace(plan, dim=16), replace(plan, teachers=("edgeface_xs.onnx", "reid0095.onnx"))):
        with pytest.raises(ValueError, match="they must be equal"):
            open_bank(recipe, other, lambda: None, faces, tmp_path)


def test_a_run_goes_on_in_the_space_of_the_run_that_it_starts_from(tmp_path: Path) -> None:
    faces, embeddings, pairs = toy()
    distill(RECIPE, faces, embeddings, pairs, tmp_path / "assistant")
    _, _, basis = load_student(tmp_path / "assistant")
    other = embeddings[:, ::-1] @ np.diag(np.linspace(1, 2, embeddings.shape[1])).astype(np.float32)
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    distill(replace(RECIPE, name="second", init="assistant"), faces, other, pairs, tmp_path / "second")
    np.testing.assert_array_equal(load_student(tmp_path / "second")[2], basis)
