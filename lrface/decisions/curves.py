"""Score statistics of strangers: how often two different people reach a similarity.

Rates that are too rare to count are extrapolated by extreme value theory: similarities beyond the curve's last point u
follow a generalised Pareto distribution (Pickands 1975), FMR(s) = FMR(u) (1 + shape (s - u) / scale)^(-1 / shape).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

NEVER = 2.0
"""A threshold that no cosine reaches: none is above it."""


@dataclass(frozen=True, slots=True)
class ImpostorCurve:
    """How often two different people reach a similarity.

    Attributes:
        comparisons: Impostor comparisons behind the curve.
        log_fmr: log10 of the false-match rate, rising.
        similarity: The threshold of each rate, falling.
        scale: Of the tail beyond the first point, in similarity, above 0.
        shape: Of the tail; below 0 it ends at first point - scale / shape, at 0 it is exponential.
    """

    comparisons: int
    log_fmr: tuple[float, ...]
    similarity: tuple[float, ...]
    scale: float
    shape: float

    def threshold(self, fmr: float) -> float:
        """The similarity that a share `fmr` of strangers reaches: from the tail's model, or linear in log10(fmr).

        Returns:
            From -1 to `NEVER`.
        """
        x = math.log10(fmr)
        if x >= self.log_fmr[0]:
            return float(np.interp(x, self.log_fmr, self.similarity))
        rarer = (self.log_fmr[0] - x) * math.log(10.0)
        excess = rarer if self.shape == 0.0 else math.expm1(self.shape * rarer) / self.shape
        return min(NEVER, self.similarity[0] + self.scale * excess)

    def fmr(self, similarity: float) -> float:
        """The share of strangers that reach a similarity; the inverse of `threshold`, 0 beyond the tail's end."""
        return float(10.0 ** self.log_fmr_of(np.array([similarity]))[0])

    def log_fmr_of(self, similarities: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """log10 of the share of strangers that reach each similarity [n]; -inf beyond the tail's end."""
        values = np.asarray(similarities, np.float64)
        rising, logs = np.array(self.similarity[::-1]), np.array(self.log_fmr[::-1])
        common = np.where(values >= rising[0], np.interp(values, rising, logs), 0.0)
        excess = np.maximum(0.0, (values - self.similarity[0]) / self.scale)
        if self.shape == 0.0:
            tail = -excess
        else:
            with np.errstate(divide="ignore"):
                tail = -np.log(np.maximum(0.0, 1.0 + self.shape * excess)) / self.shape
            tail = np.where(1.0 + self.shape * excess > 0.0, tail, -np.inf)
        return np.where(excess > 0.0, self.log_fmr[0] + tail / math.log(10.0), common)


def within(value: Any, least: float, most: float) -> float:
    """A number of a file.

    Raises:
        TypeError, ValueError, OverflowError: It is none, or out of range.
    """
    number = float(value)
    if not least <= number <= most:  # also a nan
        raise ValueError(f"{number:g} is not within {least:g} and {most:g}")
    return number


def read_curve(item: Mapping[str, Any]) -> ImpostorCurve:
    """A curve of `calibration.json`.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: It is malformed, out of range, or not monotone.
    """
    fmr, similarity = item["fmr"], item["similarity"]
    if len(fmr) != len(similarity) or len(fmr) < 2:
        raise ValueError("a curve needs two points or more, and a similarity for each rate")
    rates, values = np.asarray(fmr, np.float64), np.asarray(similarity, np.float64)
    falling = bool((np.diff(rates) < 0).all()) and rates[-1] > 0.0 and rates[0] <= 1.0
    if not falling or not (np.diff(values) >= 0).all() or not np.isfinite(values).all():
        raise ValueError("fmr must fall and similarity rise")
    if not (np.abs(values) <= 1.0).all():
        raise ValueError("a similarity is not between -1 and 1")
    scale, shape = float(item["tail"]["scale"]), float(item["tail"]["shape"])
    if not (0.0 < scale <= 1.0 and abs(shape) < 1.0) or int(item["photos"]) < 1:
        raise ValueError("a tail needs a scale from 0 to 1 and a shape between -1 and 1, a curve one photo or more")
    logs = np.log10(rates)[::-1]
    return ImpostorCurve(
        int(item["comparisons"]), tuple(map(float, logs)), tuple(map(float, values[::-1])), scale, shape
    )
