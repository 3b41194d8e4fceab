"""Penalties: a scalar distance of the student's relations from the guide's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.losses.base import positive


def square(student: Tensor, guide: Tensor) -> Tensor:
    """Mean squared difference of two tensors of one shape."""
    return F.mse_loss(student, guide)


def huber(student: Tensor, guide: Tensor) -> Tensor:
    """Mean of ``x**2 / 2`` where the difference x is below 1, ``|x| - 1/2`` beyond."""
    return F.huber_loss(student, guide)


def divergence(student: Tensor, guide: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the guide's from the student's log-probabilities ``[n, k]``, mean over n."""
    return F.kl_div(student, guide, reduction="batchmean", log_target=True)


class Critic(nn.Module):
    r"""A critic that separates positive from negative pairs; the loss is its negative log-likelihood.

    .. math::
        L = -\frac{1}{n} \sum_i \Big[ \log h(p_i) + \sum_k \log \big(1 - h(q_{ik})\big) \Big], \quad
        h(c) = \frac{e^{c / \tau}}{e^{c / \tau} + m}

    "sigmoid": m = 1, so that h is the sigmoid of :math:`c / \tau`. The loss grows with the number N of negatives, about
    N log 2 at first.

    "crd": m = N / M in the paper (CRD, Tian et al., ICLR 2020), M the size of the training set. Its authors' code
    besides divides :math:`e^{c / \tau}` by M times its mean over the first batch's negatives, Z, kept from then on; M
    cancels and m = N Z, which is what stands here: the critic begins undecided, at h = 1 / (N + 1) for a mean negative,
    and the loss near 1 + log(N + 1), whatever N is.

    Args:
        kind: "sigmoid" or "crd".
        temperature: tau.

    Raises:
        ValueError: another kind, or a temperature that is not positive.
    """

    log_mean: Tensor

    def __init__(self, kind: str, temperature: float) -> None:
        super().__init__()
        positive(temperature=temperature)
        if kind not in ("sigmoid", "crd"):
            raise ValueError(f"critic {kind!r}: give 'sigmoid' or 'crd'")
        self.kind, self.temperature = kind, temperature
        self.register_buffer("log_mean", torch.full((), torch.nan))

    def forward(self, related: Tensor, unrelated: Tensor, allowed: Tensor) -> Tensor:
        """The loss, a scalar >= 0.

        Args:
            related: cosines p ``[n]``.
            unrelated: cosines q ``[n, k]``.
            allowed: bool ``[n, k]``, false where a pair is no negative.
        """
        related, unrelated = related / self.temperature, unrelated / self.temperature
        log_m = torch.zeros_like(related)
        if self.kind == "crd" and allowed.any():
            if self.log_mean.isnan():
                self.log_mean.copy_(unrelated.detach()[allowed].logsumexp(0) - allowed.sum().log())
            log_m = allowed.sum(1).clamp(min=1).log() + self.log_mean
        wrong = F.logsigmoid(log_m[:, None] - unrelated)
        return -(F.logsigmoid(related - log_m) + (wrong * allowed).sum(1)).mean()
