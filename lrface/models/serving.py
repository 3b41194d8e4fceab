"""Which network embeds a face of which width: the ranges that a manifest names, and their checks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

_OWN_WIDTH = 9 / 16
"""Without ranges in the manifest, a network embeds faces from this share of its input's side on."""


class NetworkSet(StrEnum):
    """A set of networks: the most accurate for every width, or faster ones for many faces a frame."""

    ACCURATE = "accurate"
    FAST = "fast"


@dataclass(frozen=True, slots=True)
class WidthRange:
    """The faces that one network embeds.

    Attributes:
        level: Side in pixels of the network's input.
        low: Native width in pixels, inclusive.
        high: Exclusive.
    """

    level: int
    low: float
    high: float


def bounds_of(
    serves: Mapping[NetworkSet, tuple[float | None, float | None]],
) -> dict[NetworkSet, tuple[float, float]]:
    """The widths that an entry of the manifest serves, with numbers for the missing bounds.

    Raises:
        ValueError: A range is empty.
    """
    found = {}
    for which, (low, high) in serves.items():
        found[which] = 0.0 if low is None else low, math.inf if high is None else high
        if not found[which][0] < found[which][1]:
            raise ValueError(f"a range of widths is {[low, high]}: the first must be the smaller one")
    return found


def width_ranges(
    serves: Mapping[int, Mapping[NetworkSet, tuple[float, float]]],
) -> dict[NetworkSet, tuple[WidthRange, ...]]:
    """The ranges of each set, rising.

    A manifest that names no range has the same ranges in both sets: each network embeds faces from 9/16 of its input's
    side on (a network of 32x32 pixels from 18 px), up to where the next larger one begins; the smallest also embeds all
    that are narrower.

    Args:
        serves: What each entry names, by the side of the network's input.

    Raises:
        ValueError: The ranges of a set overlap, or leave widths out above the smallest.
    """
    if not serves:
        return {}
    if not any(serves.values()):
        sides = sorted(serves)
        bounds = [0.0, *(_OWN_WIDTH * side for side in sides[1:]), math.inf]
        default = tuple(WidthRange(side, *bounds[i : i + 2]) for i, side in enumerate(sides))
        return dict.fromkeys(NetworkSet, default)
    found: dict[NetworkSet, tuple[WidthRange, ...]] = {}
    for which in NetworkSet:
        ranges = [WidthRange(side, *own[which]) for side, own in serves.items() if which in own]
        ordered = sorted(ranges, key=lambda each: each.low)
        for lower, upper in itertools.pairwise(ordered):
            if lower.high != upper.low:
                fault = "overlap" if lower.high > upper.low else "leave out widths"
                raise ValueError(f"the ranges of the {which} networks {fault} at {upper.low:g} px")
        if not ordered:
            raise ValueError(f"no network serves the {which} set")
        if ordered[-1].high != math.inf:
            raise ValueError(f"the {which} networks leave out faces from {ordered[-1].high:g} px on")
        found[which] = tuple(ordered)
    return found


def level_for(native_px: float, ranges: Sequence[WidthRange]) -> int | None:
    """The input side of the network for a face, or None where no network serves its width.

    Args:
        native_px: Width of the face's canonical crop in source pixels; not a number, 0 and below are served by none.
        ranges: Those of a set.
    """
    if not native_px > 0:
        return None
    return next((each.level for each in ranges if each.low <= native_px < each.high), None)
