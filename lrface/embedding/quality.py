"""What an embedder's quality is worth where the alignment is poor."""

from __future__ import annotations

import math

ALIGNED, MISALIGNED = 0.05, 6.0
"""Landmarks' expected error of a usual face, in eye distances, and how fast quality falls with more of it."""


def seen_quality(quality: float | None, error: float | None) -> float | None:
    """An embedder's quality less what a poor alignment costs: ``quality * exp(-6 (error - 0.05))``, 1 at most.

    The embedder sees a crop, and hardly whether it was cut rightly. Of validation people's faces of 12 to 96 px the
    product foretells the similarity to another photo better than either does alone
    (benchmarks/landmark_refinement.py); a smaller level for poor landmarks was no better. Photos to enrol are screened
    by the embedder's quality alone: the product refused portraits that are good, but cut close or turned a little.

    Args:
        quality: The embedder's, 0..1, or None.
        error: What the landmarks are expected to be off by, in eye distances; None or nan if nobody knows.
    """
    if quality is None or error is None or math.isnan(error):
        return quality
    return min(1.0, quality * math.exp(-MISALIGNED * (error - ALIGNED)))
