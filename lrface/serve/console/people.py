"""People: enrol by upload, and see why each photo was taken or refused; rename, merge, remove; try a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from lrface.enrolment.checking import check_gallery
from lrface.enrolment.reports import PhotoReport
from lrface.errors import EnrolmentError, LrfaceError
from lrface.gallery import Person
from lrface.inputs.images import read_image
from lrface.serve.access import Role
from lrface.serve.api.people import EnrolForm
from lrface.serve.api.recognition import IdentifyForm
from lrface.serve.console.rendering import MOST_NAMES, Console, fields_of, identity_of
from lrface.serve.endpoint import Picture, read_form
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
from lrface.serve.trial import LATELY_S, Trial, try_photo
from lrface.types import Identification

if TYPE_CHECKING:
    from lrface.serve.service import Service

_MOST_SHOWN = 500
_MOST_COMPARED = 6  # tracks that are shown beside a photo that is tried


class _UploadForm(EnrolForm):
    """As of the REST interface; htmx leaves an empty field of files out."""

    photos: list[Picture] = msgspec.field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What an upload did.

    Attributes:
        person: As enrolled now.
        photos: What became of each.
        sighted: Earlier unknown tracks that look like the person.
    """

    person: Person
    photos: list[PhotoReport]
    sighted: list[Sighted]


def routes(console: Console) -> list[BaseRoute]:
    """The pages' routes."""
    service = console.service
    gallery = service.matcher.gallery

    async def people(request: Request) -> Response:
        search = request.query_params.get("search", "").strip()
        after = request.query_params.get("after", "")
        found, count = await service.read(service.names.page, search, after, _MOST_SHOWN + 1)
        shown = found[:_MOST_SHOWN]
        return console.page(
            request, "people.html", people=shown, total=len(gallery), found=count, search=search, after=after,
            following=urlencode({"search": search, "after": shown[-1].name}) if len(found) > _MOST_SHOWN else "",
            photos=service.options.limits.photos,
        )  # fmt: skip

    async def upload(request: Request) -> Response:
        form = await read_form(request, _UploadForm, service)
        # the input for a folder, or that for files, was left empty
        pictures = [(each.name, each.data) for each in form.photos if each.data or each.name]
        if not pictures:
            raise Problem(422, "no photo was chosen: choose files or a folder, or drop them on the form")
        try:
            done = await service.work(identity_of(request), _enrolled, service, form.name.strip(), pictures, form.force)
        except EnrolmentError as error:
            raise Problem(422, str(error), photos=error.photos) from error
        answer = console.page(request, "part_enrolled.html", done=done)
        answer.headers["HX-Trigger"] = "enrolled"  # the list on the page shows the person
        return answer

    async def try_picture(request: Request) -> Response:
        form, limits = await read_form(request, IdentifyForm, service), service.options.limits

        def found() -> tuple[list[Identification], Trial]:
            image = read_image(form.picture.data, max_pixels=limits.pixels, max_bytes=limits.picture_bytes)
            return service.matcher.identify(image), try_photo(service, form.picture.data)

        faces, trial = await service.work(identity_of(request), found)
        return console.page(
            request, "part_tried.html", faces=faces, picture=form.picture.name, trial=trial, shown=_MOST_COMPARED,
            minutes=round(LATELY_S / 60), watched=service.watcher is not None, strangers=service.unknown_days > 0,
        )  # fmt: skip

    async def check(request: Request) -> Response:
        findings = await service.work(identity_of(request), check_gallery, gallery, service.matcher.calibration)
        return console.page(request, "check.html", findings=findings)

    async def person(request: Request) -> Response:
        who = await service.read(person_of, service, request.path_params["person"])
        photos = await service.read(gallery.photos, who.id)
        sighted = await service.work(identity_of(request), seen_before, service, who.id)
        tracks = await service.read(service.store.tracks, person=who.id, limit=12)
        others = [name for name in await service.read(service.names.first, MOST_NAMES) if name != who.name]
        return console.page(
            request, "person.html", person=who, photos=photos, sighted=sighted, tracks=tracks, others=others
        )

    async def change(request: Request) -> Response:
        fields, who = await fields_of(request), identity_of(request)
        given, what = request.path_params["person"], request.path_params["what"]
        if what == "rename":
            await service.change(who, rename_person, service, given, str(fields.get("name", "")))
        elif what == "merge":
            kept = await service.change(who, merge_people, service, given, str(fields.get("into", "")))
            return RedirectResponse(f"/people/{kept.id}", 303)
        elif what == "remove-photo":
            await service.change(who, gallery.remove_photo, given, str(fields.get("sha256", "")))
        else:
            raise Problem(404, "there is no such page")
        return RedirectResponse(f"/people/{given}", 303)

    async def remove(request: Request) -> Response:
        fields = await fields_of(request)
        if "sure" not in fields:
            raise Problem(422, "nothing was removed: tick that you are sure, then remove")
        await service.change(identity_of(request), remove_person, service, request.path_params["person"])
        return RedirectResponse("/people", 303)

    return [
        console.route("/people", people),
        console.route("/people", upload, Role.OPERATOR, "POST"),
        console.route("/people/try", try_picture, method="POST"),
        console.route("/people/check", check),
        console.route("/people/{person}", person),
        console.route("/people/{person}/remove", remove, Role.ADMIN, "POST"),
        console.route("/people/{person}/{what}", change, Role.OPERATOR, "POST"),
    ]


def _enrolled(service: Service, name: str, pictures: list[tuple[str, bytes]], force: bool) -> Enrolled:
    person, photos = enrol(service, name, pictures, force)
    try:
        sighted = seen_before(service, person.id)
    except LrfaceError:  # the photos are enrolled all the same: say so
        sighted = []
    return Enrolled(person, photos, sighted)
