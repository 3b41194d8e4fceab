"""Tracks: who passed a camera, with the best crops of each."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response

from lrface.serve.access import Role
from lrface.serve.api.convert import action_out, person_out, photo_out, seconds_of, track_out
from lrface.serve.endpoint import Call, Endpoint
from lrface.serve.problems import Problem
from lrface.serve.review import label_tracks, name_tracks, not_this_person, undo
from lrface.serve.shapes import ActionOut, LabelBody, Limit, NameBody, NamedOut, Time, TrackOut, TracksOut
from lrface.serve.trackrecords import StoredTrack


class TracksQuery(msgspec.Struct):
    """Which tracks; `unknown`: only those without a name and without a label."""

    before: Annotated[int, Meta(ge=1)] | None = None
    since: Time | None = None
    until: Time | None = None
    camera: str | None = None
    person: str | None = None
    unknown: bool = False
    label: Literal["ignored"] | None = None
    limit: Limit = 100


class ActionsQuery(msgspec.Struct):
    """How many actions, the newest first."""

    limit: Limit = 100


class CropQuery(msgspec.Struct):
    """Which crop, 0 for the best one."""

    rank: Annotated[int, Meta(ge=0, le=10)] = 0


async def list_tracks(call: Call) -> TracksOut:
    """A page of tracks."""
    query = call.query
    found = await call.service.read(
        call.service.store.tracks,
        before=query.before, since=seconds_of(query.since), until=seconds_of(query.until), camera=query.camera,
        person=query.person, unknown=query.unknown, label=query.label, limit=query.limit,
    )  # fmt: skip
    return TracksOut([track_out(each) for each in found], found[-1].id if len(found) == query.limit else None)


async def show_track(call: Call) -> TrackOut:
    """One track."""
    return track_out(await _track(call))


async def crop(call: Call) -> Response:
    """A crop, as JPEG."""
    found = await call.service.read(call.service.store.crop, int(call.path("track")), call.query.rank)
    if found is None:
        raise Problem(404, "there is no such crop, or it is kept no longer")
    return Response(found.jpeg, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=60"})


async def name(call: Call) -> NamedOut:
    """Says who some tracks are."""
    body: NameBody = call.body

    def named() -> NamedOut:
        done = name_tracks(call.service, body.tracks, body.person, body.learn)
        return NamedOut(action_out(done.action), person_out(done.person), [photo_out(each, "") for each in done.photos])

    return await call.service.work(call.who, named)


async def label(call: Call) -> ActionOut:
    """Ignores tracks, or no longer."""
    return action_out(
        await call.service.change(call.who, label_tracks, call.service, call.body.tracks, call.body.label)
    )


async def correct(call: Call) -> ActionOut:
    """Says that a track was named wrongly."""
    return action_out(await call.service.change(call.who, not_this_person, call.service, int(call.path("track"))))


async def list_actions(call: Call) -> list[ActionOut]:
    """What was done."""
    return [action_out(each) for each in await call.service.read(call.service.store.actions, call.query.limit)]


async def undo_action(call: Call) -> ActionOut:
    """Undoes an action."""
    return action_out(await call.service.change(call.who, undo, call.service, int(call.path("action"))))


async def _track(call: Call) -> StoredTrack:
    found = await call.service.read(call.service.store.track, int(call.path("track")))
    if found is None:
        raise Problem(404, "there is no such track, or it is kept no longer")
    return found


_ONE = "/v1/tracks/{track:int}"
ENDPOINTS = (
    Endpoint("GET", "/v1/tracks", Role.VIEWER, "List tracks, filtered, in pages.", list_tracks, TracksOut, TracksQuery,
             client="tracks"),
    Endpoint("GET", _ONE, Role.VIEWER, "Show a track.", show_track, TrackOut, client="track"),
    Endpoint("GET", f"{_ONE}/crop.jpg", Role.VIEWER, "Get a crop of a track's face.", crop, None, CropQuery,
             media="image/jpeg", client="crop"),
    Endpoint("POST", f"{_ONE}/not-this-person", Role.OPERATOR, "Say that a track was named wrongly; the gallery "
             "learns it.", correct, ActionOut, client="not_this_person"),
    Endpoint("POST", "/v1/tracks/name", Role.OPERATOR, "Say who some tracks are; the gallery learns their best crops.",
             name, NamedOut, body=NameBody, client="name_tracks"),
    Endpoint("POST", "/v1/tracks/label", Role.OPERATOR, "Leave tracks out of the review, or take them in again.", label,
             ActionOut, body=LabelBody, client="label_tracks"),
    Endpoint("GET", "/v1/actions", Role.VIEWER, "List what was done with tracks, the newest first.", list_actions,
             list[ActionOut], ActionsQuery, client="actions"),
    Endpoint("POST", "/v1/actions/{action:int}/undo", Role.OPERATOR, "Undo an action; the gallery unlearns it.",
             undo_action, ActionOut, client="undo"),
)  # fmt: skip
