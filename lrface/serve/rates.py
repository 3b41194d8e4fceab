"""How often somebody may ask: a token bucket for each user or address."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST = 10_000  # users and addresses that are remembered


class RateLimit:
    """A token bucket for each key. Used by one thread.

    Args:
        rate: Requests a second, on average.
        burst: Requests at once.
        clock: Monotonic seconds.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, key: str) -> float:
        """Takes one request of a key; 0, or how many seconds it must wait (then nothing is taken)."""
        now = self._clock()
        left, before = self._buckets.pop(key, (float(self._burst), now))
        left = min(float(self._burst), left + self._rate * (now - before))
        wait = 0.0 if left >= 1 else (1 - left) / self._rate
        self._buckets[key] = (left - 1 if left >= 1 else left, now)
        while len(self._buckets) > _MOST:
            self._buckets.popitem(last=False)
        return wait

    def blocked_s(self, key: str) -> float:
        """How many seconds a key must wait; takes nothing."""
        left, before = self._buckets.get(key, (float(self._burst), self._clock()))
        left = min(float(self._burst), left + self._rate * (self._clock() - before))
        return 0.0 if left >= 1 else (1 - left) / self._rate
