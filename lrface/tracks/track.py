"""One track: its views, which of its faces are worth an embedding, its decision."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lrface.alignment import Alignment
from lrface.decisions.curves import ImpostorCurve
from lrface.geometry import box_iou, transform_points
from lrface.tracks.decision import TrackDecision
from lrface.tracks.template import TrackTemplate, View, fuse_views
from lrface.types import Box, Detection, FloatArray

MAX_VIEWS = 32
"""Views kept of a track; the least ones go first."""

_FIRST_VIEWS = 2  # are embedded without a question
_LARGER = 1.15  # times as wide as any view: a better one
_OTHER_POSE = 4.0  # mean distance of the landmarks from any view's, in pixels of the 112x112 crop: a new one
_SURER = 0.7  # times the expected error of the landmarks: a better one
_MOST_DOUBTS = 4  # views in a row that fit neither the track nor each other: then none is asked for
_JUMP = 0.5  # overlap (IoU) with the box that was expected: below, the face is embedded
_STEADY = 0.7  # from this overlap on in each frame, it is surely the same face: it has turned, or is hidden in part
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0  # after which a view that looks like the others is tried all the same


@dataclass(slots=True)
class Track:
    """What is known of a track.

    Attributes:
        number: From 1.
        box, frame, time_s: Where and when it was seen last.
        first_s: When it was seen first.
        hits: Frames with its face.
        views: Its embedded faces.
        template: Of the views; None before the first.
        decision: On the template, by itself.
        between: How often tracks like it resemble those of other people; None where that was not measured.
        shown: The decision with regard to the other tracks; what is reported.
        together: Numbers of the tracks that were seen in one frame with it.
        unknown: Identifier of the stranger.
        told: The event `appeared` was told.
        told_person: The person that was told last.
    """

    number: int
    box: Box
    frame: int
    time_s: float
    first_s: float = field(init=False)
    hits: int = 0
    views: list[View] = field(default_factory=list)
    template: TrackTemplate | None = None
    decision: TrackDecision | None = None
    between: ImpostorCurve | None = None
    shown: TrackDecision | None = None
    together: set[int] = field(default_factory=set)
    unknown: str | None = None
    told: bool = False
    told_person: str | None = None
    _jumped: bool = False
    _overlap: float = 1.0
    _doubted: View | None = None
    _doubts: int = 0
    _before: tuple[Box, int, float] | None = None
    _sure: tuple[Box, int, float] | None = None
    _shapes: list[FloatArray] = field(default_factory=list)
    _widest: float = 0.0
    _surest: float = np.inf
    _due_s: float = 0.0
    _pause_s: float = _FIRST_PAUSE_S

    def __post_init__(self) -> None:
        self.first_s = self.time_s

    def see(self, box: Box, frame: int, time_s: float, step: FloatArray) -> None:
        """Takes note of where the face is now.

        Args:
            box: Its box.
            frame: Number of the frame.
            time_s: Of the frame.
            step: How far it was expected to move since the last one [2].
        """
        last = np.array(self.box, np.float32)
        expected = np.stack([last, last + np.tile(step, 2)])  # where it was, too: who turns round stands still at once
        overlap = float(box_iou(expected, np.array([box], np.float32)).max())
        self._jumped, self._overlap = overlap < _JUMP, min(overlap, self._overlap)
        self._before = self.box, self.frame, self.time_s
        self.box, self.frame, self.time_s = box, frame, time_s
        self.hits += 1

    def wants(self, face: Detection, alignment: Alignment | None, time_s: float) -> bool:
        """Whether a face says something new: it jumped, is larger, surer or of another pose, or a while has passed.

        Args:
            face: Of this track.
            alignment: Of the face; None where its landmarks form none.
            time_s: Of the frame.
        """
        if alignment is None:
            return False
        shape = transform_points(face.landmarks, alignment.matrix)
        apart = np.inf
        if self._shapes:
            away = np.stack(self._shapes) - shape
            apart = float(np.sqrt(np.einsum("npc,npc->np", away, away)).mean(axis=1).min())
        error = np.inf if face.landmark_error is None else face.landmark_error
        news = (
            len(self._shapes) < _FIRST_VIEWS
            or self._jumped
            or 0 < self._doubts < _MOST_DOUBTS
            or alignment.native_px > _LARGER * self._widest
            or apart > _OTHER_POSE
            or error < _SURER * self._surest
        )
        if not news and time_s < self._due_s:
            return False
        self._pause_s = _FIRST_PAUSE_S if news else min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self._due_s = time_s + self._pause_s
        self._shapes = [*self._shapes[-MAX_VIEWS:], shape]
        self._widest, self._surest = max(self._widest, alignment.native_px), min(self._surest, error)
        return True

    def doubts(self, view: View, least: float) -> View | None:
        """Looks whether a new view is another person's: where a camera cuts, or one face passes in front of another.

        Only where the face moved otherwise than expected since the last view that fitted: one that turns away looks
        like somebody else, too, above all a small one.

        Args:
            view: Not yet added. It may only be if it fits.
            least: Similarity below which two views are rather of two people.

        Returns:
            The view before, if both are of one person who is not this track's; else None.
        """
        fits = self.template is None or float(self.template.vector @ view.vector) >= least
        if fits or len(self.views) < _FIRST_VIEWS or self._overlap >= _STEADY:
            self._doubted, self._doubts, self._overlap = None, 0, 1.0
            return None
        if not self._doubts:
            self._sure = self._before
        before, self._doubted = self._doubted, view
        self._doubts += 1
        return before if before is not None and float(before.vector @ view.vector) >= least else None

    @property
    def doubtful(self) -> bool:
        """The last view was not this person's, as it seems."""
        return self._doubts > 0

    def leave(self) -> None:
        """Goes back to where the face was last surely seen."""
        if self._sure is not None:
            self.box, self.frame, self.time_s = self._sure

    def add(self, view: View, fuse: bool = True) -> None:
        """Adds a view; without `fuse` only the best one is kept."""
        self.views.append(view)
        if len(self.views) > (MAX_VIEWS if fuse else 1):
            self.views.remove(min(self.views, key=lambda each: (each.weight, each.native_px)))
        self.template = fuse_views(self.views)
