"""Cameras: their state, a snapshot, live pictures (MJPEG)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import numpy as np
from starlette.responses import Response

from lrface.serve.access import Role
from lrface.serve.api.convert import face_out, time_of
from lrface.serve.endpoint import Call, Endpoint
from lrface.serve.live import CameraState
from lrface.serve.problems import Problem
from lrface.serve.shapes import CameraOut, ZoneOut, ZonesOut
from lrface.serve.streams import EndlessResponse
from lrface.serve.watcher import Watcher

_BOUNDARY = "frame"
_LOOK_S = 0.04  # between looks for a new frame: at most 25 a second are sent
_STILL_S = 5.0  # a camera that stands still sends its last frame again, so that a closed connection is noticed


class PictureQuery(msgspec.Struct):
    """Whether boxes and names are drawn."""

    boxes: bool = True


def camera_out(state: CameraState) -> CameraOut:
    """A camera as the interface tells it."""
    p50, p99 = state.latency or (None, None)
    width, height = state.size or (None, None)
    return CameraOut(
        state.name, state.answers, state.message, state.frames, round(state.fps, 2), p50, p99,
        None if state.frame_at is None else time_of(state.frame_at), width, height,
        [face_out(face) for face in state.faces], [round(age, 1) for age in state.ages],
    )  # fmt: skip


async def list_cameras(call: Call) -> list[CameraOut]:
    """All cameras."""
    return [camera_out(state) for state in call.service.frames.states()]


async def show_camera(call: Call) -> CameraOut:
    """One camera."""
    return camera_out(_camera(call))


async def snapshot(call: Call) -> Response:
    """The latest frame."""
    found = await call.service.read(call.service.frames.jpeg, _camera(call).name, call.query.boxes)
    if found is None:
        raise Problem(404, "the camera has given no frame yet: try again", {"Retry-After": "1"})
    return Response(found[1], media_type="image/jpeg")


async def live(call: Call) -> Response:
    """Frames as they come; a slow client misses some."""
    service, name = call.service, _camera(call).name

    async def parts() -> AsyncIterator[bytes]:
        sent, since, first = -1, 0.0, True
        while not service.closing.is_set():
            if service.frames.number(name) == sent and since < _STILL_S:
                await asyncio.sleep(_LOOK_S)
                since += _LOOK_S
                continue
            found = await service.read(service.frames.jpeg, name, call.query.boxes)
            # browsers show a picture when the next one comes, for which a camera may take long: the first is sent twice
            since = _STILL_S if first and found is not None else 0.0
            if found is None:
                sent = service.frames.number(name)
                continue
            (sent, data), first = found, False
            yield f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n".encode()
            yield data + b"\r\n"
            await asyncio.sleep(_LOOK_S)

    return EndlessResponse(service, parts(), f"multipart/x-mixed-replace; boundary={_BOUNDARY}")


async def show_zones(call: Call) -> ZonesOut:
    """The zones of a camera."""
    name, watcher = _camera(call).name, _watcher(call)
    camera = next(each for each in await call.service.read(watcher.cameras) if each.name == name)
    chosen = await call.service.read(call.service.store.setting, f"zones {name}") is not None
    zones, masks = (
        [ZoneOut(z.name, list(z.polygon), z.min_face) for z in each] for each in (camera.zones, camera.masks)
    )
    return ZonesOut(zones, masks, chosen)


async def change_zones(call: Call) -> ZonesOut:
    """Draws the zones of a camera anew."""
    body: ZonesOut = call.body
    check_zones(body)
    chosen = {"zones": msgspec.to_builtins(body.zones), "masks": msgspec.to_builtins(body.masks)}
    await call.service.change(
        call.who, _watcher(call).choose_zones, _camera(call).name, chosen if body.chosen else None
    )
    return await show_zones(call)


def check_zones(zones: ZonesOut) -> None:
    """Refuses zones in which no face can be.

    Raises:
        Problem: The corners of one lie in one place or line.
    """
    for each in (*zones.zones, *zones.masks):
        if np.linalg.matrix_rank(np.subtract(each.polygon, each.polygon[0])) < 2:
            raise Problem(422, "the corners of a zone lie in one place or line: no face can be inside")


def _watcher(call: Call) -> Watcher:
    if call.service.watcher is None:
        raise Problem(404, "there is no camera: start `lrface serve` with a file of cameras")
    return call.service.watcher


def _camera(call: Call) -> CameraState:
    state = call.service.frames.state(call.path("camera"))
    if state is None:
        raise Problem(404, f"there is no such camera; there are: {', '.join(call.service.frames.names) or 'none'}")
    return state


_ONE = "/v1/cameras/{camera}"
ENDPOINTS = (
    Endpoint("GET", "/v1/cameras", Role.VIEWER, "List cameras with their faces of this moment.", list_cameras,
             list[CameraOut], client="cameras"),
    Endpoint("GET", _ONE, Role.VIEWER, "Show a camera with its faces of this moment.", show_camera, CameraOut,
             client="camera"),
    Endpoint("GET", f"{_ONE}/snapshot.jpg", Role.VIEWER, "Get the latest frame of a camera.", snapshot, None,
             PictureQuery, media="image/jpeg", client="snapshot"),
    Endpoint("GET", f"{_ONE}/live.mjpeg", Role.VIEWER, "Get the frames of a camera as they come.", live, None,
             PictureQuery, media="multipart/x-mixed-replace", client=""),
    Endpoint("GET", f"{_ONE}/zones", Role.VIEWER, "Show where in a camera's picture faces count.", show_zones, ZonesOut,
             client="zones"),
    Endpoint("PUT", f"{_ONE}/zones", Role.ADMIN, "Choose where faces count, instead of what the file says; with "
             "`chosen` false: as the file says.", change_zones, ZonesOut, body=ZonesOut, client="change_zones"),
)  # fmt: skip
