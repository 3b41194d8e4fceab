"""How late results are: the median and the 99th percentile of the last frames."""

from __future__ import annotations

from collections import deque

import numpy as np

_LAST = 1000


class Latency:
    """Seconds from reading a frame to its results, of the last frames (bounded memory)."""

    def __init__(self, last: int = _LAST) -> None:
        self._seconds: deque[float] = deque(maxlen=last)

    def add(self, seconds: float) -> None:
        """Takes one frame."""
        self._seconds.append(seconds)

    def percentiles(self) -> tuple[float, float] | None:
        """The median and the 99th percentile in seconds; None before the first frame."""
        if not self._seconds:
            return None
        median, late = np.percentile(np.array(self._seconds), (50, 99))
        return float(median), float(late)

    def __str__(self) -> str:
        found = self.percentiles()
        return "no frame" if found is None else f"latency p50 {1000 * found[0]:.0f} ms, p99 {1000 * found[1]:.0f} ms"
