"""Events: pages of what is stored, and a stream of what happens (server-sent events)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response

from lrface.serve.access import Role
from lrface.serve.api.convert import event_out, seconds_of
from lrface.serve.endpoint import Call, Endpoint
from lrface.serve.shapes import EventsOut, Limit, Time
from lrface.serve.streams import EndlessResponse

_QUIET_S = 15.0  # then a comment is sent, by which a connection that is gone is noticed
_PAGE = 100

Kind = Literal["appeared", "identified", "revised", "left"]


class EventsQuery(msgspec.Struct):
    """Which events; with `after` the oldest come first, else the newest."""

    after: Annotated[int, Meta(ge=0)] | None = None
    before: Annotated[int, Meta(ge=1)] | None = None
    since: Time | None = None
    until: Time | None = None
    camera: str | None = None
    person: str | None = None
    kind: Kind | None = None
    unknown: bool = False
    limit: Limit = 100


class StreamQuery(msgspec.Struct):
    """From which event on: after this one; without it (and without `Last-Event-ID`) from now on."""

    after: Annotated[int, Meta(ge=0)] | None = None
    camera: str | None = None
    person: str | None = None


async def list_events(call: Call) -> EventsOut:
    """A page of events."""
    query, store = call.query, call.service.store

    def listed() -> EventsOut:
        found = store.events(
            after=query.after, before=query.before, since=seconds_of(query.since), until=seconds_of(query.until),
            camera=query.camera, person=query.person, kind=query.kind, unknown=query.unknown, limit=query.limit,
        )  # fmt: skip
        return EventsOut([event_out(each) for each in found], store.last_event())

    return await call.service.read(listed)


async def stream_events(call: Call) -> Response:
    """Events as they happen; each has its `seq` as id, so that a client goes on after the last one it got."""
    query, service = call.query, call.service
    given = call.request.headers.get("last-event-id", "")
    last = int(given) if given.isdecimal() and len(given) < 19 else query.after
    if last is None:
        last = await service.read(service.store.last_event)

    async def lines(last: int) -> AsyncIterator[bytes]:
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def told() -> None:
            loop.call_soon_threadsafe(news.set)

        end = service.store.on_events(told)
        try:
            yield b"retry: 2000\n\n"
            while not service.closing.is_set():
                news.clear()
                page = await service.read(
                    service.store.events, after=last, camera=query.camera, person=query.person, limit=_PAGE
                )
                for each in page:
                    last = each.seq
                    body = msgspec.json.encode(event_out(each)).decode()
                    yield f"id: {each.seq}\nevent: {each.body['event']}\ndata: {body}\n\n".encode()
                if len(page) == _PAGE:
                    continue
                try:
                    async with asyncio.timeout(_QUIET_S):
                        await service.news_or_end(news)
                except TimeoutError:
                    yield b": nothing new\n\n"
        finally:
            end()

    return EndlessResponse(service, lines(last), "text/event-stream")


ENDPOINTS = (
    Endpoint("GET", "/v1/events", Role.VIEWER, "List stored events, filtered, in pages.", list_events, EventsOut,
             EventsQuery, client="events"),
    Endpoint("GET", "/v1/events/stream", Role.VIEWER, "Get events as they happen (server-sent events of `EventOut`).",
             stream_events, None, StreamQuery, media="text/event-stream", client="stream"),
)  # fmt: skip
