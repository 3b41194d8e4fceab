"""What somebody says of tracks: this is Ana, this is not Ana, ignore this. The gallery learns; all can be undone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrface.enrolment.reports import PhotoReport, PhotoStatus
from lrface.errors import EnrolmentError, UnknownPersonError
from lrface.gallery import Person, normalise_name
from lrface.gallery.audit import actor
from lrface.serve.people import enrol, person_of
from lrface.serve.problems import Problem
from lrface.serve.recording import CROPS
from lrface.serve.trackrecords import StoredAction, StoredTrack

if TYPE_CHECKING:
    from lrface.serve.service import Service

NAMED, NOT_THIS_PERSON, LABELLED = "named", "not this person", "labelled"
LEARN_MOST = 5
"""Crops enrolled of one group of tracks, the best ones: more of one camera say little new."""


@dataclass(frozen=True, slots=True)
class Named:
    """What became of tracks that were named.

    Attributes:
        action: By which it can be undone.
        person: Who it is, as enrolled now.
        photos: What became of each crop that was offered to the gallery.
    """

    action: StoredAction
    person: Person
    photos: tuple[PhotoReport, ...]


def name_tracks(service: Service, tracks: Sequence[int], who: str, learn: bool = True) -> Named:
    """Says who the person of some tracks is. A person who is not enrolled yet is, from the tracks' best crops.

    Args:
        service: Of which.
        tracks: Ids.
        who: Name or id of a person, or a new name.
        learn: Whether the best crops are enrolled; those that are too poor, or look like somebody else, are not.

    Raises:
        Problem: There is no such track, or nobody is called so and no crop can be enrolled.
        EnrolmentError: The name cannot be used.
    """
    found = _tracks(service, tracks)
    gallery = service.matcher.gallery
    person = _enrolled(service, who)
    made, photos = person is None, list[PhotoReport]()
    crops = _best_crops(service, tracks) if learn or made else []
    hashes = [hashlib.sha256(data).hexdigest() for _, data in crops]
    new = [sha256 for sha256 in hashes if gallery.owner(sha256) is None]
    if person is None and not crops:
        raise Problem(422, f"no picture of {who} is kept: enrol a photo of them first, then name the tracks")
    if crops:
        try:
            person, photos = enrol(service, who if person is None else person.name, crops)
        except EnrolmentError as error:
            photos = [each for each in error.photos if isinstance(each, PhotoReport)]
            if person is None:
                raise
    if person is None:  # the branches above leave nobody out
        raise Problem(404, f"there is nobody called {who}")
    learnt = [
        sha256
        for sha256, report in zip(hashes, photos, strict=False)
        if report.status == PhotoStatus.ENROLLED and sha256 in new
    ]
    gallery.log("tracks named", f"{len(found)} tracks")
    service.store.set_name([track.id for track in found], person.id, person.name)
    body = {"person": person.id, "made": made, "photos": learnt, "tracks": _states(found)}
    return Named(service.store.add_action(actor(), NAMED, body), person, tuple(photos))


def not_this_person(service: Service, track: int) -> StoredAction:
    """Says that a track was named wrongly: it becomes unknown, and a face like it is not named so again.

    Raises:
        Problem: There is no such track, it has no name, or its template is kept no longer.
    """
    (found,) = _tracks(service, [track])
    template = service.store.template(track)
    if found.person is None:
        raise Problem(409, "the track has no name: there is nothing to correct")
    if template is None:
        raise Problem(409, "the template of the track is kept no longer: nothing can be learnt from it")
    person = person_of(service, found.person)
    service.matcher.gallery.add_negative(person.id, template.vector)
    service.store.set_name([track], None, None)
    return service.store.add_action(actor(), NOT_THIS_PERSON, {"person": person.id, "tracks": _states([found])})


def label_tracks(service: Service, tracks: Sequence[int], label: str | None) -> StoredAction:
    """Has tracks left out of what is to be reviewed ("ignored"), or takes them in again (None).

    Raises:
        Problem: There is no such track.
    """
    found = _tracks(service, tracks)
    service.matcher.gallery.log("tracks ignored" if label else "tracks not ignored any more", f"{len(found)} tracks")
    service.store.set_label([track.id for track in found], label)
    return service.store.add_action(actor(), LABELLED, {"person": None, "label": label, "tracks": _states(found)})


def undo(service: Service, action: int) -> StoredAction:
    """Undoes an action: what the gallery learnt by it is taken out, tracks are again what they were.

    Raises:
        Problem: There is no such action, or it was undone already.
    """
    with service.in_step.lock:  # a person who is removed here is not somebody whose tracks are to be deleted
        found = service.store.action(action)
        if found is None:
            raise Problem(404, "there is no such action, or it is too old")
        if found.undone:
            raise Problem(409, "this was undone already")
        body = found.body
        if found.kind == NAMED and _unlearn(service, body):
            service.store.move_person(body["person"], None, None)  # also what the cameras have named meanwhile
            body = {**body, "person": None}
        elif found.kind == NOT_THIS_PERSON:
            for track in body["tracks"]:
                template = service.store.template(track["id"])
                if template is not None:
                    service.matcher.gallery.remove_negative(body["person"], template.vector)
        service.matcher.gallery.log("action undone", found.kind)
        for track in body["tracks"]:
            service.store.set_name([track["id"]], track["person"], track["name"], said=False)
            service.store.set_label([track["id"]], track["label"])
        service.store.mark_undone(action, body)
    return StoredAction(found.id, found.at, found.actor, found.kind, body, True)


def _unlearn(service: Service, body: dict[str, Any]) -> bool:
    """Takes out what was learnt; True if the person was made by it, and is gone with it."""
    gallery = service.matcher.gallery
    try:
        left = {photo.sha256 for photo in gallery.photos(body["person"])}
    except UnknownPersonError:  # removed meanwhile
        return False
    learnt = left & set(body["photos"])
    if body["made"] and learnt == left:
        gallery.remove(body["person"])
        return True
    for sha256 in learnt:
        if len(left) > 1:
            gallery.remove_photo(body["person"], sha256)
            left.discard(sha256)
    return False


def _enrolled(service: Service, who: str) -> Person | None:
    """A person by id or name; None where there is nobody."""
    try:
        return person_of(service, who)
    except Problem:
        normalise_name(who)
        return None


def _tracks(service: Service, tracks: Sequence[int]) -> list[StoredTrack]:
    found = [service.store.track(track) for track in dict.fromkeys(tracks)]
    if not found or None in found:
        raise Problem(404, "there is no such track, or it is kept no longer")
    return [track for track in found if track is not None]


def _best_crops(service: Service, tracks: Sequence[int]) -> list[tuple[str, bytes]]:
    crops = [
        (crop.quality or 0.0, f"track {track}, crop {rank}", crop.jpeg)
        for track in dict.fromkeys(tracks)
        for rank in range(CROPS)
        if (crop := service.store.crop(track, rank)) is not None
    ]
    crops.sort(key=lambda each: -each[0])
    return [(name, data) for _, name, data in crops[:LEARN_MOST]]


def _states(tracks: Sequence[StoredTrack]) -> list[dict[str, Any]]:
    return [{"id": each.id, "person": each.person, "name": each.name, "label": each.label} for each in tracks]
