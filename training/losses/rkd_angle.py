"""RKD's angle-wise loss."""

from __future__ import annotations

import torch
from torch import Tensor

from training.losses.base import Draws, Loss, positive
from training.losses.penalties import huber
from training.losses.relations import angles, rescale


class RkdAngle(Loss):
    r"""Angles of triplets (RKD, Park et al., CVPR 2019).

    .. math:: L = \operatorname{mean}_{i \ne j, k \ne j} \operatorname{huber}(a_{ijk}^t, a_{ijk}^s)

    of HORKD's order 3, but of features as the networks emit them, not at unit length. Weigh it 2 beside 1 of
    ``rkd_distance``, as RKD does. Vertices j are drawn anew for each batch.

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
        return huber(angles(rescale(student), vertices), angles(rescale(guide), vertices))
