"""Score statistics of strangers: how often two different people reach a similarity.

Rates that are too rare to count are extrapolated by extreme value theory: similarities beyond the curve's last point u
follow a generalised Pareto distribution (Pickands 1975), FMR(s) = FMR(u) (1 + shape (s - u) / scale)^(-1 / shape).
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

NEVER = 2.0
"""A threshold that no cosine reaches: none is above it."""


OWN_SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
"""Of people's comparisons with their own templates: the similarities that these shares stay below are kept."""


@dataclass(frozen=True, slots=True)
class ImpostorCurve:
    """How often two different people reach a similarity.

    Attributes:
        comparisons: Impostor comparisons behind the curve.
        log_fmr: log10 of the false-match rate, rising.
        similarity: The threshold of each rate, falling.
        scale: Of the tail beyond the first point, in similarity, above 0.
        shape: Of the tail; below 0 it ends at first point - scale / shape, at 0 it is exponential.
        own: Similarities to the person's own template that `OWN_SHARES` stay below, rising; empty if not measured.
    """

    comparisons: int
    log_fmr: tuple[float, ...]
    similarity: tuple[float, ...]
    scale: float
    shape: float
    own: tuple[float, ...] = ()

    def missed(self, threshold: float) -> float | None:
        """The share of people's own faces that do not reach a threshold, 0..1; None if it was not measured."""
        return None if not self.own else float(np.interp(threshold, self.own, OWN_SHARES))

    def threshold(self, fmr: float) -> float:
        """The similarity that a share `fmr` of strangers reaches: from the tail's model, or linear in log10(fmr).

        Returns:
            From -1 to `NEVER`.
        """
        x = math.log10(fmr)
        if x >= self.log_fmr[0]:
            return _interpolated(x, self.log_fmr, self.similarity)
        rarer = (self.log_fmr[0] - x) * math.log(10.0)
        excess = rarer if self.shape == 0.0 else math.expm1(self.shape * rarer) / self.shape
        return min(NEVER, self.similarity[0] + self.scale * excess)

    def fmr(self, similarity: float) -> float:
        """The share of strangers that reach a similarity; the inverse of `threshold`, 0 beyond the tail's end."""
        return float(10.0 ** self.log_fmr_at(similarity))

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

    def log_fmr_at(self, similarity: float) -> float:
        """As `log_fmr_of`, for one similarity: each candidate of each face, for which numpy takes ten times as long."""
        if similarity < self.similarity[-1]:
            return 0.0
        excess = (similarity - self.similarity[0]) / self.scale
        if not excess > 0.0:  # also a nan
            return _interpolated(similarity, self.similarity[::-1], self.log_fmr[::-1])
        if self.shape == 0.0:
            return self.log_fmr[0] - excess / math.log(10.0)
        left = 1.0 + self.shape * excess
        return self.log_fmr[0] - math.log(left) / self.shape / math.log(10.0) if left > 0.0 else -math.inf


def _interpolated(x: float, xs: tuple[float, ...], ys: tuple[float, ...]) -> float:
    """Linear between the points of rising `xs`, constant outside; one number takes numpy ten times as long."""
    upper = bisect.bisect_right(xs, x)
    if upper == 0 or upper == len(xs):
        return ys[0] if upper == 0 else ys[-1]
    x0, x1, y0, y1 = xs[upper - 1], xs[upper], ys[upper - 1], ys[upper]
    return (y1 - y0) / (x1 - x0) * (x - x0) + y0


class _Tail(msgspec.Struct, frozen=True):
    scale: Annotated[float, Meta(gt=0, le=1)]
    shape: Annotated[float, Meta(gt=-1, lt=1)]


class _OwnRecord(msgspec.Struct, frozen=True):
    comparisons: Annotated[int, Meta(ge=0, le=10**15)]
    similarity: list[Annotated[float, Meta(ge=-1, le=1)]]

    def __post_init__(self) -> None:
        if len(self.similarity) != len(OWN_SHARES) or not (np.diff(self.similarity) >= 0).all():
            raise ValueError(f"own similarities must rise, and be {len(OWN_SHARES)}")


class CurveRecord(msgspec.Struct, frozen=True):
    """A curve as `calibration.json` holds it, rates falling and similarities rising."""

    photos: Annotated[int, Meta(ge=1, le=10**6)]
    comparisons: Annotated[int, Meta(ge=0, le=10**15)]
    fmr: Annotated[list[Annotated[float, Meta(gt=0, le=1)]], Meta(min_length=2)]
    similarity: list[Annotated[float, Meta(ge=-1, le=1)]]
    tail: _Tail
    own: _OwnRecord | None = None

    def __post_init__(self) -> None:
        if len(self.fmr) != len(self.similarity):
            raise ValueError("a curve needs a similarity for each rate")
        if not (np.diff(self.fmr) < 0).all() or not (np.diff(self.similarity) >= 0).all():
            raise ValueError("fmr must fall and similarity rise")

    def curve(self) -> ImpostorCurve:
        """The same, rates rising."""
        logs = np.log10(self.fmr)[::-1].tolist()
        own = () if self.own is None else tuple(self.own.similarity)
        return ImpostorCurve(
            self.comparisons, tuple(logs), tuple(self.similarity[::-1]), self.tail.scale, self.tail.shape, own
        )
