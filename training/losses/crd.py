"""CRD: a sample's student and guide features, contrasted with those of other samples."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from training.losses.base import Loss, positive
from training.losses.penalties import Critic
from training.losses.queue import FeatureQueue
from training.losses.relations import same_identity


class Crd(Loss):
    r"""Contrastive representation distillation (CRD, Tian, Krishnan, Isola, ICLR 2020).

    .. math::
        L = -\frac{1}{n} \sum_i \Big[ \log h(s_i, t_i) + \sum_j \log (1 - h(s_i, t_j)) \Big] + (s \leftrightarrow t),
        \quad h = \text{Critic("crd")}

    with s and t linear projections of the features at unit length, learnt with the student. As in the authors' code,
    student anchors are told from guides and guide anchors from students. Other than there, negatives are all samples of
    the batch and of a queue of past features that are not of the same person, rather than draws from a memory of the
    whole training set.

    Args:
        student_dim: d.
        guide_dim: e.
        temperature: tau, .07 as in the paper's code.
        queue: past samples kept.
        dim: of the projections.
        same_above: the guide's cosine from which two faces without labels count as one person's.

    Raises:
        ValueError: a value out of range.
    """

    least = 2

    def __init__(
        self,
        student_dim: int,
        guide_dim: int,
        temperature: float = 0.07,
        queue: int = 4096,
        dim: int = 128,
        same_above: float = 0.5,
    ) -> None:
        super().__init__()
        positive(dim=dim)
        self.student_head = nn.Linear(student_dim, dim)
        self.guide_head = nn.Linear(guide_dim, dim)
        self.queue = FeatureQueue(queue, student_dim, guide_dim)
        self.student_critic = Critic("crd", temperature)
        self.guide_critic = Critic("crd", temperature)
        self.same_above = same_above

    def compute(self, student: Tensor, guide: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``; the features' lengths may differ."""
        unit_s, unit_t = F.normalize(student, dim=1), F.normalize(guide, dim=1)
        pool_s, pool_t, pool_labels = self.queue.appended(unit_s, unit_t, labels)
        allowed = ~same_identity(labels[:, None], pool_labels, unit_t @ pool_t.T, self.same_above)
        allowed.fill_diagonal_(False)
        if self.training:
            self.queue.push(unit_s.detach(), unit_t, labels)
        s, t = F.normalize(self.student_head(pool_s), dim=1), F.normalize(self.guide_head(pool_t), dim=1)
        n = len(student)
        related = (s[:n] * t[:n]).sum(1)
        loss: Tensor = self.student_critic(related, s[:n] @ t.T, allowed) + self.guide_critic(
            related, t[:n] @ s.T, allowed
        )
        return loss
