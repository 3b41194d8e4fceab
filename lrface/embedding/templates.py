"""Several photos of a person -> one template."""

from __future__ import annotations

import numpy as np

from lrface.types import FloatArray


def fuse(sums: FloatArray) -> FloatArray:
    """Templates of people from the sums of their photos' embeddings: the direction of the mean.

    Args:
        sums: float32 [n, dim], for each person the sum of unit vectors.

    Returns:
        float32 [n, dim], rows of unit length; a row of zeros where a sum has no direction (damage).
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        unit: FloatArray = sums / norms
    bad = ~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 1e-6))
    if bad.any():
        unit[bad] = 0
    return unit.astype(np.float32, copy=False)
