"""Muon: momentum with an orthogonalised update, for weight matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration that brings singular values near 1 (Jordan et al., 2024)."""

STEPS = 5


def orthogonalised(matrix: Tensor) -> Tensor:
    """The nearest orthogonal matrix to ``[rows, columns]``, roughly: five Newton-Schulz iterations in bfloat16."""
    a, b, c = COEFFICIENTS
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.mT if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalised by Newton-Schulz (Jordan et al., 2024), with decoupled weight decay.

    A weight ``[out, ...]`` is treated as the matrix ``[out, -1]``, its step scaled by ``max(1, rows / columns) ** .5``.

    Args:
        parameters: of two dimensions or more.
        lr: learning rate.
        momentum: 0..1, Nesterov's.
        weight_decay: decoupled, as AdamW's.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.05
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(state["momentum"], group["momentum"]).flatten(1)
                scale = max(1.0, update.shape[0] / update.shape[1]) ** 0.5
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(orthogonalised(update).reshape(parameter.shape), alpha=-group["lr"] * scale)


class MuonWithAdamW(torch.optim.Optimizer):
    """Matrices by ``Muon``, everything else by AdamW at a tenth of its rate and without weight decay, as one optimiser.

    Args:
        parameters: of a model.
        lr: Muon's learning rate.
        weight_decay: of the matrices.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        both = list(parameters)
        matrices = [p for p in both if p.dim() >= 2]
        rest = [p for p in both if p.dim() < 2]
        self.parts: list[torch.optim.Optimizer] = [Muon(matrices, lr, weight_decay=weight_decay)]
        if rest:
            self.parts.append(torch.optim.AdamW(rest, lr=lr / 10, weight_decay=0.0))
        super().__init__(both, {"lr": lr})

    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update every parameter; the rate is that of this optimiser's only group."""
        rate = self.param_groups[0]["lr"]
        for part, scale in zip(self.parts, (1.0, 0.1), strict=False):
            for group in part.param_groups:
                group["lr"] = rate * scale
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """Of both parts."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Of both parts."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
