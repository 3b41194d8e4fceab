"""Thresholds for tracks: a false-positive rate is promised for a stranger who walks by, not for each frame.

The mean of several views is closer to the person and to strangers than one view, so each number of views has its own
curve. A track is decided again whenever a view is added; `repeats` says by how much that raises the rate.

Two tracks of small faces resemble each other far more than a track and a photo do: both lack the same details. So there
are curves of their own, `between`, for whether two tracks show one stranger.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

from lrface.decisions.curves import CurveRecord, ImpostorCurve
from lrface.errors import CalibrationError

_FIX = "make one for these models with `python -m training calibrate`"
_TOLERANCE = 1e-6  # sums of shares are not exact


@dataclass(frozen=True, slots=True)
class TrackBand:
    """Tracks of faces of similar width, most of them embedded by one network.

    Attributes:
        low: Width in pixels, inclusive.
        high: Exclusive.
        same_person: Mean similarity of two unrelated photos of one person: what independent views share.
        repeats: How many times the false-match rate of one decision the rate of a whole track is.
        curves: By effective views, rising, and photos behind a template, rising.
        drawn: Effective views that tracks of so many different pictures have; empty where it was not kept.
        between: Of two tracks of different people, by effective views of each, rising; empty where not measured.
    """

    low: float
    high: float
    same_person: float
    repeats: float
    curves: Mapping[float, Mapping[int, ImpostorCurve]]
    between: Mapping[float, ImpostorCurve]
    drawn: Mapping[int, float] = field(default_factory=dict)

    def curve(self, views: float, photos: int) -> ImpostorCurve:
        """The curve for so many views and photos, or for the next larger counts measured (which ask for more)."""
        by_photos = self.curves[_count_for(views, self.curves)]
        return by_photos[next((n for n in by_photos if n >= photos), max(by_photos))]

    def curve_between(self, views: float) -> ImpostorCurve | None:
        """The curve for two tracks of so many views or fewer; None where none was measured."""
        return self.between[_count_for(views, self.between)] if self.between else None


def _count_for(views: float, measured: Mapping[float, object]) -> float:
    """The next larger number of views that was measured, or the largest."""
    return next((n for n in measured if n >= views - _TOLERANCE), max(measured))


class TrackCurveRecord(CurveRecord, frozen=True):
    """A curve for a number of effective views."""

    views: Annotated[float, Meta(ge=1, le=10**6)] = msgspec.field(default=1.0)
    drawn: Annotated[int, Meta(ge=1, le=10**6)] | None = None


class TrackBandRecord(msgspec.Struct, frozen=True):
    """A band as `calibration.json` holds it."""

    network: str
    widths: tuple[Annotated[float, Meta(ge=0, le=1e6)], Annotated[float, Meta(ge=0, le=1e6)] | None]
    same_person: Annotated[float, Meta(ge=-1, lt=1)]
    repeats: Annotated[float, Meta(ge=1, le=1000)]
    curves: Annotated[list[TrackCurveRecord], Meta(min_length=1)]
    between: list[TrackCurveRecord] = []


def track_bands(records: Sequence[TrackBandRecord]) -> dict[str, tuple[TrackBand, ...]]:
    """The bands of a calibration by network, rising.

    Raises:
        ValueError: Bands overlap, or leave widths out.
    """
    found: dict[str, list[TrackBand]] = {}
    for record in records:
        low, high = record.widths
        curves: dict[float, dict[int, ImpostorCurve]] = {}
        for curve in sorted(record.curves, key=lambda each: (each.views, each.photos)):
            curves.setdefault(curve.views, {})[curve.photos] = curve.curve()
        between = {each.views: each.curve() for each in sorted(record.between, key=lambda each: each.views)}
        drawn = {each.drawn: each.views for each in record.curves if each.drawn is not None}
        band = TrackBand(
            low, math.inf if high is None else high, record.same_person, record.repeats, curves, between, drawn
        )
        found.setdefault(record.network, []).append(band)
    for bands in found.values():
        bands.sort(key=lambda band: band.low)
        if any(a.high != b.low for a, b in itertools.pairwise(bands)) or not bands[-1].low < bands[-1].high:
            raise ValueError("the bands of tracks of a network overlap, or leave widths out")
    return {network: tuple(bands) for network, bands in found.items()}


def track_band(bands: Mapping[str, tuple[TrackBand, ...]], network: str, native_px: float) -> TrackBand:
    """The band of a track; the first or the last one for a width outside of what was measured.

    Raises:
        CalibrationError: Tracks of the network were not measured.
    """
    own = bands.get(network)
    if not own:
        raise CalibrationError(f"calibration.json holds no threshold for tracks of faces that {network} embeds: {_FIX}")
    return next((band for band in own if native_px < band.high), own[-1])
