"""Penalties: how far the student's relations are from the guide's. They take any relation and give a scalar."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def square(student: Tensor, guide: Tensor) -> Tensor:
    """Mean squared difference of two tensors of one shape."""
    return F.mse_loss(student, guide)


def huber(student: Tensor, guide: Tensor) -> Tensor:
    """Mean of ``x**2 / 2`` where the difference x is below 1, ``|x| - 1/2`` beyond."""
    return F.huber_loss(student, guide)


def divergence(student: Tensor, guide: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the guide's from the student's log-probabilities ``[n, k]``, mean over n."""
    return F.kl_div(student, guide, reduction="batchmean", log_target=True)


def contrast(positive: Tensor, negative: Tensor, allowed: Tensor, temperature: float, population: int = 0) -> Tensor:
    r"""A critic's log-likelihood that it tells what belongs together from what does not.

    .. math::
        L = -\frac{1}{n} \sum_i \Big[ \log h(p_i) + \sum_k \log \big(1 - h(q_{ik})\big) \Big], \quad
        h(c) = \frac{e^{c / \tau}}{e^{c / \tau} + m}

    with m = 1, the sigmoid of :math:`c / \tau`, or m = N / M for N negatives and a population of M (CRD, Tian et al.,
    ICLR 2020; the authors' code besides divides by a constant taken from the first batch, which is not done here).
    The sum over negatives is the papers': the value grows with their number.

    Args:
        positive: cosines ``[n]``.
        negative: cosines ``[n, k]``.
        allowed: bool ``[n, k]``, false where a negative is none.
        temperature: tau.
        population: M; 0 for the sigmoid.

    Returns:
        Scalar >= 0.
    """
    shift = (allowed.sum(1).clamp(min=1) / population).log() if population else positive.new_zeros(len(positive))
    right = F.logsigmoid(positive / temperature - shift)
    wrong = F.logsigmoid(shift[:, None] - negative / temperature)
    return -(right + (wrong * allowed).sum(1)).mean()
