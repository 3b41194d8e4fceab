"""How the runtime's objects become the interface's JSON."""

from __future__ import annotations

import datetime as dt

import msgspec

from lrface.enrolment.reports import PhotoReport
from lrface.gallery import Person
from lrface.serve.shapes import ActionOut, EventOut, FaceOut, PersonOut, PhotoOut, Time, TrackOut, VerificationOut
from lrface.serve.trackrecords import StoredAction, StoredEvent, StoredTrack
from lrface.types import Identification, Verification


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


def action_out(action: StoredAction) -> ActionOut:
    """An action as the interface tells it."""
    tracks = [each["id"] for each in action.body["tracks"]]
    person = action.body["person"]
    return ActionOut(action.id, time_of(action.at), action.actor, action.kind, person, tracks, action.undone)
