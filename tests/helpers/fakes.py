"""Stand-ins that several tests share: captures that misbehave, a matcher that always sees the same faces."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from lrface.types import Identification


def picture(width: int = 64, height: int = 48, value: int = 100) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def identification(
    name: str | None = None,
    similarity: float | None = 0.3,
    box: tuple[float, float, float, float] = (10.0, 10.0, 30.0, 34.0),
    reason: str | None = None,
    native_px: float = 26.0,
) -> Identification:
    reason = reason or ("match" if name else "below threshold")
    embedding = np.zeros(0 if reason == "too small" else 4, np.float32)
    return Identification(
        box, 0.9, np.zeros((5, 2), np.float32), native_px, 32, embedding, name, similarity, 0.4, reason, ()
    )


class FakeMatcher:
    """Answers `identify` from a function of the picture's number."""

    def __init__(self, answer: Callable[[int], list[Identification]]) -> None:
        self._answer = answer
        self._count = 0

    def identify(self, image: np.ndarray) -> list[Identification]:
        self._count += 1
        return self._answer(self._count - 1)


class FakeCapture:
    """Plays a script: pictures are given, None ends the stream, an exception is raised, an Event is waited for."""

    def __init__(self, script: Iterable[Any], opened: bool = True, props: dict[int, float] | None = None) -> None:
        self._script = iter(script)
        self._opened = opened
        self._props = props or {}
        self.released = threading.Event()

    def isOpened(self) -> bool:
        return self._opened

    def read(self) -> tuple[bool, Any]:
        item = next(self._script, None)
        if isinstance(item, threading.Event):
            item.wait(20)
            item = None
        if isinstance(item, Exception):
            raise item
        return item is not None, item

    def get(self, prop: int, /) -> float:
        return self._props.get(prop, 0.0)

    def release(self) -> None:
        self.released.set()
