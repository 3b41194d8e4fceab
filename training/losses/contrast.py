"""A sample's student feature, told from the guide's features of all training faces."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from training.losses.base import Loss, positive


class GuideContrast(Loss):
    r"""Cross-entropy of a sample's own guide feature among those of other people.

    .. math::
        L = -\frac{1}{n} \sum_i \log \frac{e^{\langle f_i^s, f_i^t \rangle / \tau}}
        {e^{\langle f_i^s, f_i^t \rangle / \tau} + \sum_{j \in N_i} e^{\langle f_i^s, f_j^t \rangle / \tau}}

    with :math:`N_i` the training faces whose guide feature has a cosine of at most ``same_above`` to sample i's. What
    decides whether a stranger is taken for somebody is the nearest few of many; a cosine to one's own guide does not
    look at them. InfoNCE (van den Oord et al., 2018) in the guide's space; not from either of the two papers.

    Args:
        guides: the guide's features of the training faces, float32 ``[m, e]``; the student's are of the same length e.
        temperature: tau; with a smaller one only nearer strangers count.
        same_above: the guide's cosine above which two faces may be one person's.
        strangers: training faces that a batch is compared with, neighbours in their (shuffled) order from a random one
            on; 0, or more than there are: all. With all, the loss takes a third of a step of a small network.

    Raises:
        ValueError: there are no guides, or a value is out of range.
    """

    pool: Tensor

    def __init__(
        self, guides: Tensor | None, temperature: float = 0.05, same_above: float = 0.5, strangers: int = 0
    ) -> None:
        super().__init__()
        positive(temperature=temperature)
        if guides is None or not len(guides):
            raise ValueError("contrast needs the guide's features of the training faces: the run gives none")
        if strangers < 0:
            raise ValueError(f"strangers {strangers}: give 0 for all training faces, or a number of them")
        self.temperature, self.same_above = temperature, same_above
        self.strangers = min(strangers or len(guides), len(guides))
        self.register_buffer("pool", F.normalize(guides, dim=1), persistent=False)

    def compute(self, student: Tensor, guide: Tensor, labels: Tensor) -> Tensor:
        """See ``Loss``; both features must be of one length."""
        s, t = F.normalize(student, dim=1), F.normalize(guide, dim=1)
        first = int(torch.randint(len(self.pool) - self.strangers + 1, ()))
        pool = self.pool[first : first + self.strangers]
        with torch.no_grad():
            same = t @ pool.T > self.same_above
        strangers = (s @ pool.T / self.temperature).masked_fill(same, -torch.inf)
        own = (s * t).sum(1, keepdim=True) / self.temperature
        return (torch.cat([own, strangers], dim=1).logsumexp(1) - own[:, 0]).mean()
