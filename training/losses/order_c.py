"""HORKD's order C: distances of samples to class centres."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from training.losses.base import Loss, positive
from training.losses.penalties import square
from training.losses.relations import distances


class CentreOrder(Loss):
    r"""Distances to class centres (HORKD, Ge et al., AAAI 2020, order C).

    .. math::
        L_C = \operatorname{mean}_{i, k} \big( d^t(f_i^t, c_k^t) - d^s(f_i^s, c_k^s) \big)^2, \quad
        d(f, c) = \| f - c \|_2 / \mu

    The squared difference, and a set of centres per space, each the mean feature of its class over the training set,
    are the paper's. Inferred: :math:`\mu` is the batch's mean distance in that space; features and centres have unit
    length (a mean of few samples is longer than one of many, which says nothing of the class). The update is inferred
    too: the guide's centres are given and stay; the student's move while it trains,

    .. math:: c_k \leftarrow c_k + w_k (\bar f_k - c_k), \quad w_k = \max(b_k / N_k, 1 - m^{b_k})

    with :math:`\bar f_k` the mean of the batch's b_k samples of class k, N_k all samples of k so far, m the momentum: a
    plain mean at first, a moving one later. They carry no gradient, and move before the loss is taken; classes not yet
    seen are left out. The mean replaces the paper's sum.

    Args:
        student_dim: d.
        centres: the guide's, float32 ``[k, e]``. Where no identities are known: of clusters (k-means of its features).
        momentum: m in 0..1, of one sample.

    Raises:
        ValueError: no centres, or none that can be used, or a momentum out of range.
    """

    least = 2
    guide_centres: Tensor
    student_centres: Tensor
    counts: Tensor

    def __init__(self, student_dim: int, centres: Tensor | None, momentum: float = 0.9) -> None:
        super().__init__()
        positive(student_dim=student_dim)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum {momentum}: give one from 0 up to, not including, 1")
        self.momentum = momentum
        # Given again with each run, so no checkpoint needs them.
        self.register_buffer("guide_centres", unit_centres(centres), persistent=False)
        classes = len(self.guide_centres)
        self.register_buffer("student_centres", torch.zeros(classes, student_dim))
        self.register_buffer("counts", torch.zeros(classes, dtype=torch.int64))

    def compute(self, student: Tensor, guide: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``; samples of unknown class move no centre, but have their distances like all.

        Raises:
            ValueError: a label without a centre, or no labelled sample so far.
        """
        check_labels(labels, len(self.counts))
        s, t = F.normalize(student, dim=1), F.normalize(guide, dim=1)
        if self.training:
            self._move(s.detach()[labels >= 0], labels[labels >= 0])
        seen = self.counts > 0
        if not seen.any():
            raise ValueError("no class has been seen: give labels (identities, or clusters of the guide's features)")
        of_student = distances(s, F.normalize(self.student_centres[seen], dim=1))
        of_guide = distances(t, self.guide_centres[seen])
        return square(of_student / of_student.mean(), of_guide / of_guide.mean())

    def _move(self, features: Tensor, labels: Tensor) -> None:
        classes, place, found = torch.unique(labels, return_inverse=True, return_counts=True)
        means = torch.zeros(len(classes), features.shape[1], device=features.device)
        means.index_add_(0, place, features).div_(found[:, None])
        self.counts[classes] += found
        weight = torch.maximum(found / self.counts[classes], 1 - self.momentum**found)
        self.student_centres[classes] = torch.lerp(self.student_centres[classes], means, weight[:, None])


def unit_centres(centres: Tensor | None) -> Tensor:
    """A guide's class centres ``[k, e]`` at unit length, float32.

    Raises:
        ValueError: there are none, or their shape or values are of no use.
    """
    if centres is None:
        raise ValueError("no class centres: this loss needs faces with identities, or clusters of the guide's features")
    if centres.dim() != 2 or not len(centres) or not centres.isfinite().all():
        raise ValueError(f"centres {list(centres.shape)}: give finite ones, [k, e], one for each class")
    return F.normalize(centres.float(), dim=1)


def check_labels(labels: Tensor, classes: int) -> None:
    """Refuse labels that index no centre.

    Raises:
        ValueError: one is too large.
    """
    if int(labels.max()) >= classes:
        raise ValueError(f"label {int(labels.max())} has no centre, there are {classes}: number identities from 0")
