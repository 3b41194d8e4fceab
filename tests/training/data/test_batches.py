"""Batches: the same whoever shares them, made of training faces only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pandas")

from toy_run import toy

from training.data.bank import Bank, fill_bank
from training.data.batches import Batch, Batches
from training.data.faces import FaceSet
from training.recipe import BankSpec, Degradation, LossSpec, Recipe, Schedule, StudentSpec

RECIPE = Recipe(
    "toy", ("none.onnx",), StudentSpec(16, 8, (8, 8, 8), (1, 1, 1)), (LossSpec("order1"),), Schedule(1, batch=12)
)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[FaceSet, np.ndarray, np.ndarray, Bank]:
    """Faces, their guide's embeddings, labels that are their rows, and a bank whose labels are far from all of them."""
    faces, guides, _ = toy()
    monkeypatch.setattr("training.data.bank.SHARD", 128)
    fill_bank(tmp_path, 1, 16, faces, lambda views: np.full((len(views), 48), 9, np.float32), Degradation())
    return faces, guides.astype(np.float32), np.arange(len(faces)), Bank(tmp_path, 1)


def _parts(recipe: Recipe, world: tuple[FaceSet, np.ndarray, np.ndarray, Bank], ranks: int, epoch: int) -> list[Batch]:
    made = []
    for rank in range(ranks):
        batches = Batches(recipe, *world[:3], world[3] if recipe.bank.teacher else None, rank, ranks)
        made.append(batches.make(epoch, 1, batches.order(epoch)))
    return made


def _rows(parts: list[Batch]) -> list[bytes]:
    return sorted(
        view.tobytes() + guide.tobytes() + bytes([label & 255])
        for part in parts
        for view, guide, label in zip(part.views, part.guides, part.labels, strict=True)
    )


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.75, 0.9])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_parts_are_equal_and_make_up_the_batch_that_one_process_has(world, share: float, ranks: int) -> None:
    recipe = replace(RECIPE, bank=BankSpec("t" if share else "", 1, share))
    whole, parts = _parts(recipe, world, 1, 0), _parts(recipe, world, ranks, 0)
    assert {len(part.views) for part in parts} == {12 // ranks}
    assert _rows(parts) == _rows(whole)
    # What all processes mean together is the mean over the faces whose guide saw the sharp picture.
    assert np.mean([part.quality_weights.sum() for part in parts]) == pytest.approx(1, abs=1e-6)
    for part in parts:
        assert ((part.quality_weights > 0) == (part.labels >= 0)).all()
        assert ((part.guides[:, 0] == 9) == (part.labels < 0)).all()
        assert (part.guides[part.labels >= 0] == world[1][part.labels[part.labels >= 0]]).all()
        assert part.labels.max(initial=0) < 128  # the rest is for validation


def test_each_epoch_has_its_own_order_and_views(world) -> None:
    (first,), (again,), (second,) = (_parts(RECIPE, world, 1, epoch) for epoch in (0, 0, 1))
    assert (first.views == again.views).all()
    assert first.labels.tolist() != second.labels.tolist()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"schedule": Schedule(1, batch=9)}, "a batch of 9 cannot be shared by 2"),
        ({"schedule": Schedule(1, batch=2), "bank": BankSpec("t", 1, 0.9)}, "leaves no training face"),
        ({"schedule": Schedule(1, batch=130)}, "128 training faces are less than one batch takes, 130"),
    ],
)
def test_batches_that_cannot_be_are_refused(world, change, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Batches(replace(RECIPE, **change), *world[:3], world[3] if "bank" in change else None, 0, 2)
