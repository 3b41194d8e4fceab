"""HORKD's second order: distances between samples."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from training.losses.base import Loss
from training.losses.penalties import square
from training.losses.relations import pair_distances


class SecondOrder(Loss):
    r"""Distances of pairs (HORKD, Ge et al., AAAI 2020, order 2).

    .. math:: L_2 = \frac{1}{n (n - 1)} \sum_{i \ne j} (d_{ij}^t - d_{ij}^s)^2, \quad d_{ij} = \| f_i - f_j \|_2 / \mu

    The squared difference of normalised L2 distances is the paper's; :math:`\mu`, the batch's mean distance in that
    space, is inferred (as in RKD), and so is the unit length of features. The mean replaces the paper's sum.
    """

    least = 2

    def compute(self, student: Tensor, guide: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``; the features' lengths may differ."""
        return square(pair_distances(F.normalize(student, dim=1)), pair_distances(F.normalize(guide, dim=1)))
