"""Synthetic mixtures: blends, composites and warps of aligned faces, labelled by a low-resolution teacher.

92,000 faces are few to learn from; a mixture of two is a new identity, and a teacher (``training.embedder.adapt``)
embeds it. A bank keeps the small views with their labels, some of unmixed faces among them, in
shards that are made once: ``views-00000.npy`` uint8 ``[n, r, r, 3]`` (BGR) and ``labels-00000.npy`` float16 ``[n,
dim]`` of unit length. It holds pictures derived from faces: keep it outside git.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from training.common.files import replacing
from training.data.faces import FaceSet
from training.data.views import student_view
from training.recipe import Degradation, Recipe

SHARD = 12_800
UNMIXED = 0.25
"""Share of views of unmixed faces."""

Image = npt.NDArray[np.uint8]


def blend(a: Image, b: Image, rng: np.random.Generator) -> Image:
    """Two aligned faces uint8 ``[h, w, 3]`` in one, 30 to 70 % of each."""
    weight = rng.uniform(0.3, 0.7)
    return np.asarray(cv2.addWeighted(a, weight, b, 1 - weight, 0), np.uint8)


def composite(a: Image, b: Image, rng: np.random.Generator) -> Image:
    """Two aligned faces uint8 ``[h, w, 3]`` joined along a smooth random border."""
    cells = int(rng.integers(2, 5))
    mask = cv2.resize(
        rng.uniform(-1, 1, (cells, cells)).astype(np.float32), a.shape[1::-1], interpolation=cv2.INTER_CUBIC
    )
    mask = (1 / (1 + np.exp(-6 * (mask - np.median(mask)))))[..., None]
    return np.asarray(a * mask + b * (1 - mask), np.float32).round().clip(0, 255).astype(np.uint8)


def warp(a: Image, rng: np.random.Generator) -> Image:
    """An aligned face uint8 ``[h, w, 3]``, its proportions changed by a smooth field of up to about 6 % of its side."""
    h, w = a.shape[:2]
    cells = int(rng.integers(3, 6))
    field = rng.normal(0, 0.02 * w, (cells, cells, 2)).astype(np.float32)
    dx, dy = (cv2.resize(field[..., i], (w, h), interpolation=cv2.INTER_CUBIC) for i in (0, 1))
    x, y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    return np.asarray(cv2.remap(a, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def mixture(faces: FaceSet, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> Image:
    """A mixture uint8 ``[112, 112, 3]``: a blend or composite of two faces (one in three also warped), or a warp."""
    i, j = rng.choice(rows, 2, replace=False)
    a, b = np.asarray(faces.crops[i]), np.asarray(faces.crops[j])
    if rng.random() < 0.5:
        b = np.ascontiguousarray(b[:, ::-1])
    kind = rng.random()
    if kind < 0.15:
        return warp(a, rng)
    mixed = blend(a, b, rng) if kind < 0.5 else composite(a, b, rng)
    return warp(mixed, rng) if rng.random() < 1 / 3 else mixed


def bank_folder(cache: Path, recipe: Recipe, faces: FaceSet) -> Path:
    """The folder of a recipe's bank: each set of faces has its own, as people may be held out in one set only."""
    return cache / "bank" / f"{recipe.bank.teacher}-{recipe.student.level}-{faces.key}"


def fill_bank(
    folder: Path,
    shards: int,
    level: int,
    faces: FaceSet,
    label: Callable[[Image], npt.NDArray[np.float32]],
    degradation: Degradation,
) -> None:
    """Make the shards that ``folder`` lacks; each is complete or absent.

    Args:
        folder: of one level and one teacher.
        shards: how many to make, of ``SHARD`` views each.
        level: side of the views in pixels.
        faces: crops and splits; only the ``train`` split is mixed.
        label: views uint8 ``[n, r, r, 3]`` to unit embeddings ``[n, dim]``.
        degradation: how small faces are made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = faces.rows("train")
    for shard in range(shards):
        done = folder / f"labels-{shard:05d}.npy"
        if done.exists():
            continue
        rng = np.random.default_rng([1, level, shard])
        views, labels = [], []
        for _ in tqdm(range(SHARD // 128), desc=f"bank {level}, shard {shard + 1}/{shards}", mininterval=5):
            batch = [
                np.asarray(faces.crops[rng.choice(rows)]) if rng.random() < UNMIXED else mixture(faces, rows, rng)
                for _ in range(128)
            ]
            views.append(np.stack([student_view(face, level, degradation, rng) for face in batch]))
            labels.append(label(views[-1]).astype(np.float16))
        # The labels are written last: a shard that has them is complete.
        for path, arrays in ((folder / f"views-{shard:05d}.npy", views), (done, labels)):
            with replacing(path) as part:
                np.save(part, np.concatenate(arrays))


class Bank:
    """The views and labels of the first ``shards`` shards of a folder that ``fill_bank`` filled, in memory.

    Raises:
        ValueError: there are fewer.
    """

    def __init__(self, folder: Path, shards: int) -> None:
        done = sorted(folder.glob("labels-?????.npy"))[:shards]
        if len(done) < shards:
            raise ValueError(f"{folder} holds {len(done)} of {shards} shards")
        self.labels: npt.NDArray[np.float16] = np.concatenate([np.load(path) for path in done])
        self.views: Image = np.concatenate(
            [np.load(path.with_name(path.name.replace("labels", "views"))) for path in done]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Image, npt.NDArray[np.float32]]:
        """Random views uint8 ``[count, r, r, 3]``, half of them mirrored, with unit labels float32 ``[count, dim]``."""
        picked = np.sort(rng.integers(0, len(self), count))
        views = self.views[picked]
        mirrored = rng.random(count) < 0.5
        views[mirrored] = views[mirrored][:, :, ::-1]
        return views, self.labels[picked].astype(np.float32)
