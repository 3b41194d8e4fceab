"""The moving average of weights, which is what ships, and the learning rate."""

from __future__ import annotations

import math
from copy import deepcopy

import torch
from torch import nn


class Ema:
    """Exponential moving average of weights and BatchNorm statistics; starts as a plain mean, so that it warms up."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards ``model``'s present weights and statistics."""
        self.steps += 1
        weight = max(1 - self.decay, 1 / (self.steps + 1))
        for average, current in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if average.is_floating_point():
                average.lerp_(current, weight)
            else:
                average.copy_(current)


def learning_rate(progress: float, rate: float, warmup: float, fall: float = 1.0) -> float:
    """Linear from 4 % over the first ``warmup`` of a run, constant, then a cosine to zero over its last ``fall``.

    Args:
        progress: share of the run that is done, 0..1.
        rate: the peak.
        warmup: share of the run, 0..1.
        fall: share of the run, 0..1; it begins after the warm-up at the earliest.
    """
    if progress < warmup:
        return rate * (0.04 + 0.96 * progress / warmup)
    start = max(warmup, 1 - fall)
    if progress <= start or start == 1:
        return rate
    return rate * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - start) / (1 - start))))
