"""RKD's distance-wise loss."""

from __future__ import annotations

from torch import Tensor

from training.losses.base import Loss
from training.losses.penalties import huber
from training.losses.relations import pair_distances, rescale


class RkdDistance(Loss):
    r"""Distances of pairs (RKD, Park et al., CVPR 2019).

    .. math::
        L = \operatorname{mean}_{i \ne j} \operatorname{huber}(d_{ij}^t, d_{ij}^s), \quad d_{ij} = \| f_i - f_j \| / \mu

    Features as the networks emit them, not at unit length: that and the Huber penalty tell it from HORKD's order 2.
    Weigh it 1 beside 2 of ``rkd_angle``, as RKD does.
    """

    least = 2

    def compute(self, student: Tensor, guide: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``; the features' lengths may differ."""
        return huber(pair_distances(rescale(student)), pair_distances(rescale(guide)))
