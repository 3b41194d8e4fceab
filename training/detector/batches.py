"""Batches of training samples, and what is learned of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from training.detector.augment import Sample, draw
from training.detector.network import STRIDES
from training.detector.recipe import Recipe
from training.detector.scenes import PasteSet, SceneSet
from training.detector.targets import AsksTeacher, Word, cell_targets, seen_closer

MIRRORED = [1, 0, 2, 4, 3]  # landmarks


@dataclass
class Batch:
    """Samples, and what is learned of them.

    Attributes:
        images: uint8 ``[n, 3, side, side]``, channels last.
        scores: float32 ``[n, N]``, what each cell is to say.
        picture, cell: int64 ``[p]``, the cells that learn a box, with
        boxes: ``[p, 4]``,
        landmarks: ``[p, 5, 2]``,
        marked: bool ``[p]``, whether these are known.
    """

    images: Tensor
    scores: Tensor
    picture: Tensor
    cell: Tensor
    boxes: Tensor
    landmarks: Tensor
    marked: Tensor

    def mirrored(self) -> Batch:
        """The same with left and right exchanged, landmarks renamed accordingly."""
        height, width = self.images.shape[2:]
        places, first = [], 0
        for stride in STRIDES:
            rows, columns = height // stride, width // stride
            places.append(first + torch.arange(rows * columns).view(rows, columns).flip(1).flatten())
            first += rows * columns
        mirror = torch.cat(places)
        boxes = self.boxes.clone()
        boxes[:, [0, 2]] = width - self.boxes[:, [2, 0]]
        landmarks = self.landmarks[:, MIRRORED]
        landmarks[..., 0] = width - landmarks[..., 0]
        images = self.images.flip(3).contiguous(memory_format=torch.channels_last)
        return Batch(images, self.scores[:, mirror], self.picture, mirror[self.cell], boxes, landmarks, self.marked)


def collate(samples: list[tuple[Sample, Word]]) -> Batch:
    """Stack samples."""
    images = torch.from_numpy(np.stack([sample.worn for sample, _ in samples])).permute(0, 3, 1, 2)
    every = [cell_targets(sample.labels, word, *sample.worn.shape[:2]) for sample, word in samples]
    face = np.stack([targets.face for targets in every])
    picture, cell = np.nonzero(face >= 0)
    first = np.cumsum([0, *(len(sample.labels) for sample, _ in samples)])
    row = first[picture] + face[picture, cell]
    values = (
        np.concatenate([getattr(sample.labels, name) for sample, _ in samples])[row]
        for name in ("boxes", "landmarks", "marked")
    )
    return Batch(
        images,
        torch.from_numpy(np.stack([targets.scores for targets in every])),
        torch.from_numpy(picture),
        torch.from_numpy(cell),
        *map(torch.from_numpy, values),
    )


class Batches(Dataset[Batch]):
    """Batch after batch, each a function of the seed and its number: a resumed run sees what it would have.

    Args:
        scenes: to view.
        pastes: to paste.
        teacher: says what the cells are to say.
        recipe: says how.
    """

    def __init__(self, scenes: SceneSet, pastes: PasteSet, teacher: AsksTeacher, recipe: Recipe) -> None:
        self.scenes, self.pastes, self.teacher, self.recipe = scenes, pastes, teacher, recipe

    def __getitem__(self, number: int) -> Batch:
        """A batch."""
        recipe, samples = self.recipe, []
        for k in range(number * recipe.batch, (number + 1) * recipe.batch):
            epoch, place = divmod(k, len(self.scenes.train))
            order = np.random.default_rng([recipe.seed, epoch]).permutation(self.scenes.train)
            rng = np.random.default_rng([recipe.seed, 7, k])
            sample = draw(self.scenes, self.pastes, int(order[place]), recipe.views, rng)
            labels = seen_closer(sample.labels, sample.clean, self.teacher)
            samples.append((replace(sample, labels=labels), self.teacher.word(sample.clean)))
        return collate(samples)
