"""What tests of several cameras share: a simple tracking, and captures that play scenes of tiny faces."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lrface.cameras.config import Camera
from lrface.inputs.video import Frame
from lrface.matcher import FaceMatcher
from lrface.tracks.events import TrackEvent, TrackEventKind
from lrface.types import Detections, Face


class NameTracking:
    """A track for each name that is seen; decides from one frame."""

    def __init__(self, matcher: FaceMatcher, camera: Camera) -> None:
        self._matcher, self._camera = matcher, camera
        self._tracks: dict[str | None, TrackEvent] = {}
        self._count = 0

    def wanted(self, frame: Frame, found: Detections) -> Sequence[int]:
        return range(len(found))

    def update(self, frame: Frame, found: Detections, faces: Mapping[int, Face]) -> Sequence[TrackEvent]:
        index = self._matcher.gallery.search_index()
        events = []
        for face in faces.values():
            if len(face.embedding) == 0:
                continue
            matches = index.candidates(face.embedding[None], 5)[0]
            name = self._matcher.decide(face, matches, index.population).name
            if name not in self._tracks:
                self._count += 1
                self._tracks[name] = self._event(TrackEventKind.IDENTIFIED, self._count, frame, face, name)
                events.append(self._tracks[name])
        return events

    def end(self) -> Sequence[TrackEvent]:
        left = [
            TrackEvent(TrackEventKind.LEFT, e.track, e.time_s, e.frame, e.box, e.camera, name=e.name)
            for e in self._tracks.values()
        ]
        self._tracks.clear()
        return left

    def _event(self, kind: TrackEventKind, track: int, frame: Frame, face: Face, name: str | None) -> TrackEvent:
        return TrackEvent(kind, track, frame.time_s, frame.index, face.box, self._camera.name, name=name, views=1.0)


def paced(picture: np.ndarray, count: int, seconds: float = 0.01) -> Iterator[np.ndarray]:
    """A camera that gives `count` pictures, one every few milliseconds."""
    for _ in range(count):
        time.sleep(seconds)
        yield picture


def told(events: Sequence[Mapping[str, Any]], camera: str) -> list[tuple[str, str | None]]:
    """Kind and name of the events of one camera."""
    return [(event["event"], event["name"]) for event in events if event["camera"] == camera]
