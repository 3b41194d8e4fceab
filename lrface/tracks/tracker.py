"""Which face of a frame is which track: overlap with where each track is expected, the closest pair first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from lrface.types import FloatArray

MAX_GAP_S = 1.0
"""A face that is not found for so long has left."""

_REACH = 1.2  # of the centre from where it is expected, in sides of the face
_GROWTH = 1.0  # of the reach a second without a detection, in sides of the face
_FIRST_GROWTH = 4.0  # likewise, while it was seen once: somebody who walks by close to the camera
_SIZE = 1.7  # largest ratio of the sides
_SMOOTH = 0.5  # share of a new step in the velocity


class Tracker(Protocol):
    """Numbers faces from frame to frame."""

    def update(self, boxes: FloatArray, time_s: float) -> list[int]:
        """The track of each box [n, 4], numbers that are never used again."""
        ...

    def moved(self, number: int, time_s: float) -> FloatArray:
        """How far a track is expected to have moved since its last box: x and y in pixels, float32 [2]."""
        ...

    def split(self, number: int) -> int:
        """Ends a track whose face is now another person's; the number of the track that goes on there."""
        ...

    def gone(self, time_s: float) -> list[int]:
        """The tracks that have ended since the last call, but for those that were split."""
        ...


@dataclass(slots=True)
class _Motion:
    """Where a track is: its centre, side and velocity in pixels and seconds."""

    centre: FloatArray
    side: float
    time_s: float
    velocity: FloatArray = field(default_factory=lambda: np.zeros(2, np.float32))
    moved: bool = False

    def expected(self, time_s: float) -> FloatArray:
        moved: FloatArray = self.centre + self.velocity * np.float32(min(time_s - self.time_s, MAX_GAP_S / 2))
        return moved

    def move(self, centre: FloatArray, side: float, time_s: float) -> None:
        if (passed := time_s - self.time_s) > 0:
            self.velocity = (1 - _SMOOTH) * self.velocity + _SMOOTH * (centre - self.centre) / np.float32(passed)
            self.moved = True
        self.centre, self.side, self.time_s = centre, side, time_s


class MotionTracker:
    """Follows boxes by constant velocity. Distances are in sides of the face, so small and large faces are alike.

    A face of 16 px that moves by its own width between two frames overlaps with nothing: the distance of the centres
    says more than the intersection over union.
    """

    def __init__(self) -> None:
        self._tracks: dict[int, _Motion] = {}
        self._last = 0

    def update(self, boxes: FloatArray, time_s: float) -> list[int]:
        """See `Tracker`; `time_s` rises from call to call."""
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        sides = np.sqrt(np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1.0))
        found = [0] * len(boxes)
        pairs: list[tuple[float, int, int]] = []
        for number, motion in self._tracks.items():
            if not len(boxes) or time_s - motion.time_s > MAX_GAP_S:
                continue
            side = np.sqrt(sides * motion.side)
            distance = np.linalg.norm(centres - motion.expected(time_s), axis=1) / side
            ratio = np.maximum(sides / motion.side, motion.side / sides)
            reach = _REACH + (_GROWTH if motion.moved else _FIRST_GROWTH) * (time_s - motion.time_s)
            cost = distance + (ratio - 1)
            pairs += [
                (float(cost[i]), number, i) for i in np.flatnonzero((distance <= reach) & (ratio <= _SIZE)).tolist()
            ]
        taken: set[int] = set()
        for _, number, i in sorted(pairs):
            if number not in taken and not found[i]:
                taken.add(number)
                found[i] = number
                self._tracks[number].move(centres[i], float(sides[i]), time_s)
        for i, number in enumerate(found):
            if not number:
                self._last += 1
                found[i] = self._last
                self._tracks[self._last] = _Motion(centres[i], float(sides[i]), time_s)
        return found

    def moved(self, number: int, time_s: float) -> FloatArray:
        """See `Tracker`."""
        motion = self._tracks[number]
        step: FloatArray = motion.expected(time_s) - motion.centre
        return step

    def split(self, number: int) -> int:
        """See `Tracker`."""
        self._last += 1
        self._tracks[self._last] = self._tracks.pop(number)
        return self._last

    def gone(self, time_s: float) -> list[int]:
        """See `Tracker`."""
        ended = [number for number, motion in self._tracks.items() if time_s - motion.time_s > MAX_GAP_S]
        for number in ended:
            del self._tracks[number]
        return ended
