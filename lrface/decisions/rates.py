"""False-positive identification rates: what a user asks for, and what each comparison may then have."""

from __future__ import annotations

import math

from lrface.errors import ArgumentError

DEFAULT_FPIR = 0.01


def fmr_for(fpir: float, size: int) -> float:
    """The false-match rate that each of `size` comparisons may have for a false-positive identification rate.

    Raises:
        ArgumentError: The rate is out of range.
    """
    check_fpir(fpir)
    return -math.expm1(math.log1p(-fpir) / max(1, size))


def check_fpir(fpir: float) -> None:
    """Refuses a false-positive identification rate out of range.

    Raises:
        ArgumentError: It is not above 0 and below 1.
    """
    if not 0.0 < fpir < 1.0:
        raise ArgumentError(f"fpir is {fpir}: give a share above 0 and below 1, 0.01 for one stranger in a hundred")
