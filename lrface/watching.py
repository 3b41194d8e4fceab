"""A whole video or stream: follow faces, decide who each track is, report who came into view, write what was seen."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lrface.detection import detect_roughly, refine_further
from lrface.embedding.embedders import embed_faces
from lrface.inputs.video import Frame, VideoSource
from lrface.outputs.files import run_folder
from lrface.outputs.run_files import RunFiles
from lrface.tracks.detection_pace import DetectEvery, DetectionPace
from lrface.tracks.events import TrackEvent, TrackEventKind
from lrface.tracks.following import TrackFollower
from lrface.tracks.latency import Latency
from lrface.tracks.strangers import DEFAULT_RETENTION_S, Strangers
from lrface.types import Identification

if TYPE_CHECKING:
    from lrface.matcher import FaceMatcher

_STRANGER_VIEWS = 1.0  # effective views before a stranger is reported
SIGHTING_GAP_S = 2.0  # out of view for longer than this: the next time counts as a new sighting


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """Somebody came into view.

    Attributes:
        frame: Number of the frame in its source, from 0.
        time_s: Seconds since the first frame.
        face: Name, similarity, box ... in that frame.
    """

    frame: int
    time_s: float
    face: Identification


@dataclass(slots=True)
class WatchReport:
    """What a run over a video saw.

    Attributes:
        frames: Frames in which faces were searched for.
        named: For each person, the number of frames in which that person was named.
        unknown: Faces of frames in which their track was unknown.
        too_small: Faces of tracks too small to be embedded.
        embedded: Faces that were embedded: the first of a track, and those that are new or better views.
        named_tracks: For each person, the number of tracks that left with that name.
        unknown_tracks: Tracks that left without a name.
        latency: Seconds from reading a frame in which faces were searched for to its results: median and 99th
            percentile of the last 1,000.
        written: Files written.
    """

    frames: int = 0
    named: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    too_small: int = 0
    embedded: int = 0
    named_tracks: Counter[str] = field(default_factory=Counter)
    unknown_tracks: int = 0
    latency: Latency = field(default_factory=Latency)
    written: list[Path] = field(default_factory=list)

    def add(self, faces: Sequence[Identification]) -> None:
        """Counts the faces of a frame."""
        self.frames += 1
        for face in faces:
            if face.name is not None:
                self.named[face.name] += 1
            elif len(face.embedding):
                self.unknown += 1
            else:
                self.too_small += 1

    def count(self, events: Sequence[TrackEvent]) -> None:
        """Counts the tracks that left."""
        for event in events:
            if event.kind == TrackEventKind.LEFT and event.name is not None:
                self.named_tracks[event.name] += 1
            elif event.kind == TrackEventKind.LEFT:
                self.unknown_tracks += 1


def watch(
    matcher: FaceMatcher,
    source: VideoSource,
    *,
    out: str | os.PathLike[str] | None = None,
    on_sighting: Callable[[Sighting], None] | None = None,
    on_frame: Callable[[Frame, list[Identification]], None] | None = None,
    on_event: Callable[[TrackEvent], None] | None = None,
    keep_strangers_s: float = DEFAULT_RETENTION_S,
    detect_every: DetectEvery = 1,
    progress: bool = False,
) -> WatchReport:
    """Follows the faces of a source until it ends and decides who each track is; files are whole when interrupted, too.

    `matcher.fpir` is the share of strangers' tracks that may be named: of strangers who walk by, not of frames.

    Args:
        matcher: Open, with people enrolled.
        source: Open.
        out: Folder in which a new one is made for this run (`run-0001`, `run-0002` ...), with `annotated.mp4`,
            `identifications.jsonl` (frames with faces), `events.jsonl` (what happened to tracks), `timeline.png` (who
            was in view when) and `contact-sheet.jpg`. It is made with the first frame.
        on_sighting: Called when a person, or a stranger, comes into view.
        on_frame: Called with each frame and its identifications, from left to right; those of a frame in which faces
            were not searched for are those of the last one, moved as their tracks move.
        on_event: Called with each event of a track.
        keep_strangers_s: Seconds for which a stranger's template is kept in memory, so that a stranger who comes back
            is known again; 0 keeps nothing, and strangers have no identifier.
        detect_every: Search for faces in every n-th frame, and at least four times a second. Between, boxes move as
            their tracks move; they are in the annotated video, not in `identifications.jsonl` and the report. For less
            than half the time with 3 at 25 frames/s. "auto": of a live source as often as leaves a fifth of the time
            free, of a file in every frame.
        progress: Shows a progress bar on stderr.

    Raises:
        ArgumentError: `detect_every` is out of range.
        VideoError: The source cannot be read.
        LrfaceError: A file in `out` cannot be written.
    """
    from tqdm import tqdm

    report = WatchReport()
    total = None if source.frame_count is None else math.ceil(source.frame_count / source.stride)
    now = (lambda: datetime.now(UTC)) if source.live else None
    pace = DetectionPace(detect_every, source.stride, source.live)
    follower = TrackFollower(matcher, strangers=Strangers(keep_strangers_s), now=now)
    sightings = _Sightings()
    with ExitStack() as stack:
        files = stack.enter_context(RunFiles(partial(run_folder, out), source)) if out is not None else None

        def tell(events: Sequence[TrackEvent]) -> None:
            report.count(events)
            if files is not None:
                files.write_events(events)
            for event in events:
                if on_event is not None:
                    on_event(event)

        stack.callback(lambda: tell(follower.end()))
        bar = stack.enter_context(
            tqdm(source, total=total, unit=" frames", disable=not progress, leave=False, dynamic_ncols=True)
        )
        for frame in bar:
            if not pace.due(frame):
                faces = sorted(follower.carry(frame), key=_across)
                if on_frame is not None:
                    on_frame(frame, faces)
                if files is not None:
                    files.write_carried(frame, faces)
                continue
            started = time.monotonic()
            found = detect_roughly(matcher.detector, frame.image)
            rows = follower.wanted(frame, found)
            wanted = refine_further(matcher.detector, frame.image, found[rows])
            embedded = embed_faces(frame.image, wanted, matcher.networks, matcher.calibration.alignment_penalty)
            events = follower.update(frame, found, dict(zip(rows, embedded, strict=True)))
            faces = sorted(follower.seen, key=_across)
            report.add(faces)
            report.embedded = follower.embedded
            if on_sighting is not None:
                for face in sightings.new(faces, frame.time_s):
                    on_sighting(Sighting(frame.index, frame.time_s, face))
            if on_frame is not None:
                on_frame(frame, faces)
            if files is not None:
                files.write(frame, faces)
            tell(events)
            report.latency.add(time.monotonic() - frame.read_at)
            pace.took(time.monotonic() - started)
    if files is not None:
        report.written = files.written()
    return report


def _across(face: Identification) -> float:
    """From left to right."""
    return face.box[0] + face.box[2]


class _Sightings:
    """Who comes into view: a person after `SIGHTING_GAP_S` out of view, a stranger once a track."""

    def __init__(self) -> None:
        self._last_seen: dict[str, float] = {}
        self._strangers: set[int] = set()

    def new(self, faces: Sequence[Identification], time_s: float) -> list[Identification]:
        found = []
        for face in faces:
            if face.name is not None:
                before = self._last_seen.get(face.name)
                self._last_seen[face.name] = time_s
                if before is None or time_s - before > SIGHTING_GAP_S:
                    found.append(face)
            elif (
                (face.views or 0.0) >= _STRANGER_VIEWS and face.track is not None and face.track not in self._strangers
            ):
                self._strangers.add(face.track)
                found.append(face)
        return found
