"""Batches: new views of training faces, and synthetic mixtures from a bank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.data.bank import Bank
from training.data.faces import FaceSet
from training.data.views import student_view
from training.recipe import Recipe


@dataclass(frozen=True)
class Batch:
    """One process's part of a batch.

    Attributes:
        views: uint8 ``[n, r, r, 3]``, BGR.
        guides: unit embeddings float32 ``[n, e]``.
        labels: int64 ``[n]``, -1 unknown.
        quality_weights: float32 ``[n]``, of the samples in the quality loss: 0 for mixtures, whose guide had no sharp
            picture. All ranks' weights together sum to the number of ranks, so that the mean over the ranks of the
            weighted sums is the mean over the faces.
    """

    views: npt.NDArray[np.uint8]
    guides: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    quality_weights: npt.NDArray[np.float32]


class Batches:
    """The batches of a run.

    Each depends on the recipe's seed, its epoch and its place only: not on how many processes share the work, nor on
    whether the run was interrupted.

    Args:
        recipe: batch size, degradation, mixtures, seed.
        faces: crops and splits; only the ``train`` split is drawn.
        guides: the guide's unit embeddings ``[len(faces), e]``.
        labels: of all faces, int64 ``[len(faces)]``.
        bank: mixtures, where the recipe asks for them.
        rank: of this process.
        ranks: how many there are.

    Raises:
        ValueError: fewer faces than a batch takes, none in a batch, or a batch that cannot be shared evenly.
    """

    def __init__(
        self,
        recipe: Recipe,
        faces: FaceSet,
        guides: npt.NDArray[np.float32],
        labels: npt.NDArray[np.int64],
        bank: Bank | None,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.recipe, self.faces, self.guides, self.labels, self.bank = recipe, faces, guides, labels, bank
        self.rows = faces.rows("train")
        self.rank, self.ranks, size = rank, ranks, recipe.schedule.batch
        self.mixed = round(size * recipe.bank.share) if bank is not None else 0
        self.fresh = size - self.mixed
        if self.fresh < 1:
            raise ValueError(f"a share of {recipe.bank.share} leaves no training face in a batch of {size}")
        if size % ranks:
            raise ValueError(f"a batch of {size} cannot be shared by {ranks} processes: choose a multiple")
        if not len(self):
            raise ValueError(f"{len(self.rows)} training faces are less than one batch takes, {self.fresh}")

    def __len__(self) -> int:
        return len(self.rows) // self.fresh

    def order(self, epoch: int) -> npt.NDArray[np.int64]:
        """The training rows in the order of an epoch."""
        return np.random.default_rng([self.recipe.seed, epoch]).permutation(self.rows)

    def make(self, epoch: int, place: int, order: npt.NDArray[np.int64]) -> Batch:
        """This process's part of the batch at ``place`` of an epoch."""
        recipe, seed = self.recipe, [self.recipe.seed, epoch, place]
        level = recipe.student.level
        mine = slice(self.rank, None, self.ranks)
        picked = order[place * self.fresh : (place + 1) * self.fresh]
        own = range(self.fresh)[mine]
        views = np.stack([
            student_view(self.faces.crops[picked[i]], level, recipe.degradation, np.random.default_rng([*seed, i]))
            for i in own
        ]) if own else np.zeros((0, level, level, 3), np.uint8)  # fmt: skip
        guides, labels = self.guides[picked[mine]], self.labels[picked[mine]]
        quality_weights = np.full(len(views), self.ranks / self.fresh, np.float32)
        if self.bank is not None and self.mixed:
            drawn, embedded = self.bank.draw(self.mixed, np.random.default_rng(seed))
            # Ranks take mixtures in turn from where the turns of faces ended, so that all get equally many samples.
            rest = slice((self.rank - self.fresh) % self.ranks, None, self.ranks)
            drawn, embedded = drawn[rest], embedded[rest]
            views, guides = np.concatenate([views, drawn]), np.concatenate([guides, embedded])
            labels = np.concatenate([labels, np.full(len(drawn), -1, np.int64)])
            quality_weights = np.concatenate([quality_weights, np.zeros(len(drawn), np.float32)])
        return Batch(views, guides, labels, quality_weights)
