"""Potentials: relations between the features of a batch. A loss compares the student's with the guide's.

All take float32; relations of a sample to itself are left out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALLEST = 1e-6
"""Squared distances of unit features below this count as zero: a root's slope grows without bound there."""


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances ``[n, m]`` of ``a [n, d]`` and ``b [m, d]``, at least the root of ``SMALLEST``."""
    squares = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T
    found: Tensor = squares.clamp(min=SMALLEST).sqrt()
    return found


def others(n: int, device: torch.device) -> Tensor:
    """Bool ``[n, n]``: all but the diagonal."""
    return ~torch.eye(n, dtype=torch.bool, device=device)


def rescale(features: Tensor) -> Tensor:
    """Features in units of their mean length, so that ``SMALLEST`` is small at any scale; relations do not change."""
    return features / features.square().sum(1).sqrt().mean().detach().clamp(min=SMALLEST)


def pair_distances(features: Tensor) -> Tensor:
    r"""Distances of all pairs in units of their mean: :math:`d_{ij} = \| f_i - f_j \| / \mu`.

    Returns:
        ``[n * (n - 1)]``, the pairs i != j row by row; scale and rotation of the space do not matter.
    """
    found = distances(features, features)[others(len(features), features.device)]
    return found / found.mean()


def angles(features: Tensor, vertices: Tensor) -> Tensor:
    r"""Cosines of the angles that pairs make at some samples.

    .. math:: a_{ijk} = \left\langle \frac{f_i - f_j}{\|f_i - f_j\|}, \frac{f_k - f_j}{\|f_k - f_j\|} \right\rangle

    Args:
        features: ``[n, d]``.
        vertices: int64 ``[m]``, the j.

    Returns:
        In -1..1, ``[m, n - 1, n - 1]``: all pairs of other samples i, k; 1 where they are one.
    """
    rest = others(len(features), features.device)[vertices].nonzero()[:, 1].view(len(vertices), -1)
    sides = features[rest] - features[vertices, None]
    sides = sides / sides.square().sum(2, keepdim=True).clamp(min=SMALLEST).sqrt()
    return sides @ sides.transpose(1, 2)


def log_similarities(features: Tensor, temperature: float) -> Tensor:
    """Each sample's similarity to the others as a distribution.

    Returns:
        ``[n, n - 1]``: logarithm of the softmax over j != i of ``cos(f_i, f_j) / temperature``.
    """
    unit = F.normalize(features, dim=1)
    n = len(unit)
    return torch.log_softmax((unit @ unit.T)[others(n, unit.device)].view(n, n - 1) / temperature, dim=1)


def same_identity(first: Tensor, second: Tensor, cosine: Tensor, above: float) -> Tensor:
    """Which samples are one person: by labels where both are known, by the guide's cosine elsewhere.

    Args:
        first: labels, int64, -1 unknown.
        second: labels, of a shape that broadcasts with the first.
        cosine: of the guide's features, of the shape that both make.
        above: two samples without labels are one person's where their cosine exceeds this.

    Returns:
        Bool, in the shape of ``cosine``.
    """
    return torch.where((first >= 0) & (second >= 0), first == second, cosine > above)


class FeatureRelation(nn.Module):
    """CRRCD's feature relation module: two linear layers with a ReLU between, of a difference of features.

    Two linear layers and a non-linearity are the paper's; the difference as input and the ReLU are inferred. Where the
    two features differ in length, a linear layer without bias brings the first to the second's. The difference is
    scaled by the root of its length: of unit features its entries would be so small beside the layers' biases that all
    relations began alike.

    Args:
        first_dim, second_dim: lengths of the two features.
        dim: of the relation, and of the hidden layer.
    """

    def __init__(self, first_dim: int, second_dim: int, dim: int) -> None:
        super().__init__()
        alike = first_dim == second_dim
        self.match = nn.Identity() if alike else nn.Linear(first_dim, second_dim, bias=False)
        self.scale = second_dim**0.5
        self.layers = nn.Sequential(nn.Linear(second_dim, dim), nn.ReLU(), nn.Linear(dim, dim))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Unit relations ``[m, dim]`` of unit features ``first [m, first_dim]`` and ``second [m, second_dim]``."""
        return F.normalize(self.layers(self.scale * (self.match(first) - second)), dim=1)
