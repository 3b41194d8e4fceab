"""The loss of a run: the recipe's losses, and the quality estimate of each embedding."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from training.common.precision import mixed_precision
from training.losses import LOSSES, LossContext
from training.recipe import Recipe


def asks_for(recipe: Recipe, *fields: str) -> bool:
    """Whether a loss of the recipe takes one of these fields of ``LossContext``."""
    return any(set(fields) & set(inspect.signature(LOSSES[spec.name]).parameters) for spec in recipe.losses)


class Objective(nn.Module):
    """Weighted sum of the recipe's losses."""

    def __init__(self, recipe: Recipe, context: LossContext) -> None:
        super().__init__()
        built = {f"{i}_{spec.name}": LOSSES[spec.name].build(context, **spec.arguments)
                 for i, spec in enumerate(recipe.losses)}  # fmt: skip
        self.terms = nn.ModuleDict(built)
        self.weights = {name: spec.weight for name, spec in zip(built, recipe.losses, strict=True)}

    def forward(self, student: Tensor, guide: Tensor, labels: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of features ``[n, d]`` and labels ``[n]``; its terms, unweighted, and what they monitor, by name."""
        total, parts = torch.zeros((), device=student.device), {}
        for name, term in self.terms.items():
            value = term(student, guide, labels)
            total = total + self.weights[name] * value
            plain = name.split("_", 1)[1]
            parts[plain] = value.detach()
            monitored: dict[str, Any] = getattr(term, "monitor", {})
            parts |= {f"{plain}.{key}": torch.tensor(float(number)) for key, number in monitored.items()}
        return total, parts


class Learner(nn.Module):
    """Student and objective in one module, so that ``DistributedDataParallel`` averages the gradients of both."""

    def __init__(self, student: nn.Module, objective: Objective, quality_weight: float) -> None:
        super().__init__()
        self.student, self.objective, self.quality_weight = student, objective, quality_weight

    def forward(
        self, views: Tensor, guide: Tensor, labels: Tensor, quality_weights: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of views ``[n, 3, r, r]``.

        Args:
            views: as the student reads them.
            guide: unit embeddings ``[n, e]``.
            labels: int64 ``[n]``, -1 unknown.
            quality_weights: float ``[n]``, see ``training.data.batches.Batch``.
        """
        with mixed_precision(views.device.type):
            features = self.student(views)
        loss, parts = self.objective(features, guide, labels)
        if self.quality_weight:
            penalty = length_loss(features, guide, quality_weights)
            parts["quality"] = penalty.detach()
            loss = loss + self.quality_weight * penalty
        return loss, parts


def length_loss(features: Tensor, guide: Tensor, weights: Tensor) -> Tensor:
    """The quality loss: an embedding's length, before normalisation, shall estimate its cosine to the teacher.

    Args:
        features: ``[n, d]``, as the network returns them.
        guide: the teachers' embeddings ``[n, d]``.
        weights: of the samples, ``[n]``.

    Returns:
        Weighted sum of the squares of ``quality(f) - max(cos(f, t), 0)``, the cosine detached, so that this
        loss changes lengths and not directions.
    """
    cosine = nn.functional.cosine_similarity(features.detach().float(), guide, dim=1).clamp(min=0)
    return ((quality(features) - cosine).square() * weights).sum()


def quality(features: Tensor) -> Tensor:
    """Length of features ``[n, d]`` over the root of d, ``[n]``: see ``length_loss``."""
    return features.float().square().mean(dim=1).add(1e-8).sqrt()
