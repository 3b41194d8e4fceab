"""Relations of a batch as distributions of similarity."""

from __future__ import annotations

from torch import Tensor

from training.losses.base import Loss, positive
from training.losses.penalties import divergence
from training.losses.relations import log_similarities


class RelationalKL(Loss):
    r"""Kullback-Leibler divergence of the batch's similarity distributions.

    .. math::
        p_{ij} = \operatorname{softmax}_{j \ne i} \frac{\langle f_i^t, f_j^t \rangle}{\tau}, \quad
        q_{ij} = \operatorname{softmax}_{j \ne i} \frac{\langle f_i^s, f_j^s \rangle}{\tau}, \quad
        L = \frac{1}{n} \sum_i \sum_{j \ne i} p_{ij} \log \frac{p_{ij}}{q_{ij}}

    A neighbour of HORKD's second order that weighs a sample's likeliest confusions most (as in SEED, Fang et al., ICLR
    2021, with the batch in place of a queue). Not from either of the two papers.

    Args:
        temperature: tau; with a smaller one only nearer neighbours count.

    Raises:
        ValueError: temperature is not positive.
    """

    least = 2

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        positive(temperature=temperature)
        self.temperature = temperature

    def compute(self, student: Tensor, guide: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``; the features' lengths may differ."""
        return divergence(log_similarities(student, self.temperature), log_similarities(guide, self.temperature))
