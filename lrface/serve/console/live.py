"""Live: what each camera shows now."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from lrface.serve.console.rendering import Console

MOST_STREAMS = 4
"""Cameras that are shown as streams of pictures: a browser opens six connections at most to one host."""


def routes(console: Console) -> list[BaseRoute]:
    """The page's routes."""
    service = console.service

    async def live(request: Request) -> Response:
        states = service.frames.states()
        fault = "" if service.watcher is None else service.watcher.state.error or ""
        return console.page(
            request, "live.html", states=states, streams=len(states) <= MOST_STREAMS, fault=fault, part=False
        )

    async def states(request: Request) -> Response:
        return console.page(request, "part_states.html", states=service.frames.states(), part=True)

    return [console.route("/", live), console.route("/live/states", states)]
