"""What the service does with people: enrol, and keep the store's tracks and events in step with the gallery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lrface.enrolment.reports import PhotoReport
from lrface.errors import EnrolmentError, UnknownPersonError
from lrface.gallery import Person, normalise_name
from lrface.gallery.records import UUID
from lrface.serve.problems import Problem
from lrface.serve.trackrecords import StoredTrack
from lrface.tracks.decision import CANDIDATES, TrackDecision, decide_track
from lrface.types import FloatArray

if TYPE_CHECKING:
    from lrface.serve.service import Service


_MOST_COMPARED = 500  # tracks, the most similar ones: a decision takes a millisecond, and there may be 100,000


@dataclass(frozen=True, slots=True)
class Sighted:
    """An unknown track that would have this person's name now.

    Attributes:
        track: As it is kept.
        decision: Who it is, by the people and thresholds of this moment.
    """

    track: StoredTrack
    decision: TrackDecision


def person_of(service: Service, who: str) -> Person:
    """A person by id or name.

    Raises:
        Problem: There is none.
    """
    try:
        return service.matcher.gallery.person(who)
    except UnknownPersonError as error:
        called = "of this id" if UUID.fullmatch(who) else f"called {who[:200]!r}"
        raise Problem(
            404, f"nobody {called} is enrolled (any more): see who is, on the page People or at /v1/people"
        ) from error


def enrol(
    service: Service, name: str, pictures: Sequence[tuple[str, bytes]], force: bool = False
) -> tuple[Person, list[PhotoReport]]:
    """Enrols photos of one person; what is reported as enrolled is on the disk.

    Args:
        service: Of which.
        name: Of the person, who may be enrolled already.
        pictures: Names and contents of picture files.
        force: See `FaceMatcher.enroll`.

    Raises:
        EnrolmentError: No photo was usable; `photos` says why.
        GalleryError: The gallery cannot be written; nothing of this call is stored.
    """
    matcher = service.matcher
    names = [given for given, _ in pictures]
    try:
        report = matcher.enroll(name, [data for _, data in pictures], force=force)
    except EnrolmentError as error:
        error.photos = tuple(_named(error.photos, names))
        raise
    return matcher.gallery.person(normalise_name(name)), _named(report.photos, names)


def seen_before(service: Service, person: str, limit: int = 50) -> list[Sighted]:
    """The kept unknown tracks that would have this person's name now, the newest first.

    The thresholds are those of tracks, with the gallery of this moment. A track that was marked as somebody else
    (`negative example`), or that looks more like another person, is not among them.
    """
    matcher, found = service.matcher, list[Sighted]()
    kept = service.store.unknown_templates()
    if not kept:
        return []
    index = matcher.gallery.search_index()
    own = np.stack([photo.embedding for photo in matcher.gallery.photos(person)]).mean(axis=0)
    likeness = np.stack([template.vector for _, template in kept]) @ own
    kept = [kept[i] for i in np.sort(np.argsort(-likeness)[:_MOST_COMPARED])]
    vectors: FloatArray = np.stack([template.vector for _, template in kept])
    for (track, template), matches in zip(kept, index.candidates(vectors, CANDIDATES), strict=True):
        decision = decide_track(template, matches, matcher.calibration, index.population, matcher.fpir)
        if decision.person == person and (stored := service.store.track(track)) is not None:
            found.append(Sighted(stored, decision))
    return found[::-1][:limit]


def remove_person(service: Service, who: str) -> Person:
    """Removes a person with every template, and their tracks, crops and events, also those that wait for receivers."""
    person = person_of(service, who)
    service.matcher.gallery.remove(person.id)
    service.matcher.gallery.compact()  # SQLite may have left copies of the rows
    service.forget_person(person.id)
    return person


def rename_person(service: Service, who: str, name: str) -> Person:
    """Gives a person another name, in what is kept of the past, too."""
    person = person_of(service, who)
    service.matcher.gallery.rename(person.id, name)
    renamed = service.matcher.gallery.person(person.id)
    service.store.rename_person(person.id, renamed.name)
    return renamed


def merge_people(service: Service, who: str, into: str) -> Person:
    """Makes two entries one."""
    gone, kept = person_of(service, who), person_of(service, into)
    service.matcher.gallery.merge(gone.id, kept.id)
    service.store.move_person(gone.id, kept.id, kept.name)
    return service.matcher.gallery.person(kept.id)


def _named(photos: Sequence[object], names: Sequence[str]) -> list[PhotoReport]:
    """Reports under the names of the files instead of "photo 1"."""
    reports = [photo for photo in photos if isinstance(photo, PhotoReport)]
    return [replace(each, photo=name or each.photo) for each, name in zip(reports, names, strict=False)]
