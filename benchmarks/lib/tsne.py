"""Features of a few classes laid out in the plane by t-SNE, a panel for each network (CRRCD's figure 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def panels(
    features: Mapping[str, npt.NDArray[np.float32]], group: npt.NDArray[np.int64], seed: int
) -> tuple[dict[str, list[list[list[float]]]], list[dict[str, Any]]]:
    """The layouts, as ``benchmarks.lib.plots.draw_scatter`` takes them, and the silhouette of each network's features.

    Args:
        features: by label, unit length, ``[n, d]`` each.
        group: whose each sample is, from 0, ``[n]``.
        seed: of t-SNE.
    """
    from sklearn.manifold import TSNE
    from sklearn.metrics import silhouette_score

    layouts, rows = {}, []
    for label, table in features.items():
        points = TSNE(perplexity=min(30, len(group) / 4), metric="cosine", init="random", random_state=seed)
        placed = points.fit_transform(table)
        layouts[label] = [[[round(float(v), 2) for v in axis] for axis in placed[group == i].T]
                          for i in range(group.max() + 1)]  # fmt: skip
        rows.append({"features": label, "silhouette": round(float(silhouette_score(table, group, metric="cosine")), 4)})
    return layouts, rows
