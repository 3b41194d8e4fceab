"""Follows the faces of one source from frame to frame, decides who they are, and says what happened."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from lrface.alignment import align_faces
from lrface.tracks.decision import CANDIDATES, can_fuse, curve_between, decide_track, one_name_each
from lrface.tracks.events import TrackEvent, TrackEventKind
from lrface.tracks.strangers import Strangers
from lrface.tracks.template import TrackTemplate, View, fuse_views
from lrface.tracks.track import Track
from lrface.tracks.tracker import MotionTracker, Tracker
from lrface.types import Detections, Face, Identification, Reason

if TYPE_CHECKING:
    from lrface.gallery.protocol import SearchedPeople
    from lrface.inputs.video import Frame
    from lrface.matcher import FaceMatcher

MIN_HITS = 2
"""Frames with a face before it is reported: single false alarms of the detector are not."""

OTHER_PERSON_FMR = 0.05
"""A view less like its track than this share of strangers' tracks are is not that person's."""

_STILL = np.zeros(2, np.float32)
_VIEWS_OF_STRANGERS, _PATIENCE_S = 2.5, 5.0  # so many effective views, or seconds, before strangers are told apart


class TrackFollower:
    """Follows the faces of one source.

    For each frame, in order: `wanted` says which faces to embed, `update` takes the embedded ones.

    Args:
        matcher: With the people, the thresholds and the rate.
        fpir: Share of strangers' tracks that may be named, and that may get another stranger's identifier. None for the
            matcher's.
        camera: Named in events.
        strangers: Where strangers are kept; may be shared by several cameras. None: kept for a day.
        now: The time of the day, for events of a live source; None for a recording.
        tracker: Numbers the faces.

    Attributes:
        faces: Faces of all frames so far.
        embedded: How many of them were embedded.
    """

    def __init__(
        self,
        matcher: FaceMatcher,
        *,
        fpir: float | None = None,
        camera: str | None = None,
        strangers: Strangers | None = None,
        now: Callable[[], datetime] | None = None,
        tracker: Tracker | None = None,
    ) -> None:
        self._matcher, self._fpir, self._camera, self._now = matcher, fpir, camera, now
        self._strangers = Strangers() if strangers is None else strangers
        self._tracker: Tracker = MotionTracker() if tracker is None else tracker
        self._tracks: dict[int, Track] = {}
        self._index: SearchedPeople | None = None
        self._undecided: set[int] = set()
        self._row_tracks: list[Track] = []
        self._row_widths: list[float] = []
        self._seen: list[Identification] = []
        self.faces = self.embedded = 0

    @property
    def seen(self) -> list[Identification]:
        """The faces of the last frame, in the order of its detections, each with the decision on its track."""
        return self._seen

    def template_of(self, track: int) -> TrackTemplate | None:
        """What the views of a track say together; None before the first one, and when the track has left."""
        known = self._tracks.get(track)
        return None if known is None else known.template

    def wanted(self, frame: Frame, found: Detections) -> list[int]:
        """Follows the faces of a frame.

        Args:
            frame: The next one.
            found: Its faces.

        Returns:
            The rows of the faces to embed, since their view is new or better.
        """
        steps = {number: self._tracker.moved(number, frame.time_s) for number in self._tracks}
        numbers = self._tracker.update(found.boxes, frame.time_s)
        alignments = align_faces(found.landmarks)
        self._row_tracks, self._seen = [], []
        self._row_widths = [0.0 if each is None else each.native_px for each in alignments]
        for number, face in zip(numbers, found, strict=True):
            track = self._tracks.setdefault(number, Track(number, face.box, frame.index, frame.time_s))
            track.see(face.box, frame.index, frame.time_s, steps.get(number, _STILL))
            track.together.update(other for other in numbers if other != number)
            self._row_tracks.append(track)
        rows = [
            i
            for i, (track, face, alignment) in enumerate(zip(self._row_tracks, found, alignments, strict=True))
            if track.wants(face, alignment, frame.time_s)
        ]
        self.faces, self.embedded = self.faces + len(found), self.embedded + len(rows)
        return rows

    def update(self, frame: Frame, found: Detections, faces: Mapping[int, Face]) -> list[TrackEvent]:
        """Decides, with the faces that were embedded.

        Args:
            frame: As given to `wanted`.
            found: As given to `wanted`.
            faces: By row.

        Returns:
            What happened.

        Raises:
            GalleryError: The gallery cannot be read.
        """
        events: list[TrackEvent] = []
        for row, face in faces.items():
            if len(face.embedding):
                events += self._add(row, View(face.embedding, face.quality, face.native_px, face.network), frame)
        self._decide()
        events += [event for track in self._row_tracks for event in self._news(track)]
        events += self._left(self._tracker.gone(frame.time_s))
        self._seen = [self._identification(row, track, found, faces.get(row))
                      for row, track in enumerate(self._row_tracks)]  # fmt: skip
        return events

    def _add(self, row: int, view: View, frame: Frame) -> list[TrackEvent]:
        """Adds a view to the track of its face. If the face there is another person's by now, a new track begins."""
        calibration, track = self._matcher.calibration, self._row_tracks[row]
        fuse, views, events = can_fuse(calibration, view.network), [view], list[TrackEvent]()
        curve = curve_between(calibration, fuse_views(views))
        other = None if curve is None else track.doubts(view, curve.threshold(OTHER_PERSON_FMR))
        if other is not None:
            number = self._tracker.split(track.number)
            new = self._tracks[number] = Track(number, track.box, frame.index, frame.time_s, hits=2)
            new.together.update(each.number for each in self._row_tracks if each is not track)
            track.leave()
            events = self._left([track.number])
            self._row_tracks[row], track, views = new, new, [other, view]
            for shown in self._row_tracks:
                if shown is not new:
                    shown.together.add(number)
        elif track.doubtful:
            return []
        for each in views:
            track.add(each, fuse)
        self._undecided.add(track.number)
        return events

    def carry(self, frame: Frame) -> list[Identification]:
        """The faces of a frame in which none were searched for, each moved as its track moves.

        Args:
            frame: One after that of the last `update`.

        Returns:
            The faces of the last `update` with boxes and landmarks where they are expected now. Those that have left
            the picture are left out.
        """
        height, width = frame.image.shape[:2]
        carried = []
        for track, face in zip(self._row_tracks, self._seen, strict=False):  # no `seen` after a failure
            step = self._tracker.moved(track.number, frame.time_s)
            box = np.clip(np.array(face.box) + np.tile(step, 2), 0, [width, height, width, height])
            if (box[2:] - box[:2] >= 1).all():
                x1, y1, x2, y2 = box.tolist()
                carried.append(replace(face, box=(x1, y1, x2, y2), landmarks=face.landmarks + step))
        return carried

    def end(self) -> list[TrackEvent]:
        """Ends every track. Later frames begin new ones."""
        self._row_tracks, self._seen = [], []
        self._tracker.gone(math.inf)
        return self._left(list(self._tracks))

    @property
    def _rate(self) -> float:
        return self._matcher.fpir if self._fpir is None else self._fpir

    def _decide(self) -> None:
        """Decides the tracks with new views; all of them when somebody was enrolled or removed."""
        if not self._undecided and not any(track.template for track in self._row_tracks):
            return
        index = self._matcher.gallery.search_index()
        fresh = [
            track for number, track in self._tracks.items() if index is not self._index or number in self._undecided
        ]
        templates = [(track, track.template) for track in fresh if track.template is not None]
        if templates:
            found = index.candidates(np.stack([template.vector for _, template in templates]), CANDIDATES)
            for (track, template), matches in zip(templates, found, strict=True):
                track.between = curve_between(self._matcher.calibration, template)
                track.decision = decide_track(
                    template, matches, self._matcher.calibration, index.population, self._rate
                )
        self._index = index
        self._undecided.clear()
        decided = [(track, track.decision) for track in self._tracks.values() if track.decision is not None]
        rows = {track.number: i for i, (track, _) in enumerate(decided)}
        together = {
            (min(i, rows[other]), max(i, rows[other]))
            for i, (track, _) in enumerate(decided)
            for other in track.together
            if other in rows
        }
        shown = one_name_each([decision for _, decision in decided], together)
        for (track, _), decision in zip(decided, shown, strict=True):
            track.shown = decision

    def _news(self, track: Track) -> list[TrackEvent]:
        """The events of a track of this frame."""
        if track.hits < MIN_HITS:
            return []
        events = []
        self._tell_strangers_apart(track)
        if not track.told:
            track.told = True
            events.append(self._event(TrackEventKind.APPEARED, track))
        person = None if track.shown is None else track.shown.person
        if person != track.told_person:
            kind = TrackEventKind.IDENTIFIED if track.told_person is None else TrackEventKind.REVISED
            track.told_person = person
            events.append(self._event(kind, track))
        return events

    def _tell_strangers_apart(self, track: Track, leaves: bool = False) -> None:
        if track.template is None or track.shown is None:
            return
        if track.shown.person is not None:
            if track.unknown is not None:
                self._strangers.drop(track.unknown)
            track.unknown = None
        elif track.unknown is not None:
            self._strangers.keep(track.unknown, track.template.vector, track.between, track.time_s)
        elif leaves or track.shown.views >= _VIEWS_OF_STRANGERS or track.time_s - track.first_s >= _PATIENCE_S:
            taken = {self._tracks[n].unknown for n in track.together if n in self._tracks}
            track.unknown = self._strangers.identify(
                track.template.vector,
                track.between,
                self._rate,
                track.time_s,
                {key for key in taken if key is not None},
            )

    def _left(self, numbers: Sequence[int]) -> list[TrackEvent]:
        gone = [self._tracks.pop(number) for number in numbers if number in self._tracks]
        for track in self._tracks.values():  # one that stays for days meets thousands
            track.together.difference_update(numbers)
        for track in gone:
            if track.told:
                self._tell_strangers_apart(track, leaves=True)
        return [self._event(TrackEventKind.LEFT, track) for track in gone if track.told]

    def _event(self, kind: TrackEventKind, track: Track) -> TrackEvent:
        shown = track.shown
        return TrackEvent(
            kind,
            track.number,
            track.time_s,
            track.frame,
            track.box,
            camera=self._camera,
            wall_time=None if self._now is None else self._now(),
            person=None if shown is None else shown.person,
            name=None if shown is None else shown.name,
            similarity=None if shown is None else shown.similarity,
            threshold=None if shown is None else shown.threshold,
            views=0.0 if shown is None else shown.views,
            unknown=track.unknown,
            best_view_quality=None if track.template is None else track.template.quality,
        )

    def _identification(self, row: int, track: Track, found: Detections, face: Face | None) -> Identification:
        one, template, shown, width = found[row], track.template, track.shown, self._row_widths[row]
        landmarks = one.landmarks if face is None else face.landmarks  # of an embedded face they are the better ones
        if template is None or shown is None:
            reason = Reason.TOO_SMALL if width > 0 else Reason.NO_FACE
            level, empty = (0 if face is None else face.level), np.zeros(0, np.float32)
            return Identification(one.box, one.score, landmarks, width, level, empty, None, None, None, reason,
                                  track=track.number, views=0.0)  # fmt: skip
        network = next(
            (each for each in self._matcher.networks.embedders.values() if each.entry.name == template.network), None
        )
        identification = Identification(
            one.box, one.score, landmarks, width, 0 if network is None else network.level, template.vector,
            shown.name, shown.similarity, shown.threshold, shown.reason, shown.candidates, shown.basis,
            shown.gallery_size, quality=template.quality, network=template.network,
        )  # fmt: skip
        return replace(identification, person=shown.person, track=track.number, views=shown.views)
