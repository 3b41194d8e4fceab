"""Retrieval: how often the nearest others of a picture are of its class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def recall_at(
    features: npt.NDArray[np.floating], labels: npt.NDArray[np.generic], ranks: Sequence[int], block: int = 1024
) -> dict[int, float]:
    """Recall@k as metric learning reports it: every picture searches all others.

    A search counts as found if at least one of its k nearest others is of its class. A picture that is alone in its
    class cannot be found, and is not searched for.

    Args:
        features: Of unit length, [n, d]; the cosine decides.
        labels: Classes, of any kind, [n].
        ranks: The k's, 1 or more.
        block: Searches at a time.

    Returns:
        Share of searches, 0..1, by k.

    Raises:
        ValueError: Shapes that do not match, a k below 1, or no class of two pictures.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1] or min(ranks) < 1:
        raise ValueError(
            f"features {list(features.shape)}, labels {list(labels.shape)}, k {list(ranks)}: "
            "give [n, d], [n] and 1 or more"
        )
    number, counts = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    searches = np.flatnonzero(counts[number] > 1)
    if not len(searches):
        raise ValueError("no class of two pictures: there is nothing to find")
    first = np.empty(len(searches), np.int64)
    for start in range(0, len(searches), block):
        rows = searches[start : start + block]
        scores = features[rows] @ features.T
        scores[np.arange(len(rows)), rows] = -np.inf
        own = number[rows, None] == number
        # The rank of the nearest picture of the class: those of other classes that are nearer, and itself.
        best = np.where(own, scores, -np.inf).max(axis=1, keepdims=True)
        first[start : start + block] = 1 + ((scores > best) & ~own).sum(axis=1)
    return {k: float((first <= k).mean()) for k in ranks}
