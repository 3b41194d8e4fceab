"""The batches of the detector's training: samples, each learned several times, and their targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from training.detector.augment import Sample, draw, mirror
from training.detector.recipe import Recipe
from training.detector.scenes import PasteSet, SceneSet
from training.detector.targets import (
    TeacherFunction,
    TeacherPrediction,
    cell_targets,
    mirrored_prediction,
    without_known_negatives,
)

REPLAY = (0, 140, 60, 256)
"""Data echoing (Choi et al., 2019): a sample is learned again so many steps after it was drawn, the last two times
mirrored. Drawing it and running the teacher take longer than a training step, and a few repetitions cost no accuracy.

All are multiples of 4, so that with two or four workers the same worker still has the sample. All their differences are
unequal, so that a sample is in a batch with other samples each time.
"""


@dataclass
class Batch:
    """Samples and their targets.

    Attributes:
        images: uint8 ``[n, 3, side, side]``, channels last.
        scores: float32 ``[n, N]``, target score of each cell.
        picture, cell: int64 ``[p]``, the cells that learn a box, with
        boxes: ``[p, 4]``,
        landmarks: ``[p, 5, 2]``,
        marked: bool ``[p]``, whether these are known.
        hints: float32, for each stride ``[m, HINT_CHANNELS, side / stride, side / stride]``, the teacher's features of
            the first m images; those of the others are not known.
    """

    images: Tensor
    scores: Tensor
    picture: Tensor
    cell: Tensor
    boxes: Tensor
    landmarks: Tensor
    marked: Tensor
    hints: list[Tensor]


def collate(samples: list[tuple[Sample, TeacherPrediction]]) -> Batch:
    """Stack samples; those without the teacher's features must come last."""
    hints = [prediction.features for _, prediction in samples if prediction.features]
    images = torch.from_numpy(np.stack([sample.image for sample, _ in samples])).permute(0, 3, 1, 2)
    every = [cell_targets(sample.labels, prediction) for sample, prediction in samples]
    joined = {
        name: torch.from_numpy(np.concatenate([getattr(targets, name) for targets in every]))
        for name in ("cell", "boxes", "landmarks", "marked")
    }
    return Batch(
        images=images,
        scores=torch.from_numpy(np.stack([prediction.scores for _, prediction in samples])),
        picture=torch.from_numpy(np.repeat(np.arange(len(every)), [len(targets.cell) for targets in every])),
        hints=[torch.from_numpy(np.stack(level)) for level in zip(*hints, strict=True)],
        **joined,
    )


class Batches(Dataset[Batch]):
    """The batch of each step: a function of the seed and the step alone, so that a resumed run sees the same batches.

    Args:
        scenes: to draw views from.
        pastes: faces to paste.
        teacher: gives the cells' targets.
        recipe: of the run; its batch is a multiple of four.
    """

    def __init__(self, scenes: SceneSet, pastes: PasteSet, teacher: TeacherFunction, recipe: Recipe) -> None:
        self.scenes, self.pastes, self.teacher, self.recipe = scenes, pastes, teacher, recipe
        self._drawn: dict[int, list[tuple[Sample, TeacherPrediction]]] = {}

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step."""
        self._drawn = {drawn: samples for drawn, samples in self._drawn.items() if drawn > step - REPLAY[-1] - 4}
        new, second, third, fourth = (self._samples(step - ago) for ago in REPLAY)
        return collate([*new, *second, *(_mirrored(*sample) for sample in (*third, *fourth))])

    def _samples(self, step: int) -> list[tuple[Sample, TeacherPrediction]]:
        """The new samples of a step; the first steps also use samples of negative steps."""
        if step not in self._drawn:
            recipe, samples = self.recipe, []
            views = recipe.views.natural() if recipe.closes(step) else recipe.views
            new = recipe.batch // len(REPLAY)
            first = (step + REPLAY[-1]) * new
            for k in range(first, first + new):
                epoch, place = divmod(k, len(self.scenes.train))
                order = np.random.default_rng([recipe.seed, epoch]).permutation(self.scenes.train)
                rng = np.random.default_rng([recipe.seed, 7, k])
                sample = draw(self.scenes, self.pastes, int(order[place]), views, rng)
                samples.append((sample, without_known_negatives(self.teacher(sample.image), sample.labels)))
            self._drawn[step] = samples
        return self._drawn[step]


def _mirrored(sample: Sample, prediction: TeacherPrediction) -> tuple[Sample, TeacherPrediction]:
    """A sample and its prediction, mirrored."""
    return Sample(*mirror(sample.image, sample.labels)), mirrored_prediction(prediction, *sample.image.shape[:2])
