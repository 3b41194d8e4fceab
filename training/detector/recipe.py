"""The detector's training recipe."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from training.detector.augment import Views


@dataclass(frozen=True)
class Recipe:
    """What decides the result, data aside.

    Attributes:
        steps: of the training.
        batch: samples a step, a quarter of them new, see ``training.detector.batches.REPLAY``.
        rate: peak of the learning rate, reached after ``warmup`` of all steps, then a cosine down to zero.
        decay: of the weights of convolutions.
        average: of the exponential moving average of the weights.
        box: weight of this term beside the score's.
        landmark: likewise.
        hint: likewise, of the teacher's features.
        views: how samples are drawn.
        closing: share of the steps, the last ones, with ``Views.natural`` instead (as in YOLOX, Ge et al., 2021) and
            with BatchNorm's statistics frozen: the network is then trained as it is used.
        seed: of weights and samples.
        begin: the run, or the exported file, that gave the first weights; "" for random ones.
    """

    steps: int = 90000
    batch: int = 16
    rate: float = 2e-3
    warmup: float = 0.05
    decay: float = 0.02
    average: float = 0.9995
    box: float = 1.0
    landmark: float = 2.0
    hint: float = 0.05
    views: Views = field(default_factory=Views)
    closing: float = 0.4
    seed: int = 1
    begin: str = ""

    def closes(self, step: int) -> bool:
        """Whether a step is one of the last, see ``closing``."""
        return step >= self.steps * (1 - self.closing)


def rate_at(step: int, recipe: Recipe) -> float:
    """The learning rate of a step: linear warm-up, then a cosine to zero."""
    rising = max(1, round(recipe.steps * recipe.warmup))
    if step < rising:
        return recipe.rate * (step + 1) / rising
    return recipe.rate * 0.5 * (1 + float(np.cos(np.pi * (step - rising) / max(1, recipe.steps - rising))))
