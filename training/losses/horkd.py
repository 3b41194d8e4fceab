"""HORKD: the weighted sum of its four orders."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from training.losses.base import Loss
from training.losses.order1 import FirstOrder
from training.losses.order2 import SecondOrder
from training.losses.order3 import ThirdOrder
from training.losses.order_c import CentreOrder


class Horkd(Loss):
    r"""Hybrid order relational knowledge (HORKD, Ge et al., AAAI 2020).

    .. math:: L = L_1 + \alpha L_2 + \beta L_3 + \gamma L_C

    The sum is the paper's, and so are the values .02, .01 and 1 of its face ablation; which is which is inferred from
    the order of mention. The paper writes the orders as sums, ours are means; whether its weights belong to sums is not
    known. If they do, the same balance beside order 1 takes (n - 1) alpha, about (n - 1)^2 beta and k gamma here, for
    batches of n and k classes.

    Args:
        student_dim: d.
        centres: the guide's class centres ``[k, e]``, see ``CentreOrder``; not needed where gamma is 0.
        alpha: weight of order 2.
        beta: weight of order 3.
        gamma: weight of order C. A weight of 0 leaves its order out.
        anchors: see ``ThirdOrder``.
        momentum: see ``CentreOrder``.

    Raises:
        ValueError: a weight is negative, or as its orders.
    """

    least = 3

    def __init__(
        self,
        student_dim: int,
        centres: Tensor | None,
        alpha: float = 0.02,
        beta: float = 0.01,
        gamma: float = 1.0,
        anchors: int = 16,
        momentum: float = 0.9,
    ) -> None:
        super().__init__()
        if min(alpha, beta, gamma) < 0:
            raise ValueError(f"weights {alpha}, {beta}, {gamma}: give none below zero")
        self.weights = {"order1": 1.0, "order2": alpha, "order3": beta, "order_c": gamma}
        orders: dict[str, Loss] = {"order1": FirstOrder(), "order2": SecondOrder(), "order3": ThirdOrder(anchors)}
        if gamma:
            orders["order_c"] = CentreOrder(student_dim, centres, momentum)
        self.orders = nn.ModuleDict({name: order for name, order in orders.items() if self.weights[name]})

    def compute(self, student: Tensor, guide: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``; ``monitor`` holds the unweighted orders."""
        # Not called: that would gather once more.
        found = {name: cast(Loss, order).compute(student, guide, labels) for name, order in self.orders.items()}
        self.monitor = {name: float(value.detach()) for name, value in found.items()}
        return torch.stack([self.weights[name] * value for name, value in found.items()]).sum()
