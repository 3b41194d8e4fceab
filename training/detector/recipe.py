"""What decides a training's result, data aside."""

from __future__ import annotations

from dataclasses import dataclass, field

from training.detector.augment import Views


@dataclass(frozen=True)
class Recipe:
    """What decides the result, data aside.

    Attributes:
        steps: of the training; each batch is good for two, the second time mirrored.
        batch: samples a step.
        rate: peak of the learning rate, reached after ``warmup`` of all steps, then a cosine down to zero.
        decay: of the weights of convolutions.
        average: of the exponential moving average of the weights.
        box: weight of this term beside the score's.
        landmark: likewise.
        views: how samples are drawn.
        seed: of weights and samples.
        begin: the run whose averaged weights it begins with; "" for random ones.
    """

    steps: int = 15000
    batch: int = 16
    rate: float = 1.5e-3
    warmup: float = 0.05
    decay: float = 0.02
    average: float = 0.9995
    box: float = 1.0
    landmark: float = 2.0
    views: Views = field(default_factory=Views)
    seed: int = 1
    begin: str = ""
