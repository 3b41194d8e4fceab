"""HORKD's first order: every feature to its guide's."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class FirstOrder(nn.Module):
    r"""Individual feature regression (HORKD, Ge et al., AAAI 2020, order 1).

    .. math:: L_1 = \frac{1}{n} \sum_i \| f_i^t - f_i^s \|_2^2

    The form is the paper's; the L2 norm is inferred. Features are unit-normalised first, which makes it
    ``2 - 2 cos(f_i^t, f_i^s)``: plain cosine regression. The mean over the batch replaces the paper's sum, so that
    weights mean the same at every batch size.

    Example:
        >>> loss = FirstOrder()
        >>> float(loss(torch.eye(4), torch.eye(4)))
        0.0
    """

    def forward(self, student: Tensor, guide: Tensor) -> Tensor:
        """Scalar float32 loss in 0..4 of ``student`` and ``guide``, both ``[n, d]``, any float dtype."""
        s = F.normalize(student.float(), dim=1)
        t = F.normalize(guide.detach().float(), dim=1)
        return (s - t).square().sum(dim=1).mean()
