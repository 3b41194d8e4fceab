"""HORKD's first order: regression of each feature to the guide's."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from training.losses.base import Loss


class FirstOrder(Loss):
    r"""Individual feature regression (HORKD, Ge et al., AAAI 2020, order 1).

    .. math:: L_1 = \frac{1}{n} \sum_i \| f_i^t - f_i^s \|_2^2

    The form is the paper's; the L2 norm is inferred. Features are unit-normalised first, which makes it
    ``2 - 2 cos(f_i^t, f_i^s)``, 0..4: plain cosine regression. The mean over the batch replaces the paper's sum, so
    that weights mean the same at every batch size.

    Example:
        >>> loss = FirstOrder()
        >>> float(loss(torch.eye(4), torch.eye(4)))
        0.0
    """

    def compute(self, student: Tensor, guide: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``; both features have one length.

        Raises:
            ValueError: they have not.
        """
        same_space(student.shape[1], guide.shape[1])
        return (F.normalize(student, dim=1) - F.normalize(guide, dim=1)).square().sum(dim=1).mean()


def same_space(student_dim: int, guide_dim: int) -> None:
    """Refuse features that cannot be compared one by one.

    Raises:
        ValueError: their lengths differ.
    """
    if student_dim != guide_dim:
        raise ValueError(
            f"the student's features have {student_dim} dimensions, the guide's {guide_dim}: give the student as many, "
            "or use a loss of relations"
        )
