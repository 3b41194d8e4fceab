"""RKD's angle-wise loss."""

from __future__ import annotations

from torch import Tensor

from training.losses.order3 import ThirdOrder
from training.losses.relations import rescale


class RkdAngle(ThirdOrder):
    r"""Angles of triplets (RKD, Park et al., CVPR 2019).

    .. math:: L = \operatorname{mean}_{i \ne j, k \ne j} \operatorname{huber}(a_{ijk}^t, a_{ijk}^s)

    of HORKD's order 3, but of features as the networks emit them, not at unit length. Weigh it 2 beside 1 of
    ``rkd_distance``, as RKD does. New vertices j are drawn for each batch.

    Args:
        anchors: vertices a batch, at most; time and memory are O(anchors n^2).

    Raises:
        ValueError: anchors are not positive.
    """

    @staticmethod
    def scale(features: Tensor) -> Tensor:
        """Features keep their lengths relative to one another: see ``rescale``."""
        return rescale(features)
