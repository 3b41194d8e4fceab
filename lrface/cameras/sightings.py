"""A track for each person in view, decided from single frames: who came into view, and who left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from lrface.cameras.config import Camera
from lrface.inputs.video import Frame
from lrface.matcher import FaceMatcher
from lrface.tracks.events import TrackEvent, TrackEventKind
from lrface.types import Detections, Face, Identification

GAP_S = 2.0
"""Somebody out of view for longer has left."""


class Sightings:
    """Follows the people of one camera by name (a `Tracking`). Strangers are not told apart.

    Args:
        matcher: Decides who a face is.
        camera: Which.
        live: Whether events have a wall time.
    """

    def __init__(self, matcher: FaceMatcher, camera: Camera, *, live: bool = True) -> None:
        self._matcher, self._camera, self._live = matcher, camera, live
        self._last: dict[str | None, TrackEvent] = {}
        self._count = 0

    def wanted(self, frame: Frame, found: Detections) -> Sequence[int]:
        """Every face."""
        return range(len(found))

    def update(self, frame: Frame, found: Detections, faces: Mapping[int, Face]) -> Sequence[TrackEvent]:
        """Who came into view (`identified`; a stranger `appeared`), and who left."""
        events = []
        known = [face for face in faces.values() if len(face.embedding)]
        for face in self._matcher.decide_all(known, self._camera.fpir):
            kind = TrackEventKind.APPEARED if face.name is None else TrackEventKind.IDENTIFIED
            before = self._last.get(face.name)
            if before is None:
                self._count += 1
            self._last[face.name] = self._event(kind, before.track if before else self._count, frame, face)
            if before is None:
                events.append(self._last[face.name])
        gone = [name for name, last in self._last.items() if frame.time_s - last.time_s > GAP_S]
        return events + [self._left(self._last.pop(name)) for name in gone]

    def end(self) -> Sequence[TrackEvent]:
        """All who are in view leave."""
        left = [self._left(last) for last in self._last.values()]
        self._last.clear()
        return left

    def _event(self, kind: TrackEventKind, track: int, frame: Frame, face: Identification) -> TrackEvent:
        return TrackEvent(
            kind,
            track,
            frame.time_s,
            frame.index,
            face.box,
            self._camera.name,
            datetime.now(UTC) if self._live else None,
            name=face.name,
            similarity=face.similarity,
            threshold=face.threshold,
            views=1.0,
            best_view_quality=face.quality,
        )

    def _left(self, last: TrackEvent) -> TrackEvent:
        return replace(last, kind=TrackEventKind.LEFT)
