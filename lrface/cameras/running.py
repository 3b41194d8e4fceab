"""The run over several cameras: one batch through the networks for the faces of all of them, events for each track."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from lrface.cameras.config import Camera
from lrface.cameras.erasing import RemovedErased
from lrface.cameras.reading import CameraReader
from lrface.cameras.zones import detections_that_count
from lrface.detection import detect_roughly, refine_further
from lrface.embedding.embedders import embed_faces_of
from lrface.errors import DetectionError, GalleryInUseError, GalleryServerError, VideoError
from lrface.inputs.capture import Capture
from lrface.inputs.video import Frame, StreamEvent
from lrface.outputs.event_sinks import EventSinks
from lrface.tracks.events import TrackEvent
from lrface.tracks.following import TrackFollower
from lrface.tracks.latency import Latency
from lrface.tracks.strangers import DEFAULT_RETENTION_S, Strangers
from lrface.types import Detections, Face

if TYPE_CHECKING:
    from lrface.matcher import FaceMatcher

GONE_S = 10.0
"""A camera without a frame for so long ends its tracks: those people are in view no more, as far as one can tell."""
_CLOSING_S = 0.5
_LOOK_S = 2.0  # between looks whether somebody was removed


class Tracking(Protocol):
    """Follows the faces of one camera from frame to frame and decides who they are."""

    def wanted(self, frame: Frame, found: Detections) -> Sequence[int]:
        """Follows the faces of a frame; the rows of those that shall be embedded, since their view is new or better."""
        ...

    def update(self, frame: Frame, found: Detections, faces: Mapping[int, Face]) -> Sequence[TrackEvent]:
        """Takes the faces that were embedded, by row; what happened."""
        ...

    def end(self) -> Sequence[TrackEvent]:
        """Ends every track; what happened. Later frames begin new tracks with new numbers."""
        ...


@dataclass(slots=True)
class CameraReport:
    """What a run saw of one camera.

    Attributes:
        camera: Its name.
        frames: Frames in which faces were searched for.
        events: Events of its tracks.
        latency: Seconds from reading a frame to its events.
        error: Why it ended, where it could not be read.
    """

    camera: str
    frames: int = 0
    events: int = 0
    latency: Latency = field(default_factory=Latency)
    error: VideoError | None = None


@dataclass(slots=True)
class _Watched:
    """A camera while it is watched; `last_frame_at` is None after its tracks were ended."""

    reader: CameraReader
    tracking: Tracking
    report: CameraReport
    last_frame_at: float | None = None


def watch_cameras(
    matcher: FaceMatcher,
    cameras: Sequence[Camera],
    *,
    sinks: EventSinks,
    tracking: Callable[[Camera], Tracking] | None = None,
    keep_strangers_s: float = DEFAULT_RETENTION_S,
    on_events: Callable[[Sequence[Mapping[str, Any]]], None] | None = None,
    on_stream_event: Callable[[Camera, StreamEvent], None] | None = None,
    open_capture: Callable[[str | int], Capture] | None = None,
    clock: Callable[[], float] = time.monotonic,
    stop: threading.Event | None = None,
) -> list[CameraReport]:
    """Watches cameras until all of them have ended (live ones do not).

    Each round takes the newest frame of every camera that has one. A camera that is dead or hangs has none and delays
    nobody. When the run is interrupted the tracks are ended, and their events are stored.
    What waits for receivers of somebody who is removed from the gallery meanwhile, or was before, is erased.

    Args:
        matcher: Open.
        cameras: Which.
        sinks: Receivers of events; closed by their owner.
        tracking: Makes what follows the faces of a camera; None: a `TrackFollower`.
        keep_strangers_s: Seconds for which a stranger's template is kept in memory, for all cameras together; 0: not.
        on_events: Called with the events of each round, with their `id`.
        on_stream_event: Told what happens to a camera, in the thread that reads it.
        open_capture: See VideoSource.
        clock: Monotonic seconds.
        stop: Ends the run when it is set, as an interruption does.

    Raises:
        LrfaceError: Events cannot be stored, or the gallery cannot be read.
    """
    news = threading.Condition()
    told = on_stream_event or (lambda _camera, _event: None)
    strangers = Strangers(keep_strangers_s)
    tracking = tracking or (lambda camera: follower_of(matcher, camera, strangers))
    watched = [
        _Watched(CameraReader(camera, news, told, open_capture), tracking(camera), CameraReport(camera.name))
        for camera in cameras
    ]

    def store(events: list[tuple[_Watched, TrackEvent]]) -> None:
        for each, _ in events:
            each.report.events += 1
        records = sinks.write([event.to_dict() for _, event in events])
        if on_events is not None and records:
            on_events(records)

    erased, look_at = RemovedErased(matcher.gallery, sinks), clock()
    try:
        for each in watched:
            each.reader.start()
        while stop is None or not stop.is_set():
            if clock() >= look_at:
                erased.follow()
                look_at = clock() + _LOOK_S
            with news:
                batch = [(each, frame) for each in watched if (frame := each.reader.take()) is not None]
                if not batch:
                    if all(each.reader.ended for each in watched):
                        break
                    news.wait(0.5)
            if batch:
                started = time.monotonic()
                store(_process(matcher, batch, clock))
                for each, frame in batch:
                    each.reader.took(time.monotonic() - started)
                    each.report.latency.add(time.monotonic() - frame.read_at)
            store([(each, event) for each in watched if _is_gone(each, clock()) for event in each.tracking.end()])
    finally:
        for each in watched:
            each.reader.stop()
        store([(each, event) for each in watched for event in each.tracking.end()])
        deadline = time.monotonic() + _CLOSING_S
        for each in watched:
            each.reader.join(max(0.0, deadline - time.monotonic()))
            each.report.error = each.reader.error
    return [each.report for each in watched]


def follower_of(matcher: FaceMatcher, camera: Camera, strangers: Strangers) -> TrackFollower:
    """What follows the faces of a camera, with the camera's own rate.

    Args:
        matcher: Open.
        camera: Which.
        strangers: Where strangers are kept.
    """
    now = (lambda: datetime.now(UTC)) if camera.live else None
    return TrackFollower(matcher, fpir=camera.fpir, camera=camera.name, strangers=strangers, now=now)


def _process(
    matcher: FaceMatcher, batch: Sequence[tuple[_Watched, Frame]], clock: Callable[[], float]
) -> list[tuple[_Watched, TrackEvent]]:
    """Finds, follows and embeds the faces of one frame of each camera."""
    seen: list[tuple[_Watched, Frame, Detections, list[int]]] = []
    for each, frame in batch:
        each.report.frames += 1
        each.last_frame_at = clock()
        camera = each.reader.camera
        try:
            found = detect_roughly(matcher.detector, frame.image)
        except DetectionError:  # of this one frame: the next one may be whole
            continue
        found = detections_that_count(found, frame.image.shape[:2], camera.zones, camera.masks, camera.min_face)
        seen.append((each, frame, found, list(each.tracking.wanted(frame, found))))
    pictures = [
        (frame.image, refine_further(matcher.detector, frame.image, found[rows])) for _, frame, found, rows in seen
    ]
    embedded = embed_faces_of(pictures, matcher.networks, matcher.calibration.alignment_penalty)
    events: list[tuple[_Watched, TrackEvent]] = []
    for (each, frame, found, rows), faces in zip(seen, embedded, strict=True):
        try:
            events += [
                (each, event) for event in each.tracking.update(frame, found, dict(zip(rows, faces, strict=True)))
            ]
        except GalleryServerError:  # whoever watches must be told, and frames must not be lost silently
            raise
        except GalleryInUseError:  # somebody enrols: the next frame decides
            continue
    return events


def _is_gone(each: _Watched, now: float) -> bool:
    """Whether the tracks of a camera are to be ended now, since it has ended or gives no frame."""
    if each.last_frame_at is None or not (each.reader.ended or now - each.last_frame_at > GONE_S):
        return False
    each.last_frame_at = None
    return True
