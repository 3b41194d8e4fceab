"""Batch relations as distributions: who looks like whom, as the guide sees it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RelationalKL(nn.Module):
    r"""Kullback-Leibler divergence of the batch's similarity distributions.

    .. math::
        p_{ij} = \operatorname{softmax}_{j \ne i} \frac{\langle f_i^t, f_j^t \rangle}{\tau}, \quad
        q_{ij} = \operatorname{softmax}_{j \ne i} \frac{\langle f_i^s, f_j^s \rangle}{\tau}, \quad
        L = \frac{1}{n} \sum_i \sum_{j \ne i} p_{ij} \log \frac{p_{ij}}{q_{ij}}

    A neighbour of HORKD's second order that weighs a sample's likeliest confusions most (as in SEED, Fang et al., ICLR
    2021, with the batch in place of a queue). Not from either of the two papers.

    Args:
        temperature: tau; smaller looks at nearer neighbours only.

    Raises:
        ValueError: temperature is not positive.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature {temperature}: give a positive one")
        self.temperature = temperature

    def forward(self, student: Tensor, guide: Tensor) -> Tensor:
        """Scalar float32 loss >= 0 of ``student [n, d]`` and ``guide [n, e]`` (d and e may differ)."""
        log_q = self._log_relations(student)
        log_p = self._log_relations(guide.detach())
        return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)

    def _log_relations(self, features: Tensor) -> Tensor:
        unit = F.normalize(features.float(), dim=1)
        similarity = unit @ unit.T / self.temperature
        n = len(unit)
        others = ~torch.eye(n, dtype=torch.bool, device=unit.device)
        return torch.log_softmax(similarity[others].view(n, n - 1), dim=1)
