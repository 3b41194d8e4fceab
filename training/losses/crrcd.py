"""CRRCD: relations of a low-resolution sample to high-resolution ones, contrasted with those of other pairs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from training.losses.base import Draws, Loss, positive
from training.losses.penalties import Critic
from training.losses.queue import FeatureQueue
from training.losses.relations import FeatureRelation, same_identity


class Crrcd(Loss):
    r"""Cross-resolution relational contrastive distillation (Zhang, Ge, Shi, Zeng, TCSVT 2023, arXiv 2409.02555).

    .. math::
        L_{rcd} = - \mathbb{E} \Big[ \log h(v_{ij}^t, v_{ij}^{ts})
            + \sum_{(k, l)} \log \big( 1 - h(v_{ij}^t, v_{kl}^{ts}) \big) \Big], \quad
        v_{ij}^t = F^t(f_i^t, f_j^t), \quad v_{ij}^{ts} = F^{ts}(f_i^s, f_j^t)

    Relations, modules of two linear layers, and the loss's form are the paper's. Inferred: the modules' input (see
    ``FeatureRelation``), unit features, the critic h of the cosine (see ``Critic``; weigh the sigmoid's loss by about
    1 / N beside others), and what is drawn: some partners j for each sample i of the batch, and N pairs (k, l) for all
    of them, from the batch and the queue of past features. All numbers (tau, N, sizes) are this project's.

    A pair (k, l) is no negative for (i, j) where k is the person of i and l that of j, or where both pairs are of one
    person each: by labels where both samples have them, by the guide's cosine elsewhere.

    ``monitor``: ``unrelated``, the mean cosine of the guide's relations to those of its negatives, which near 1 says
    that the modules collapsed; ``related``, that of the positives.

    Args:
        student_dim: d.
        guide_dim: e.
        critic: "sigmoid" or "crd".
        temperature: tau.
        negatives: N.
        partners: j's of each sample.
        queue: past samples kept.
        dim: of a relation.
        same_above: the guide's cosine from which two faces without labels count as one person's.

    Raises:
        ValueError: a value out of range.
    """

    least = 2

    def __init__(
        self,
        student_dim: int,
        guide_dim: int,
        critic: str = "sigmoid",
        temperature: float = 0.1,
        negatives: int = 1024,
        partners: int = 4,
        queue: int = 4096,
        dim: int = 128,
        same_above: float = 0.5,
    ) -> None:
        super().__init__()
        positive(negatives=negatives, partners=partners, dim=dim)
        self.of_guide = FeatureRelation(guide_dim, guide_dim, dim)
        self.across = FeatureRelation(student_dim, guide_dim, dim)
        self.queue = FeatureQueue(queue, student_dim, guide_dim)
        self.draws = Draws()
        self.critic = Critic(critic, temperature)
        self.negatives, self.partners, self.same_above = negatives, partners, same_above

    def compute(self, student: Tensor, guide: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``; the features' lengths may differ."""
        s, t = F.normalize(student, dim=1), F.normalize(guide, dim=1)
        pool_s, pool_t, pool_labels = self.queue.appended(s, t, labels)
        ij, kl = (x.to(s.device) for x in self.draw(len(s), len(pool_s), self.draws()))
        anchors = self.of_guide(t[ij[0]], t[ij[1]])
        related = (anchors * self.across(s[ij[0]], t[ij[1]])).sum(1)
        unrelated = anchors @ self.across(pool_s[kl[0]], pool_t[kl[1]]).T
        allowed = ~self._alike(ij, kl, len(s), pool_t, pool_labels)
        if self.training:
            self.queue.push(s.detach(), t, labels)
        self.monitor = self._collapse(anchors.detach(), pool_t[kl[0]], pool_t[kl[1]], allowed)
        self.monitor["related"] = float(related.detach().mean())
        loss: Tensor = self.critic(related, unrelated, allowed)
        return loss

    def _alike(self, ij: Tensor, kl: Tensor, n: int, t: Tensor, labels: Tensor) -> Tensor:
        """Bool ``[pairs, negatives]``: the relation of k to l may be that of i to j. Features, labels of the pool."""
        same = same_identity(labels[:n, None], labels, t[:n] @ t.T, self.same_above)
        cosine = (t[kl[0]] * t[kl[1]]).sum(1)
        within = same_identity(labels[kl[0]], labels[kl[1]], cosine, self.same_above)
        of_ends = same[ij[0]][:, kl[0]] & same[ij[1]][:, kl[1]]
        return of_ends | (same[ij[0], ij[1]][:, None] & within)

    @torch.no_grad()
    def _collapse(self, anchors: Tensor, first: Tensor, second: Tensor, allowed: Tensor) -> dict[str, float]:
        cosines = anchors @ self.of_guide(first, second).T
        return {"unrelated": float((cosines * allowed).sum() / allowed.sum().clamp(min=1))}

    def draw(self, n: int, pool: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Indices of pairs of two different samples.

        Returns:
            (i, j) ``[2, n * partners]`` into the batch of n, (k, l) ``[2, negatives]`` into the pool that begins with
            it.
        """
        i = torch.arange(n).repeat_interleave(self.partners)
        j = (i + torch.randint(1, n, i.shape, generator=generator)) % n
        k = torch.randint(pool, (self.negatives,), generator=generator)
        # Another sample than k, uniformly.
        return torch.stack([i, j]), torch.stack([k, (k + torch.randint(1, pool, k.shape, generator=generator)) % pool])
