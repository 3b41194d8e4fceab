"""What tests of several cameras share."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np


def paced(picture: np.ndarray, count: int, seconds: float = 0.01) -> Iterator[np.ndarray]:
    """A camera that gives `count` pictures, one every few milliseconds."""
    for _ in range(count):
        time.sleep(seconds)
        yield picture


def told(events: Sequence[Mapping[str, Any]], camera: str) -> list[tuple[str, str | None]]:
    """Kind and name of the events of one camera."""
    return [(event["event"], event["name"]) for event in events if event["camera"] == camera]
