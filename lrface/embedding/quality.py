"""The quality that an embedder states, corrected for poor alignment."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AlignmentPenalty:
    """How quality falls with the expected error of the landmarks; measured with the models, kept in calibration.json.

    Attributes:
        usual_error: Of a usual face, in eye distances: it costs nothing.
        rate: How fast quality falls with more of it.
    """

    usual_error: float = 0.05
    rate: float = 6.0


def alignment_adjusted_quality(quality: float | None, error: float | None, penalty: AlignmentPenalty) -> float | None:
    """An embedder's quality less what a poor alignment costs: ``quality * exp(-rate (error - usual))``, 1 at most.

    The embedder sees a crop, and hardly whether it was cut rightly. Of validation people's faces of 12 to 96 px the
    product foretells the similarity to another photo better than either does alone
    (benchmarks/landmark_refinement.py). Photos to enrol are screened by the embedder's quality alone: the product
    refused portraits that are good, but cut close or turned a little.

    Args:
        quality: The embedder's, 0..1, or None.
        error: What the landmarks are expected to be off by, in eye distances; None or nan if nobody knows.
        penalty: Of the models.
    """
    if quality is None or error is None or math.isnan(error):
        return quality
    return min(1.0, quality * math.exp(-penalty.rate * (error - penalty.usual_error)))
