"""Times of calls and the memory of this process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

BATCHES = (1, 32, 256)


def milliseconds(what: str, call: Callable[[int], object], times: int, share: int = 1) -> dict[str, float]:
    """Median and 99th percentile of calls with 0, 1, 2, ...; divided by `share`."""
    taken = []
    for i in range(times):
        start = time.perf_counter()
        call(i)
        taken.append(1e3 * (time.perf_counter() - start))
    return {
        f"{what}_ms": float(np.percentile(taken, 50)) / share,
        f"{what}_p99_ms": float(np.percentile(taken, 99)) / share,
    }


def time_batches(search: Callable[[int], object], times: int) -> dict[str, float]:
    """Milliseconds of one query, alone and in batches, by the clock and of this process's processor.

    Args:
        search: Called with the size of the batch.
        times: How often.
    """
    found: dict[str, float] = {}
    for batch in BATCHES:
        search(batch)
        start = time.process_time()
        found |= milliseconds(f"search_{batch}", lambda _, n=batch: search(n), times, batch)  # type: ignore[misc]
        found[f"search_{batch}_cpu_ms"] = 1e3 * (time.process_time() - start) / (times * batch)
    return found


def resident_mib(pid: int | None = None) -> float:
    """MiB of a process, by default this one, in memory now; 0 where the system does not say."""
    try:
        pages = int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return 0.0
