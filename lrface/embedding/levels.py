"""Levels: which network a face of a width is embedded by."""

from __future__ import annotations

import math
from collections.abc import Collection

from lrface.errors import ImageError

MIN_NATIVE_PX = 6.0
"""Below this width, in source pixels of the canonical crop, a face is not embedded."""

LEVEL_BOUNDS = ((9.0, 8), (18.0, 16), (56.0, 32), (float("inf"), 112))
"""(native_px below which, level): the level that does best with a face of that size (benchmarks/levels.py)."""


def level_for(native_px: float, levels: Collection[int]) -> int:
    """The level for a face: the one made for its size, else the next smaller one that there is, else the smallest.

    Args:
        native_px: Width, in source pixels, of the canonical crop.
        levels: Those of the loaded models; not empty.

    Raises:
        ImageError: The width is not a finite number.
    """
    if not math.isfinite(native_px):
        raise ImageError(f"a face cannot be {native_px} px wide: check the landmarks")
    wanted = next(level for bound, level in LEVEL_BOUNDS if native_px < bound)
    return max((level for level in levels if level <= wanted), default=min(levels))


def template_levels(native_px: float, levels: Collection[int]) -> list[int]:
    """The levels at which an enrolled face gets a template: its own and all smaller ones, never a larger one."""
    own = level_for(native_px, levels)
    return sorted(level for level in levels if level <= own)
