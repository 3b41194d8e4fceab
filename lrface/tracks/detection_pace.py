"""In which frames faces are searched for, when tracking carries their boxes through the frames between."""

from __future__ import annotations

from typing import Literal

from lrface.errors import ArgumentError
from lrface.inputs.video import Frame

LONGEST_PAUSE_S = 0.25
"""Faces are searched for at least this often: in slower sources a person would move too far to be followed."""

MOST = 25
"""Largest `detect_every`."""

LOAD = 0.8
"""Share of the time that "auto" takes; the rest is left for other work."""

_SMOOTH = 0.3  # share of the last frame's time in the mean

DetectEvery = int | Literal["auto"]


class DetectionPace:
    """Says which frames are due: every n-th, and each that comes `LONGEST_PAUSE_S` or more after the last one.

    With "auto", a live source's are due as often as `LOAD` allows, and each of a file, so that a second run gives the
    same.

    Args:
        every: n, 1 to 25, or "auto".
        stride: `VideoSource.stride`: how far apart the numbers of its frames are.
        live: `VideoSource.live`.

    Raises:
        ArgumentError: `every` is out of range.
    """

    def __init__(self, every: DetectEvery, stride: int = 1, live: bool = False) -> None:
        if every != "auto" and not (isinstance(every, int) and 1 <= every <= MOST):
            raise ArgumentError(f'detect_every {every}: give 1 (every frame) to {MOST}, or "auto"')
        self._auto = every == "auto" and live
        self._step = stride if every == "auto" else every * stride
        self._last: tuple[int, float] | None = None
        self._taken_s = 0.0

    def due(self, frame: Frame) -> bool:
        """Whether faces are to be searched for in this frame; if so, the next pause begins.

        Args:
            frame: The next one. Of a live source, those that came meanwhile and were dropped count, too.
        """
        if self._last is not None:
            index, time_s = self._last
            passed = frame.time_s - time_s
            early = frame.index - index < self._step or (self._auto and passed < self._taken_s / LOAD)
            if early and 0 <= passed < LONGEST_PAUSE_S:
                return False
        self._last = frame.index, frame.time_s
        return True

    def took(self, seconds: float) -> None:
        """Takes note of how long a frame that was due took."""
        self._taken_s = seconds if not self._taken_s else self._taken_s + _SMOOTH * (seconds - self._taken_s)
