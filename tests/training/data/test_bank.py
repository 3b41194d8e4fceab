"""Mixtures: new faces, their labels, and a bank that is whole or not there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pd = pytest.importorskip("pandas")

from training.data.bank import SHARD, Bank, blend, composite, fill_bank, mixture, warp
from training.data.faces import FaceSet
from training.recipe import Degradation

BLACK, WHITE = np.zeros((112, 112, 3), np.uint8), np.full((112, 112, 3), 255, np.uint8)


@pytest.fixture
def faces() -> FaceSet:
    crops = np.random.default_rng(0).integers(0, 255, (12, 112, 112, 3), np.uint8)
    table = pd.DataFrame({"name": range(12), "source": "toy", "identity": "", "native_crop_px": 112})
    return FaceSet(crops, table.assign(split=["train"] * 8 + ["val"] * 4), "toy")


def test_a_blend_holds_a_good_part_of_both() -> None:
    for seed in range(20):
        grey = blend(BLACK, WHITE, np.random.default_rng(seed))
        assert 0.29 * 255 <= grey.min() <= grey.max() <= 0.71 * 255


def test_a_composite_takes_each_part_from_one_and_half_from_both() -> None:
    for seed in range(20):
        mixed = composite(BLACK, WHITE, np.random.default_rng(seed)).astype(float) / 255
        assert 0.35 < mixed.mean() < 0.65
        assert mixed.min() < 0.2
        assert mixed.max() > 0.8


def test_a_warp_moves_what_it_shows_by_a_few_pixels_only() -> None:
    y, x = np.mgrid[:112, :112]
    ramp = np.stack([x, y, x], axis=-1).astype(np.uint8)
    moved = np.abs(warp(ramp, np.random.default_rng(3)).astype(int) - ramp)
    assert 0.3 < moved.mean() < 8
    assert moved.max() < 25


def test_only_training_faces_are_mixed(faces: FaceSet) -> None:
    faces.crops[8:] = 0
    faces = replace(faces, crops=np.where(np.arange(12)[:, None, None, None] < 8, 255, faces.crops).astype(np.uint8))
    rng = np.random.default_rng(0)
    assert all(mixture(faces, faces.rows("train"), rng).min() >= 250 for _ in range(20))


def test_a_bank_is_filled_once_and_read_back(faces: FaceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.bank.SHARD", 256)
    calls = []

    def label(views: np.ndarray) -> np.ndarray:
        calls.append(len(views))
        mean = views.reshape(len(views), -1, 3).mean(axis=1)  # the same for a mirrored view
        return (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)

    fill_bank(tmp_path, 2, 16, faces, label, Degradation())
    assert sum(calls) == 512
    (tmp_path / "labels-00001.npy").unlink()  # as after a kill: views are there, labels are not
    fill_bank(tmp_path, 2, 16, faces, label, Degradation())
    assert sum(calls) == 768
    bank = Bank(tmp_path, 2)
    assert len(bank) == 512
    views, labels = bank.draw(64, np.random.default_rng(1))
    assert views.shape == (64, 16, 16, 3)
    np.testing.assert_allclose(label(views), labels, atol=1e-3)
    with pytest.raises(ValueError, match="2 of 3 shards"):
        Bank(tmp_path, 3)
    assert SHARD == 12_800
