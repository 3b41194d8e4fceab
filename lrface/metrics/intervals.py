"""How sure a measured rate is."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson_interval(hits: float, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a binomial proportion (Wilson, 1927): sensible at rates near 0 and 1 too.

    Args:
        hits: Successes, 0..trials.
        trials: Independent trials. Comparisons that share a face are not independent: then it is too narrow.
        confidence: Above 0 and below 1.

    Returns:
        Lower and upper bound, 0..1.

    Raises:
        ValueError: No trial, more hits than trials, or a confidence out of range.
    """
    if trials < 1 or not 0 <= hits <= trials or not 0 < confidence < 1:
        raise ValueError(f"{hits} hits in {trials} trials at confidence {confidence} give no interval")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate, spread = hits / trials, z * z / trials
    middle = (rate + spread / 2) / (1 + spread)
    half = math.sqrt(rate * (1 - rate) * spread + spread * spread / 4) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)
