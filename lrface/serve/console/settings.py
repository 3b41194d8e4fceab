"""Settings: how many strangers may be named and what it costs, and how long what was seen is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from lrface.decisions.expectation import WIDTHS, expected_missed, expected_tracks_missed, networks_at
from lrface.enrolment.leave_one_out import RATES, Recognition, leave_one_out
from lrface.gallery.protocol import SearchedPeople
from lrface.serve.access import Role
from lrface.serve.console.rendering import Console, fields_of, identity_of
from lrface.serve.problems import Problem
from lrface.tracks.decision import CANDIDATES, decide_track
from lrface.tracks.left_out import TrackRecognition, tracks_left_out

if TYPE_CHECKING:
    from lrface.serve.service import Service

_TRACKS = 200
_LEAST, _MOST = 3, 1_000_000
_MOST_DAYS = 3650.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What a choice would mean for the people who are enrolled, and for the tracks that are kept.

    Attributes:
        one_in: One stranger in so many is named.
        recognition: What would become of the photos of the enrolled people.
        missed: Share of tracks of the enrolled people that is expected to stay unknown, by views (1: of single faces)
            and by width in pixels.
        tracks: What would become of tracks made of their photos, by how many of them.
        named: Kept tracks that would have a name.
        chosen: Whether it is the present choice.
    """

    one_in: int
    recognition: Recognition
    missed: Mapping[int, Mapping[float, float]]
    tracks: Mapping[int, TrackRecognition]
    named: int
    chosen: bool


@dataclass(frozen=True, slots=True)
class _Compared:
    """What was found for an index; a later index is another object."""

    index: SearchedPeople
    rates: tuple[float, ...]
    found: list[Recognition]
    tracks: dict[float, dict[int, TrackRecognition]]


def routes(console: Console) -> list[BaseRoute]:
    """The page's routes."""
    service = console.service
    before: _Compared | None = None  # photos are compared again only when somebody or something was changed

    def costs() -> tuple[int, list[Cost]]:
        nonlocal before
        gallery, calibration = service.matcher.gallery, service.matcher.calibration
        index, rates = gallery.search_index(), tuple(sorted({*RATES, service.matcher.fpir}, reverse=True))
        if before is None or before.index is not index or before.rates != rates:
            found = leave_one_out(gallery, calibration, rates)
            before = _Compared(index, rates, found, tracks_left_out(gallery, calibration, rates))
        return costs_of(service, before.found, before.tracks)

    async def settings(request: Request) -> Response:
        count, found = await service.work(identity_of(request), costs)
        return console.page(
            request, "settings.html", one_in=round(1 / service.matcher.fpir), known_days=service.known_days,
            unknown_days=service.unknown_days, count=count, costs=found,
            cohort=service.matcher.calibration.people, least=_LEAST, most=_MOST,
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


def costs_of(
    service: Service,
    recognitions: Sequence[Recognition],
    of_photos: Mapping[float, Mapping[int, TrackRecognition]],
) -> tuple[int, list[Cost]]:
    """How many of the newest kept tracks would have a name at several rates; first, how many tracks these are."""
    tracks = service.store.tracks(limit=_TRACKS)
    networks, rates = service.matcher.networks, [each.fpir for each in recognitions]
    entries = {level: each.entry for level, each in networks.embedders.items()}
    serving = networks_at(WIDTHS, networks.ranges, entries)
    templates = [each for track in tracks if (each := service.store.template(track.id)) is not None]
    index = service.matcher.gallery.search_index()
    found = index.candidates(np.stack([each.vector for each in templates]), CANDIDATES) if templates else []
    known = service.matcher.calibration, index.enrolled, serving, rates
    missed, of_tracks = expected_missed(*known), expected_tracks_missed(*known)
    costs = []
    for recognition in recognitions:
        rate = recognition.fpir
        decisions = [
            decide_track(template, matches, service.matcher.calibration, index.population, rate)
            for template, matches in zip(templates, found, strict=True)
        ]
        named = sum(decision.person is not None for decision in decisions)
        by_views = {**({1: missed[rate]} if missed[rate] else {}), **of_tracks[rate]}
        costs.append(Cost(round(1 / rate), recognition, by_views, of_photos[rate], named, rate == service.matcher.fpir))
    return len(templates), costs


def _number(text: str, what: str, least: float, most: float) -> float:
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not least <= found <= most:
        raise Problem(422, f"{what}: {text[:40]!a} must be a number from {least:g} to {most:g}")
    return found
