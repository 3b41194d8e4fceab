"""The types of the interface's JSON, and how the runtime's objects become them."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from lrface.enrolment.reports import PhotoReport
from lrface.gallery import Person
from lrface.serve.endpoint import Picture
from lrface.serve.trackrecords import StoredEvent, StoredTrack
from lrface.types import Identification, Verification

Limit = Annotated[int, Meta(ge=1, le=500)]
Time = dt.datetime
Text = Annotated[str, Meta(min_length=1, max_length=200)]


class CandidateOut(msgspec.Struct):
    """An enrolled person, compared with a face."""

    name: str
    person: str
    similarity: float
    false_match_rate: float


class FaceOut(msgspec.Struct, omit_defaults=True):
    """A face and the decision who it is, as in docs/json.md."""

    name: str | None
    person: str | None
    similarity: float | None
    false_match_rate: float | None
    threshold: float | None
    reason: str
    box: tuple[float, float, float, float]
    score: float
    landmarks: list[tuple[float, float]]
    native_px: float
    network: str
    level: int
    quality: float | None
    candidates: list[CandidateOut]
    track: int | None = None
    explanation: str | None = None


class FacesOut(msgspec.Struct):
    """The faces of a picture, from left to right."""

    width: int
    height: int
    faces: list[FaceOut]


class VerificationOut(msgspec.Struct):
    """Whether two pictures show the same person."""

    same_person: bool
    similarity: float
    threshold: float
    false_match_rate: float
    max_false_match_rate: float
    explanation: str


class PhotoOut(msgspec.Struct):
    """What became of a photo."""

    photo: str
    status: str
    reason: str
    native_px: float
    quality: float | None


class PersonOut(msgspec.Struct):
    """Somebody who is enrolled."""

    id: str
    name: str
    photos: int
    tags: list[str]
    groups: list[str]
    metadata: dict[str, Any]
    retain_until: str | None


class PeopleOut(msgspec.Struct):
    """A page of people, by name; `next` is given as `after` for the page that follows, null at the end."""

    people: list[PersonOut]
    total: int
    next: str | None


class EnrolledPhotoOut(msgspec.Struct):
    """A photo that is enrolled."""

    sha256: str
    native_px: float
    quality: float | None
    added: str


class TrackOut(msgspec.Struct):
    """A track: one person who passed a camera."""

    id: int
    camera: str
    first_at: Time
    last_at: Time
    open: bool
    person: str | None
    name: str | None
    similarity: float | None
    threshold: float | None
    reason: str | None
    unknown: str | None
    quality: float | None
    native_px: float | None
    views: float | None
    label: str | None
    crops: int


class TracksOut(msgspec.Struct):
    """A page of tracks, the newest first; `next` is given as `before` for the page that follows, null at the end."""

    tracks: list[TrackOut]
    next: int | None


class SeenBefore(msgspec.Struct):
    """An earlier track that was unknown, and looks like the person who is enrolled now."""

    track: TrackOut
    similarity: float
    threshold: float
    explanation: str


class EnrolmentOut(msgspec.Struct):
    """What became of each photo, the person as they are now, and the unknown tracks in which they were seen before."""

    person: PersonOut
    photos: list[PhotoOut]
    seen_before: list[SeenBefore]


class EventOut(msgspec.Struct):
    """An event of a track; `event` is the record of docs/json.md."""

    seq: int
    at: Time
    track: int | None
    event: dict[str, Any]


class EventsOut(msgspec.Struct):
    """A page of events."""

    events: list[EventOut]
    last: int


class CameraOut(msgspec.Struct):
    """A camera at this moment."""

    name: str
    answers: bool
    message: str
    frames: int
    fps: float
    latency_p50_s: float | None
    latency_p99_s: float | None
    frame_at: Time | None
    width: int | None
    height: int | None
    faces: list[FaceOut]
    track_ages_s: list[float]


class IdentifyForm(msgspec.Struct):
    """A picture."""

    picture: Picture


class VerifyForm(msgspec.Struct):
    """Two pictures of one face each."""

    first: Picture
    second: Picture
    max_false_match_rate: float = 0.001


def time_of(seconds: float) -> Time:
    """Seconds since 1970 as a time in UTC."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def seconds_of(time: Time | None) -> float | None:
    """A time as seconds since 1970; one without a zone is UTC."""
    if time is None:
        return None
    return (time if time.tzinfo is not None else time.replace(tzinfo=dt.UTC)).timestamp()


def face_out(face: Identification, explain: bool = False) -> FaceOut:
    """A face as the interface tells it."""
    found = msgspec.convert(face.to_dict(), FaceOut)
    if explain:
        found.explanation = face.explain()
    return found


def verification_out(found: Verification) -> VerificationOut:
    """A comparison as the interface tells it."""
    return VerificationOut(
        found.same_person,
        round(found.similarity, 5),
        round(found.threshold, 5),
        found.false_match_rate,
        found.max_false_match_rate,
        found.explain(),
    )


def person_out(person: Person) -> PersonOut:
    """A person as the interface tells it."""
    return PersonOut(
        person.id, person.name, person.photos, list(person.tags), list(person.groups), dict(person.metadata),
        person.retain_until,
    )  # fmt: skip


def photo_out(report: PhotoReport, name: str) -> PhotoOut:
    """What became of a photo, under the name of its file."""
    reason = report.reason
    return PhotoOut(name or report.photo, str(report.status), reason, round(report.native_px, 1), report.quality)


def track_out(track: StoredTrack) -> TrackOut:
    """A track as the interface tells it."""
    return TrackOut(
        track.id, track.camera, time_of(track.first_at), time_of(track.last_at), track.open, track.person, track.name,
        track.similarity, track.threshold, track.reason, track.unknown, track.quality, track.native_px, track.views,
        track.label, track.crops,
    )  # fmt: skip


def event_out(event: StoredEvent) -> EventOut:
    """An event as the interface tells it."""
    return EventOut(event.seq, time_of(event.at), event.track, event.body)
