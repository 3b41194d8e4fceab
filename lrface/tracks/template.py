"""Views of one face over time -> one template.

A template is a function of the set of its views: their order does not matter, and one more copy of a view changes
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lrface.types import FloatArray

EQUAL = 0.95
"""Views at least this similar to a better one say nothing new and are left out."""

OUTLIER = 0.5
"""A view is left out if its similarity to the rest is below this share of the median one."""

_LEAST_FOR_OUTLIERS = 4
_LEAST_QUALITY, _MOST_QUALITY = 0.1, 0.95
_USUAL_QUALITY = 0.5  # of a network that gives none: all views weigh the same


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One embedded face of a track.

    Attributes:
        vector: float32 [dim], of unit length.
        quality: 0..1; None from a network that gives none.
        native_px: Width of the face.
        network: That embedded it.
    """

    vector: FloatArray = field(repr=False)
    quality: float | None
    native_px: float
    network: str

    @property
    def weight(self) -> float:
        """Of the view in the mean.

        A quality q is the expected cosine to the face's true embedding. What is left is noise of the relative size
        sqrt(1 - q^2), so q / (1 - q^2) is the weight that leaves the least noise in the mean.
        """
        q = min(_MOST_QUALITY, max(_LEAST_QUALITY, _USUAL_QUALITY if self.quality is None else self.quality))
        return q / (1 - q * q)


@dataclass(frozen=True, slots=True, eq=False)
class TrackTemplate:
    """What the views of a track say together.

    Attributes:
        vector: float32 [dim], of unit length.
        native_px: Width of the faces: the weighted geometric mean.
        network: The one with the most weight.
        quality: Of the best view; None where no view has one.
        shares: float64 [n], of the views that count, together 1.
        similarities: float64 [n, n], of these views to one another.
    """

    vector: FloatArray = field(repr=False)
    native_px: float
    network: str
    quality: float | None
    shares: npt.NDArray[np.float64] = field(repr=False)
    similarities: npt.NDArray[np.float64] = field(repr=False)

    def effective_views(self, same_person: float) -> float:
        """How many independent views would say as much: 1 / sum_ij p_i p_j g_ij, 1 to n.

        g_ij is 0 for views as similar as two unrelated photos of one person, and 1 for equal ones.

        Args:
            same_person: Mean similarity of two unrelated photos of one person, below 1.
        """
        common = np.clip((self.similarities - same_person) / (1 - same_person), 0.0, 1.0)
        np.fill_diagonal(common, 1.0)
        return max(1.0, float(1.0 / (self.shares @ common @ self.shares)))


def fuse_views(views: Sequence[View]) -> TrackTemplate:
    """The template of one view or more, in any order.

    Raises:
        ValueError: There is no view.
    """
    if not views:
        raise ValueError("a template needs a view")
    # copies go first, so that the arithmetic is the same to the last bit
    ordered = [view for _, view in sorted({_rank(view): view for view in views}.items())]
    vectors = np.stack([view.vector for view in ordered]).astype(np.float64)
    similarities = vectors @ vectors.T
    kept: list[int] = []
    for i in range(len(ordered)):
        if not kept or similarities[i, kept].max() < EQUAL:
            kept.append(i)
    weights = np.array([ordered[i].weight for i in kept])
    inner = _inner(similarities[np.ix_(kept, kept)], weights)
    kept, weights = [i for i, fits in zip(kept, inner, strict=True) if fits], weights[inner]
    shares = weights / weights.sum()
    total = shares @ vectors[kept]
    norm = float(np.linalg.norm(total))
    vector = total / norm if norm > 1e-6 else vectors[kept[0]]
    by_network: dict[str, float] = {}
    for i, share in zip(kept, shares.tolist(), strict=True):
        by_network[ordered[i].network] = by_network.get(ordered[i].network, 0.0) + share
    widths = np.array([ordered[i].native_px for i in kept])
    known = [ordered[i].quality for i in kept]
    return TrackTemplate(
        vector.astype(np.float32),
        float(np.exp(shares @ np.log(widths))),
        max(sorted(by_network), key=by_network.__getitem__),
        max((quality for quality in known if quality is not None), default=None),
        shares,
        similarities[np.ix_(kept, kept)],
    )


def _rank(view: View) -> tuple[float, float, str, bytes]:
    """The best view first; the bytes make the order unique."""
    return -view.weight, -view.native_px, view.network, np.asarray(view.vector, np.float32).tobytes()


def _inner(similarities: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which views agree with the rest: a face of somebody else, or a wrong detection, does not.

    Where most views are less like the rest than chance, the better half stays: a template needs a view.
    """
    if len(weights) < _LEAST_FOR_OUTLIERS:
        return np.ones(len(weights), np.bool_)
    sums = similarities @ weights - weights  # with all others; a view's similarity to itself is 1
    support = sums / (weights.sum() - weights)
    usual = float(np.quantile(support, 0.5))  # the first np.median of a process imports for 60 ms: a frame would wait
    return np.asarray(support >= min(OUTLIER * usual, usual), np.bool_)
