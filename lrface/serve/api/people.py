"""People: enrol, list, rename, merge, remove; their photos."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta

from lrface.errors import EnrolmentError
from lrface.serve.access import Role
from lrface.serve.api.convert import person_out, photo_out, track_out
from lrface.serve.endpoint import Call, Endpoint, Picture
from lrface.serve.people import (
    Sighted,
    enrol,
    merge_people,
    person_of,
    remove_person,
    rename_person,
    seen_before,
)
from lrface.serve.problems import Problem
from lrface.serve.shapes import (
    EnrolledPhotoOut,
    EnrolmentOut,
    Limit,
    MergeBody,
    PeopleOut,
    PersonOut,
    PersonPatch,
    SeenBefore,
    Text,
)


class EnrolForm(msgspec.Struct):
    """A person's name and photos; `force` takes photos that are too poor, or look like somebody else."""

    name: Text
    photos: list[Picture]
    force: bool = False


class PhotosForm(msgspec.Struct):
    """More photos of a person."""

    photos: list[Picture]
    force: bool = False


class PeopleQuery(msgspec.Struct):
    """Which people: those after a name, those whose name holds a text."""

    after: str = ""
    search: Annotated[str, Meta(max_length=200)] = ""
    limit: Limit = 100


def sighted_out(sighted: Sighted) -> SeenBefore:
    """A sighting as the interface tells it."""
    decision = sighted.decision
    similarity, threshold = decision.similarity or 0.0, decision.threshold or 0.0
    why = f"similarity {similarity:.2f} reaches {threshold:.2f}. The threshold: {decision.basis}."
    return SeenBefore(track_out(sighted.track), round(similarity, 5), round(threshold, 5), why)


async def list_people(call: Call) -> PeopleOut:
    """A page of people."""
    query: PeopleQuery = call.query
    found, total = await call.service.read(call.service.names.page, query.search, query.after, query.limit + 1)
    page = found[: query.limit]
    return PeopleOut([person_out(each) for each in page], total, page[-1].name if len(found) > query.limit else None)


async def enrol_person(call: Call) -> EnrolmentOut:
    """Enrols somebody."""
    return await _enrol(call, call.body.name, call.body)


async def add_photos(call: Call) -> EnrolmentOut:
    """Enrols more photos of somebody."""
    person = await call.service.read(person_of, call.service, call.path("person"))
    return await _enrol(call, person.name, call.body)


async def _enrol(call: Call, name: str, form: EnrolForm | PhotosForm) -> EnrolmentOut:
    service = call.service
    pictures = [(each.name, each.data) for each in form.photos]

    def enrolled() -> EnrolmentOut:
        try:
            person, reports = enrol(service, name, pictures, form.force)
        except EnrolmentError as error:
            photos = [msgspec.to_builtins(photo_out(each, "")) for each in error.photos]  # type: ignore[arg-type]
            raise Problem(422, str(error), photos=photos) from error
        sighted = [sighted_out(each) for each in seen_before(service, person.id)]
        return EnrolmentOut(person_out(person), [photo_out(each, "") for each in reports], sighted)

    return await service.work(call.who, enrolled)


async def show_person(call: Call) -> PersonOut:
    """One person."""
    return person_out(await call.service.read(person_of, call.service, call.path("person")))


async def change_person(call: Call) -> PersonOut:
    """Renames somebody; changes tags, groups, metadata, retention."""
    service, patch = call.service, call.body
    gallery = service.matcher.gallery

    def changed() -> PersonOut:
        person = person_of(service, call.path("person"))
        if patch.name is not UNSET:
            rename_person(service, person.id, patch.name)
        if patch.tags is not UNSET:
            gallery.set_tags(person.id, patch.tags)
        if patch.groups is not UNSET:
            gallery.set_groups(person.id, patch.groups)
        if patch.metadata is not UNSET:
            gallery.set_metadata(person.id, patch.metadata)
        if patch.retain_until is not UNSET:
            gallery.set_retention(person.id, patch.retain_until)
        return person_out(gallery.person(person.id))

    return await service.change(call.who, changed)


async def merge_person(call: Call) -> PersonOut:
    """Makes two entries one."""
    return person_out(
        await call.service.change(call.who, merge_people, call.service, call.path("person"), call.body.into)
    )


async def delete_person(call: Call) -> None:
    """Removes somebody."""
    await call.service.change(call.who, remove_person, call.service, call.path("person"))


async def list_photos(call: Call) -> list[EnrolledPhotoOut]:
    """The photos of a person."""

    def listed() -> list[EnrolledPhotoOut]:
        person = person_of(call.service, call.path("person"))
        photos = call.service.matcher.gallery.photos(person.id)
        return [EnrolledPhotoOut(each.sha256, each.native_px, each.quality, each.added) for each in photos]

    return await call.service.read(listed)


async def delete_photo(call: Call) -> None:
    """Removes one photo."""

    def removed() -> None:
        person, sha256 = person_of(call.service, call.path("person")), call.path("sha256")
        gallery = call.service.matcher.gallery
        if sha256 not in [photo.sha256 for photo in gallery.photos(person.id)]:
            raise Problem(404, f"{person.name} has no such photo: list them at /v1/people/{person.id}/photos")
        gallery.remove_photo(person.id, sha256)

    await call.service.change(call.who, removed)


async def list_seen_before(call: Call) -> list[SeenBefore]:
    """Unknown tracks that look like a person."""

    def listed() -> list[SeenBefore]:
        person = person_of(call.service, call.path("person"))
        return [sighted_out(each) for each in seen_before(call.service, person.id)]

    return await call.service.work(call.who, listed)


_ONE = "/v1/people/{person}"
ENDPOINTS = (
    Endpoint("GET", "/v1/people", Role.VIEWER, "List people by name.", list_people, PeopleOut, PeopleQuery,
             client="people"),
    Endpoint("POST", "/v1/people", Role.OPERATOR, "Enrol photos of somebody, new or enrolled already; say in which "
             "unknown tracks they were seen before.", enrol_person, EnrolmentOut, form=EnrolForm, status=201,
             client="enrol"),
    Endpoint("GET", _ONE, Role.VIEWER, "Show a person, by id or name.", show_person, PersonOut, client="person"),
    Endpoint("PATCH", _ONE, Role.OPERATOR, "Rename a person; change tags, groups, metadata, retention.", change_person,
             PersonOut, body=PersonPatch, client="change_person"),
    Endpoint("DELETE", _ONE, Role.ADMIN, "Remove a person with every template, track and event.", delete_person,
             status=204, client="remove_person"),
    Endpoint("POST", f"{_ONE}/merge", Role.OPERATOR, "Move everything of a person to another one: they are the same.",
             merge_person, PersonOut, body=MergeBody, client="merge_person"),
    Endpoint("GET", f"{_ONE}/photos", Role.VIEWER, "List the enrolled photos of a person.", list_photos,
             list[EnrolledPhotoOut], client="photos"),
    Endpoint("POST", f"{_ONE}/photos", Role.OPERATOR, "Enrol more photos of a person.", add_photos, EnrolmentOut,
             form=PhotosForm, status=201, client="add_photos"),
    Endpoint("DELETE", f"{_ONE}/photos/{{sha256}}", Role.OPERATOR, "Remove one photo of a person.", delete_photo,
             status=204, client="remove_photo"),
    Endpoint("GET", f"{_ONE}/seen-before", Role.VIEWER, "List kept unknown tracks that look like a person.",
             list_seen_before, list[SeenBefore], client="seen_before"),
)  # fmt: skip
