"""What is said of a track: it appeared, was identified, got another name, left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from lrface.types import Box

VERSION = 1
"""Of the record. Raised when a field is removed, renamed, or changes its meaning; new fields may come without."""


class TrackEventKind(StrEnum):
    """What happened to a track; each is equal to its text."""

    APPEARED = "appeared"
    """A new track: a face was seen in a few frames."""
    IDENTIFIED = "identified"
    """A track that had no name got one."""
    REVISED = "revised"
    """A track lost its name or got another one, because better views came."""
    LEFT = "left"
    """The face was not seen for a while, or the source ended: the last event of the track, with its final name."""


@dataclass(frozen=True, slots=True)
class TrackEvent:
    """Something that happened to a track.

    Attributes:
        kind: What happened.
        track: Number of the track, from 1; never used again within a run.
        time_s: Seconds since the first frame of the source; of `left`, when the face was last seen.
        frame: Number of the frame in its source, from 0; of `left`, the last one with the face.
        box: x1, y1, x2, y2 of the face in that frame, pixels.
        camera: Name of the camera; None where there is one source without a name.
        wall_time: When it happened, with a time zone; None of a recording.
        person: UUID of the person in the gallery; None while the track is unknown.
        name: Of the person; None while the track is unknown.
        similarity: Cosine of the track's template and the likeliest person's, -1..1; None without a candidate.
        threshold: What the similarity had to reach; None without a candidate.
        views: Effective number of views behind the decision: equal views count once. 0 before the first.
        unknown: Of a stranger, an identifier that stays the same when the stranger comes back; None for a person with a
            name, before the evidence suffices to tell strangers apart, and where strangers are not kept.
        best_view_quality: Quality of the best view, 0..1; None where the network gives none.
    """

    kind: TrackEventKind
    track: int
    time_s: float
    frame: int
    box: Box
    camera: str | None = None
    wall_time: datetime | None = None
    person: str | None = None
    name: str | None = None
    similarity: float | None = None
    threshold: float | None = None
    views: float = 0.0
    unknown: str | None = None
    best_view_quality: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The record of docs/json.md, ready for JSON. `wall_time` is ISO 8601."""
        return {
            "version": VERSION,
            "event": str(self.kind),
            "camera": self.camera,
            "track": self.track,
            "time_s": round(self.time_s, 3),
            "wall_time": None if self.wall_time is None else self.wall_time.isoformat(timespec="milliseconds"),
            "frame": self.frame,
            "box": [round(float(v), 2) for v in self.box],
            "person": self.person,
            "name": self.name,
            "similarity": _rounded(self.similarity),
            "threshold": _rounded(self.threshold),
            "views": round(self.views, 2),
            "unknown": self.unknown,
            "best_view_quality": _rounded(self.best_view_quality),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 5)
