"""KD: class probabilities over the training set's classes."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from training.losses.base import Loss, positive
from training.losses.order1 import same_space
from training.losses.order_c import unit_centres
from training.losses.penalties import divergence


class Kd(Loss):
    r"""Class probabilities (KD, Hinton, Vinyals, Dean, 2015), the guide's class centres being the classifier.

    .. math:: L = \frac{1}{n} \sum_i \operatorname{KL}\Big( \operatorname{softmax}_k \frac{\cos(f_i^t, c_k)}{\tau}
        \,\Big\|\, \operatorname{softmax}_k \frac{\cos(f_i^s, c_k)}{\tau} \Big)

    Neither network has a classifier of its own here: c_k is the guide's mean feature of class k, for both of them. That
    makes the logits cosines, and tau one number for what Hinton's temperature and a classifier's scale are; there is no
    factor of temperature squared. No labels are needed beyond those behind the centres.

    Args:
        student_dim: d, which must be the guide's.
        centres: the guide's, float32 ``[k, e]``.
        temperature: tau.

    Raises:
        ValueError: no centres or none of use, features of two lengths, or a temperature that is not positive.
    """

    centres: Tensor

    def __init__(self, student_dim: int, centres: Tensor | None, temperature: float = 0.1) -> None:
        super().__init__()
        positive(temperature=temperature)
        self.temperature = temperature
        self.register_buffer("centres", unit_centres(centres), persistent=False)  # given again with each run
        same_space(student_dim, self.centres.shape[1])

    def compute(self, student: Tensor, guide: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``."""
        return divergence(self._log_probabilities(student), self._log_probabilities(guide))

    def _log_probabilities(self, features: Tensor) -> Tensor:
        return F.log_softmax(F.normalize(features, dim=1) @ self.centres.T / self.temperature, dim=1)
