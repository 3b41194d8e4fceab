"""Keeps what is seen of each track while it is followed: when, who, its template, its best crops."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lrface.serve.trackrecords import Crop
from lrface.tracks.events import TrackEvent, TrackEventKind
from lrface.types import Box, Detections, Face, Identification, ImageArray

if TYPE_CHECKING:
    from lrface.inputs.video import Frame
    from lrface.serve.live import LatestFrames
    from lrface.serve.store import ServiceStore
    from lrface.tracks.following import TrackFollower
    from lrface.tracks.template import TrackTemplate

CROPS = 3
"""Best crops kept of a track."""

_APART_S = 0.5  # crops of one moment look the same
_MARGIN = 0.6  # of the box's sides, added on each side: room to find the face again when the crop is enrolled
_WRITE_S = 2.0  # between writes of a track that stays in view
_LEFT_KEPT = 500  # ids of tracks that have left, whose last events are still to be stored


@dataclass(slots=True)
class _Seen:
    """A track in view."""

    number: int
    first_at: float
    last_at: float
    id: int | None = None
    crops: list[Crop] = field(default_factory=list)
    new_crops: bool = False
    template: TrackTemplate | None = None
    face: Identification | None = None
    native_px: float = 0.0
    unknown: str | None = None
    together: set[int] = field(default_factory=set)
    written_at: float = 0.0
    written: tuple[Any, ...] = ()


class RecordingFollower:
    """Follows the faces of one camera as `TrackFollower` does, and records tracks and the latest frame.

    Args:
        camera: Name of the camera.
        follower: Does the work.
        store: Where tracks go.
        frames: Where frames go.
        keep_unknown: Whether templates and crops of strangers may be kept at this moment.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        camera: str,
        follower: TrackFollower,
        store: ServiceStore,
        frames: LatestFrames,
        keep_unknown: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._camera, self._follower, self._store, self._frames = camera, follower, store, frames
        self._keep_unknown, self._clock = keep_unknown, clock
        self._seen: dict[int, _Seen] = {}
        self.ids: dict[tuple[str, int], int] = {}
        """Ids in the store, by camera and number of the track."""

    def wanted(self, frame: Frame, found: Detections) -> Sequence[int]:
        """See `TrackFollower.wanted`."""
        return self._follower.wanted(frame, found)

    def update(self, frame: Frame, found: Detections, faces: Mapping[int, Face]) -> Sequence[TrackEvent]:
        """See `TrackFollower.update`."""
        events = self._follower.update(frame, found, faces)
        now = self._clock()
        identified = self._follower.seen
        numbers = {face.track for face in identified if face.track is not None}
        for row, face in enumerate(identified):
            if face.track is None:
                continue
            seen = self._seen.setdefault(face.track, _Seen(face.track, now, now))
            seen.last_at, seen.face = now, face
            seen.together |= numbers - {face.track}
            if row in faces and len(faces[row].embedding):
                seen.template = self._follower.template_of(face.track)
                seen.native_px = max(seen.native_px, faces[row].native_px)
                self._offer(seen, frame.image, faces[row], now)
        self._take(events, now)
        ages = [now - self._seen[face.track].first_at if face.track in self._seen else 0.0 for face in identified]
        self._frames.put(self._camera, frame.image, identified, ages, time.monotonic() - frame.read_at)
        for number in numbers:
            if number in self._seen:
                self._write(self._seen[number], now)
        return events

    def end(self) -> Sequence[TrackEvent]:
        """See `TrackFollower.end`."""
        events = self._follower.end()
        self._take(events, self._clock())
        self._seen.clear()
        return events

    def _offer(self, seen: _Seen, image: ImageArray, face: Face, now: float) -> None:
        """Keeps a crop if it is among the best."""
        worth = _worth(face.quality, face.native_px)
        near = next((each for each in seen.crops if abs(each.at - now) < _APART_S), None)
        worst = near or (seen.crops[-1] if len(seen.crops) >= CROPS else None)
        if worst is not None and worth <= _worth(worst.quality, worst.native_px):
            return
        crop = Crop(_jpeg(image, face.box), face.quality, face.native_px, now)
        kept = [each for each in seen.crops if each is not worst]
        seen.crops = sorted([*kept, crop], key=lambda each: -_worth(each.quality, each.native_px))[:CROPS]
        seen.new_crops = True

    def _take(self, events: Sequence[TrackEvent], now: float) -> None:
        for event in events:
            seen = self._seen.get(event.track)
            if seen is None:
                continue
            seen.unknown = event.unknown
            if event.kind == TrackEventKind.APPEARED:
                seen.id = self._store.begin_track(self._camera, seen.number, seen.first_at, seen.last_at)
                self.ids[self._camera, seen.number] = seen.id
                while len(self.ids) > _LEFT_KEPT + len(self._seen):
                    self.ids.pop(next(iter(self.ids)))
            if event.kind == TrackEventKind.LEFT:
                self._write(seen, now, left=event)
                del self._seen[event.track]
            else:
                self._write(seen, now, at_once=True)
        for number in [n for n, each in self._seen.items() if each.id is None and now - each.last_at > 60]:
            del self._seen[number]  # one that was never told

    def _write(self, seen: _Seen, now: float, at_once: bool = False, left: TrackEvent | None = None) -> None:
        if seen.id is None or seen.face is None:
            return
        face = seen.face
        person, name = (face.person, face.name) if left is None else (left.person, left.name)
        reason = "match" if name is not None and left is not None else str(face.reason)
        said = (person, name, seen.unknown)
        if left is None and not at_once and now - seen.written_at < _WRITE_S and said == seen.written:
            return
        keep = person is not None or self._keep_unknown()
        changes = {
            "last_at": seen.last_at,
            "open": left is None,
            "person": person,
            "name": name,
            "similarity": face.similarity,
            "threshold": face.threshold,
            "reason": reason,
            "unknown": seen.unknown,
            "quality": None if seen.template is None else seen.template.quality,
            "native_px": seen.native_px or None,
            "views": face.views,
        }
        others = {self.ids[self._camera, n] for n in seen.together if (self._camera, n) in self.ids}
        crops = seen.crops if keep and seen.new_crops else None
        self._store.update_track(seen.id, changes, seen.template if keep else None, crops, others)
        seen.written_at, seen.written = now, said
        if crops is not None:
            seen.new_crops = False


def _worth(quality: float | None, native_px: float) -> float:
    """By which crops are compared: the quality, of networks without one the width."""
    return quality if quality is not None else min(1.0, native_px / 112)


def _jpeg(image: ImageArray, box: Box) -> bytes:
    """The face with its surroundings."""
    import cv2

    height, width = image.shape[:2]
    x1, y1, x2, y2 = box
    dx, dy = _MARGIN * (x2 - x1), _MARGIN * (y2 - y1)
    left, top = max(0, int(x1 - dx)), max(0, int(y1 - dy))
    right, bottom = min(width, int(np.ceil(x2 + dx))), min(height, int(np.ceil(y2 + dy)))
    if right <= left or bottom <= top:
        left, top, right, bottom = 0, 0, 1, 1
    part = np.ascontiguousarray(image[top:bottom, left:right])
    return bytes(cv2.imencode(".jpg", part, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
