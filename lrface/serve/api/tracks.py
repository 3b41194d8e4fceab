"""Tracks: who passed a camera, with the best crops of each."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response

from lrface.serve.access import Role
from lrface.serve.api.shapes import Limit, Time, TrackOut, TracksOut, seconds_of, track_out
from lrface.serve.endpoint import Call, Endpoint
from lrface.serve.problems import Problem
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
)  # fmt: skip
