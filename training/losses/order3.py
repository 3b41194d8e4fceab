"""HORKD's third order: angles between samples."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from training.losses.base import Draws, Loss, positive
from training.losses.penalties import huber
from training.losses.relations import angles


class ThirdOrder(Loss):
    r"""Angles of triplets (HORKD, Ge et al., AAAI 2020, order 3; RKD's angle).

    .. math::
        L_3 = \operatorname{mean}_{i \ne j, k \ne j} \operatorname{huber}(a_{ijk}^t, a_{ijk}^s), \quad
        a_{ijk} = \left\langle \frac{f_i - f_j}{\|f_i - f_j\|}, \frac{f_k - f_j}{\|f_k - f_j\|} \right\rangle

    Potential and penalty are the paper's; the unit length of features is inferred, the mean replaces its sum. Triplets
    are O(n^3): new vertices j are drawn for each batch.

    Args:
        anchors: vertices a batch, at most; time and memory are O(anchors n^2).

    Raises:
        ValueError: anchors are not positive.
    """

    least = 3

    def __init__(self, anchors: int = 16) -> None:
        super().__init__()
        positive(anchors=anchors)
        self.anchors = anchors
        self.draws = Draws()

    def compute(self, student: Tensor, guide: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``; the features' lengths may differ."""
        vertices = torch.randperm(len(student), generator=self.draws())[: self.anchors].to(student.device)
        return huber(angles(self.scale(student), vertices), angles(self.scale(guide), vertices))

    @staticmethod
    def scale(features: Tensor) -> Tensor:
        """The features ``[n, d]`` whose angles are taken: scaled to unit length."""
        return F.normalize(features, dim=1)
