"""Unknown tracks that show the same person become one group, to be named together.

Tracks that were in view together are different people, whatever they look like.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from lrface.decisions.calibration import Calibration
from lrface.tracks.decision import curve_between
from lrface.tracks.template import TrackTemplate
from lrface.types import FloatArray

MOST = 2000
"""Tracks that are grouped at a time: all pairs are compared."""

SAME_FMR = 1e-3
"""False-match rate of two tracks that are taken for one person; a group asks for it on average, and is looked at."""

_APART = 1e9  # a mean that holds one such distance is above every threshold
_MOST_THRESHOLD = 0.99  # of a network without a usable threshold: only copies are the same


def same_thresholds(templates: Sequence[TrackTemplate], calibration: Calibration) -> FloatArray:
    """The similarity from which another track shows the same stranger, for each track: float32 [n]."""
    found = []
    for template in templates:
        curve = curve_between(calibration, template)
        found.append(_MOST_THRESHOLD if curve is None else curve.threshold(SAME_FMR))
    return np.minimum(np.array(found, np.float32), _MOST_THRESHOLD)


def group_tracks(
    vectors: FloatArray, thresholds: FloatArray, apart: Collection[tuple[int, int]] = ()
) -> list[list[int]]:
    """Groups tracks by agglomerative clustering with average linkage.

    The distance of two tracks is (1 - similarity) / (1 - threshold), the higher one of both thresholds: 1 where they
    are as similar as it asks. Two groups become one while the mean distance of their tracks is below 1. A pair that was
    in view together is infinitely far apart, so no group ever holds both.

    Args:
        vectors: float32 [n, dim], of unit length.
        thresholds: float32 [n], below 1, of `same_thresholds`.
        apart: Pairs of rows, in any order, that are different people.

    Returns:
        Rows of each group, rising; the largest group first, of equal ones the one with the lowest row. Every track is
        in one group; most strangers are seen once, so many groups hold one.
    """
    count = len(vectors)
    if count < 2:
        return [[row] for row in range(count)]
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    needed = np.maximum(thresholds[:, None], thresholds[None, :]).astype(np.float64)
    distances: npt.NDArray[np.float64] = np.clip(1 - vectors.astype(np.float64) @ vectors.T, 0, 2) / (1 - needed)
    for one, other in apart:
        distances[one, other] = distances[other, one] = _APART
    np.fill_diagonal(distances, 0)
    labels = fcluster(linkage(squareform(distances, checks=False), "average"), 1.0, "distance")
    groups: dict[int, list[int]] = {}
    for row, label in enumerate(labels.tolist()):
        groups.setdefault(label, []).append(row)
    return sorted(groups.values(), key=lambda rows: (-len(rows), rows[0]))
