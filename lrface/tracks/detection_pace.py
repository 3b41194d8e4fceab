"""In which frames faces are searched for, when tracking carries their boxes through the frames between."""

from __future__ import annotations

from lrface.errors import ArgumentError
from lrface.inputs.video import Frame

LONGEST_PAUSE_S = 0.25
"""Faces are searched for at least this often: in slower sources a person would move too far to be followed."""

MOST = 25
"""Largest `detect_every`."""


class DetectionPace:
    """Says which frames are due: every n-th, and each that comes `LONGEST_PAUSE_S` or more after the last one.

    Args:
        every: n, 1 to 25.
        stride: `VideoSource.stride`: how far apart the numbers of its frames are.

    Raises:
        ArgumentError: `every` is out of range.
    """

    def __init__(self, every: int, stride: int = 1) -> None:
        if not 1 <= every <= MOST:
            raise ArgumentError(f"detect_every {every}: give 1 (every frame) to {MOST}")
        self._step = every * stride
        self._last: tuple[int, float] | None = None

    def due(self, frame: Frame) -> bool:
        """Whether faces are to be searched for in this frame; if so, the next pause begins.

        Args:
            frame: The next one. Of a live source, those that came meanwhile and were dropped count, too.
        """
        if self._last is not None:
            index, time_s = self._last
            if frame.index - index < self._step and 0 <= frame.time_s - time_s < LONGEST_PAUSE_S:
                return False
        self._last = frame.index, frame.time_s
        return True
