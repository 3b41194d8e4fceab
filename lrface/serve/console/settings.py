"""Settings: how many strangers may be named, and how long what was seen is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from lrface.serve.access import Role
from lrface.serve.console.rendering import Console, fields_of, identity_of
from lrface.serve.problems import Problem
from lrface.tracks.decision import CANDIDATES, decide_track

if TYPE_CHECKING:
    from lrface.serve.service import Service

_CHOICES = (10, 30, 100, 300, 1000)
_TRACKS = 200
_LEAST, _MOST = 3, 1_000_000
_MOST_DAYS = 3650.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What a choice would mean for the tracks that are kept.

    Attributes:
        one_in: One stranger in so many is named.
        named: Kept tracks that would have a name.
        chosen: Whether it is the present choice.
    """

    one_in: int
    named: int
    chosen: bool


def routes(console: Console) -> list[BaseRoute]:
    """The page's routes."""
    service = console.service

    async def settings(request: Request) -> Response:
        count, costs = await service.work(identity_of(request), costs_of, service)
        return console.page(
            request, "settings.html", one_in=round(1 / service.matcher.fpir), known_days=service.known_days,
            unknown_days=service.unknown_days, count=count, costs=costs, least=_LEAST, most=_MOST,
            saved="saved" in request.query_params, most_days=_MOST_DAYS, cameras=service.frames.names,
        )  # fmt: skip

    async def choose(request: Request) -> Response:
        fields = await fields_of(request)
        one_in = _number(str(fields.get("one_in", "")), "one stranger in", _LEAST, _MOST)
        known, unknown = (
            _number(str(fields.get(name, "")), "days", 0, _MOST_DAYS) for name in ("known_days", "unknown_days")
        )

        def changed() -> None:
            if round(1 / service.matcher.fpir) != round(one_in):
                service.matcher.gallery.set_fpir(1 / one_in)
            service.choose_retention(known, unknown)

        await service.change(identity_of(request), changed)
        return RedirectResponse("/settings?saved=1", 303)

    return [
        console.route("/settings", settings, Role.ADMIN),
        console.route("/settings", choose, Role.ADMIN, "POST"),
    ]


def costs_of(service: Service) -> tuple[int, list[Cost]]:
    """How many of the newest kept tracks would have a name at several rates; first, how many tracks these are."""
    tracks = service.store.tracks(limit=_TRACKS)
    templates = [each for track in tracks if (each := service.store.template(track.id)) is not None]
    now = round(1 / service.matcher.fpir)
    index, choices = service.matcher.gallery.search_index(), sorted({*_CHOICES, now})
    if not templates:
        return 0, [Cost(each, 0, each == now) for each in choices]
    found = index.candidates(np.stack([template.vector for template in templates]), CANDIDATES)
    costs = []
    for one_in in choices:
        decisions = [
            decide_track(template, matches, service.matcher.calibration, index.population, 1 / one_in)
            for template, matches in zip(templates, found, strict=True)
        ]
        costs.append(Cost(one_in, sum(each.person is not None for each in decisions), one_in == now))
    return len(templates), costs


def _number(text: str, what: str, least: float, most: float) -> float:
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not least <= found <= most:
        raise Problem(422, f"{what}: {text[:40]!a} must be a number from {least:g} to {most:g}")
    return found
