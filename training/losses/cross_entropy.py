"""Cross-entropy of the student's own classifier."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.losses.base import Loss, positive
from training.losses.order_c import check_labels


class CrossEntropy(Loss):
    r"""Cross-entropy of a classifier of cosines (normalised softmax, Zhai and Wu, BMVC 2019).

    .. math::
        L = -\frac{1}{n} \sum_i \log \frac{e^{s \cos(f_i^s, w_{y_i})}}{\sum_k e^{s \cos(f_i^s, w_k)}}

    with a learnt weight w_k for each class. HORKD trains its CIFAR-100 student by cross-entropy besides; that the
    classifier is of cosines is this project's choice, so that one loss serves closed classes and embeddings that are
    compared by their cosine. Samples without a label are left out.

    Args:
        student_dim: d.
        classes: k.
        scale: s, the largest logit.

    Raises:
        ValueError: fewer than two classes, or a scale that is not positive.
    """

    needs_guide: ClassVar[bool] = False

    def __init__(self, student_dim: int, classes: int, scale: float = 16.0) -> None:
        super().__init__()
        positive(student_dim=student_dim, scale=scale)
        if classes < 2:
            raise ValueError(f"{classes} classes: cross-entropy needs two or more, of two training pictures each")
        self.scale = scale
        self.weight = nn.Parameter(torch.randn(classes, student_dim) / student_dim**0.5)

    def compute(self, student: Tensor, guide: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``.

        Raises:
            ValueError: a label without a class.
        """
        check_labels(labels, len(self.weight))
        known = labels >= 0
        if not known.any():
            return student.sum() * 0
        cosines = F.normalize(student[known], dim=1) @ F.normalize(self.weight, dim=1).T
        self.monitor = {"accuracy": float((cosines.detach().argmax(1) == labels[known]).float().mean())}
        return F.cross_entropy(self.scale * cosines, labels[known])
