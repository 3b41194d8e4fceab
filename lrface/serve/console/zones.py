"""Zones: where in a camera's picture faces count, drawn with the mouse or written with the keyboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from lrface.cameras.zones import Zone
from lrface.serve.access import Role
from lrface.serve.api.cameras import check_zones
from lrface.serve.console.rendering import Console, fields_of, identity_of, segment
from lrface.serve.problems import Problem
from lrface.serve.shapes import ZonesOut
from lrface.serve.watcher import Watcher


@dataclass(frozen=True, slots=True)
class Area:
    """A zone or mask as the form shows it.

    Attributes:
        kind: "zones" or "masks".
        name: For people.
        min_face: Height in pixels of the smallest face that counts.
        corners: "10 10, 90 10, 90 90": percent from the left and the top.
    """

    kind: str
    name: str = ""
    min_face: float = 0.0
    corners: str = ""


def routes(console: Console) -> list[BaseRoute]:
    """The page's routes."""
    service = console.service

    async def show(request: Request) -> Response:
        name, watcher = request.path_params["camera"], _watcher(console)
        camera = next((each for each in await service.read(watcher.cameras) if each.name == name), None)
        if camera is None:
            raise Problem(404, f"there is no camera {name}")
        areas = [*_areas("zones", camera.zones), *_areas("masks", camera.masks), Area("zones")]
        chosen = await service.read(service.store.setting, f"zones {name}") is not None
        return console.page(
            request, "zones.html", camera=name, areas=areas, chosen=chosen, saved="saved" in request.query_params
        )

    async def choose(request: Request) -> Response:
        name, watcher, fields = request.path_params["camera"], _watcher(console), await fields_of(request)
        if name not in service.frames.names:
            raise Problem(404, f"there is no camera {name}")
        zones = None if fields.get("as") == "file" else msgspec.to_builtins(zones_of(fields))
        if zones is not None:
            del zones["chosen"]
        await service.change(identity_of(request), watcher.choose_zones, name, zones)
        return RedirectResponse(f"/settings/zones/{segment(name)}?saved=1", 303)

    return [
        console.route("/settings/zones/{camera}", show, Role.ADMIN),
        console.route("/settings/zones/{camera}", choose, Role.ADMIN, "POST"),
    ]


def zones_of(fields: FormData) -> ZonesOut:
    """The areas of a form; those without corners are left out.

    Raises:
        Problem: Something in it is no zone.
    """
    found: dict[str, list[dict[str, object]]] = {"zones": [], "masks": []}
    lists = [[str(value) for value in fields.getlist(key)] for key in ("name", "kind", "min_face", "corners")]
    if len({len(each) for each in lists}) != 1 or not set(lists[1]) <= set(found):
        raise Problem(422, "the form is not complete: load the page again")
    for name, kind, min_face, corners in zip(*lists, strict=True):
        if not corners.strip(" ,"):
            continue
        try:
            polygon = [[float(part) / 100 for part in pair.split()] for pair in corners.strip(" ,").split(",")]
            smallest = float(min_face or 0)
        except ValueError as error:
            raise Problem(422, f"{name or 'the new area'}: write corners as 10 10, 90 10, 90 90") from error
        found[kind].append({"name": name.strip() or "area", "polygon": polygon, "min_face": smallest})
    try:
        zones = msgspec.convert(found, ZonesOut)
    except msgspec.ValidationError as error:
        text = "an area needs 3 to 100 corners, each two numbers from 0 to 100"
        raise Problem(422, f"{text} ({error})") from error
    check_zones(zones)
    return zones


def _areas(kind: str, zones: Sequence[Zone]) -> list[Area]:
    return [
        Area(kind, each.name, each.min_face, ", ".join(f"{100 * x:g} {100 * y:g}" for x, y in each.polygon))
        for each in zones
    ]


def _watcher(console: Console) -> Watcher:
    if console.service.watcher is None:
        raise Problem(404, "there is no camera: start `lrface serve` with a file of cameras")
    return console.service.watcher
