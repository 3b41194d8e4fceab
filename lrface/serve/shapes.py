"""The types of the interface's JSON, for the service and its clients."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

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


class PersonPatch(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be changed of a person."""

    name: Text | UnsetType = UNSET
    tags: list[Text] | UnsetType = UNSET
    groups: list[Text] | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET
    retain_until: str | UnsetType | None = UNSET


class MergeBody(msgspec.Struct, forbid_unknown_fields=True):
    """The person, by id or name, who stays."""

    into: Text


_Days = Annotated[float, Meta(ge=0, le=3650)]
_Rate = Annotated[float, Meta(gt=0, lt=0.5)]


class HealthOut(msgspec.Struct):
    """The process answers."""

    status: str
    version: str


class ReadyOut(msgspec.Struct):
    """Whether requests can be answered, and what is in the way."""

    ready: bool
    faults: list[str]


class SettingsOut(msgspec.Struct):
    """What was chosen.

    `fpir` is the share of strangers that may be named; events and tracks of people with a name are kept for
    `known_days`, tracks of strangers for `unknown_days` (0: no template or crop of a stranger is kept).
    """

    fpir: float
    known_days: float
    unknown_days: float


class SettingsPatch(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be chosen anew."""

    fpir: _Rate | UnsetType = UNSET
    known_days: _Days | UnsetType = UNSET
    unknown_days: _Days | UnsetType = UNSET


class AuditOut(msgspec.Struct):
    """One change of the gallery."""

    number: int
    at: str
    actor: str
    action: str
    person: str
    detail: str


class MeOut(msgspec.Struct):
    """Who asks; in a session of the console, `csrf` is what changes must repeat in the header `X-CSRF-Token`."""

    name: str
    role: str
    csrf: str | None


Ids = Annotated[list[int], Meta(min_length=1, max_length=1000)]
_Share = Annotated[float, Meta(ge=0, le=1)]


class NameBody(msgspec.Struct, forbid_unknown_fields=True):
    """Tracks, and who it is: the name or id of a person, or a new name. `learn`: their best crops are enrolled."""

    tracks: Ids
    person: Text
    learn: bool = True


class LabelBody(msgspec.Struct, forbid_unknown_fields=True):
    """Tracks that are not to be reviewed ("ignored"), or are again (null)."""

    tracks: Ids
    label: Literal["ignored"] | None


class ActionOut(msgspec.Struct):
    """Something that somebody did with tracks; `id` is what undoes it."""

    id: int
    at: Time
    actor: str
    kind: str
    person: str | None
    tracks: list[int]
    undone: bool


class NamedOut(msgspec.Struct):
    """Who the tracks are now, what became of the crops that were to be enrolled, and what undoes it."""

    action: ActionOut
    person: PersonOut
    photos: list[PhotoOut]


class ZoneOut(msgspec.Struct, forbid_unknown_fields=True):
    """An area of the picture: corners x, y, each from 0 to 1; `min_face` is a height in pixels."""

    name: Annotated[str, Meta(max_length=100)]
    polygon: Annotated[list[tuple[_Share, _Share]], Meta(min_length=3, max_length=100)]
    min_face: Annotated[float, Meta(ge=0, le=10_000)] = 0.0


class ZonesOut(msgspec.Struct, forbid_unknown_fields=True):
    """Where faces count (empty: everywhere), and where none does. `chosen`: here, rather than in the file."""

    zones: Annotated[list[ZoneOut], Meta(max_length=50)]
    masks: Annotated[list[ZoneOut], Meta(max_length=50)]
    chosen: bool = True
