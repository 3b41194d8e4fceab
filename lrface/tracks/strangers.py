"""Strangers are told apart while they stay, and again when they come back: an identifier for each, kept for a while."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import numpy as np

from lrface.decisions.curves import NEVER, ImpostorCurve
from lrface.decisions.rates import fmr_for
from lrface.types import FloatArray

DEFAULT_RETENTION_S = 24 * 3600.0
MAX_KEPT = 1000
"""Strangers kept at most; the one not seen for the longest time goes first."""


@dataclass(slots=True)
class _Stranger:
    vector: FloatArray
    curve: ImpostorCurve | None
    seen_s: float


class Strangers:
    """Templates of strangers, in memory only.

    Args:
        retention_s: Seconds for which a template is kept after the stranger was last seen; 0 keeps nothing.
    """

    def __init__(self, retention_s: float = DEFAULT_RETENTION_S) -> None:
        self._retention_s = retention_s
        self._kept: dict[str, _Stranger] = {}

    def identify(
        self, vector: FloatArray, curve: ImpostorCurve | None, fpir: float, time_s: float, taken: set[str]
    ) -> str | None:
        """The identifier of a stranger: that of the most similar one kept, or a new one; None if nothing is kept.

        Two tracks are of one stranger if they are as similar as the curves of both ask for, which is more where more
        strangers are kept.

        Args:
            vector: float32 [dim], the track's template.
            curve: Of tracks like it (`curve_between`); None: it is compared with nobody.
            fpir: Share of tracks that may get the identifier of somebody else.
            time_s: Now.
            taken: Identifiers of strangers who are in view at this moment.
        """
        if not self._retention_s > 0:
            return None
        self.forget(time_s)
        free = [key for key in self._kept if key not in taken]
        key = None
        if free and curve is not None:
            similarities = np.stack([self._kept[each].vector for each in free]) @ vector
            fmr = fmr_for(fpir, len(free))
            needed = [NEVER if (own := self._kept[each].curve) is None else own.threshold(fmr) for each in free]
            above = similarities - np.maximum(needed, curve.threshold(fmr))
            fitting = np.flatnonzero(above >= 0)
            key = free[fitting[np.argmax(similarities[fitting])]] if len(fitting) else None
        key = key or f"stranger-{uuid.uuid4().hex[:12]}"
        self.keep(key, vector, curve, time_s)
        return key

    def keep(self, key: str, vector: FloatArray, curve: ImpostorCurve | None, time_s: float) -> None:
        """Renews what is kept of a stranger."""
        self._kept.pop(key, None)
        self._kept[key] = _Stranger(vector, curve, time_s)
        while len(self._kept) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]

    def drop(self, key: str) -> None:
        """Forgets a stranger who has got a name."""
        self._kept.pop(key, None)

    def forget(self, time_s: float) -> None:
        """Drops the strangers who were not seen for longer than they may be kept."""
        for key in [key for key, each in self._kept.items() if time_s - each.seen_s > self._retention_s]:
            del self._kept[key]
