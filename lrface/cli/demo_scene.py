"""The demo's surveillance clip: two public-domain portraits behind the desk of a drawn lobby, seen by a poor camera.

The camera zooms in and out, the two people move, and each frame is blurred, made noisy and compressed as JPEG.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrface.errors import LrfaceError, VideoError
from lrface.types import Box, ImageArray

WIDTH, HEIGHT, FPS, FRAMES = 640, 360, 12.5, 120
SMALLEST_PX, LARGEST_PX = 16, 48  # height of the faces in the frame
JPEG_QUALITY = 70
_UNIT = 72  # height of a face in the lobby's own pixels: the lobby is drawn larger than it is ever seen
_LOBBY_W, _LOBBY_H = WIDTH * _UNIT // SMALLEST_PX, HEIGHT * _UNIT // SMALLEST_PX
_CENTRE = (_LOBBY_W // 2, round(0.44 * _LOBBY_H))
_DESK_Y = _CENTRE[1] + round(1.55 * _UNIT)


@dataclass(frozen=True, slots=True)
class Portrait:
    """A public-domain portrait inside a package of the `demo` extra.

    Attributes:
        name: Of the person.
        package: That ships the picture.
        path: Inside the package.
        face: The face's box in the picture, pixels.
        outline: The person's silhouette, x, y in the picture's pixels.
    """

    name: str
    package: str
    path: str
    face: Box
    outline: tuple[tuple[int, int], ...]

    def file(self) -> Path:
        """Where the picture lies, without importing the package.

        Raises:
            LrfaceError: The package, or the picture in it, is missing.
        """
        spec = importlib.util.find_spec(self.package)
        path = Path(spec.origin).parent / self.path if spec and spec.origin else None
        if path is None or not path.is_file():
            raise LrfaceError(f"{self.package} with {Path(self.path).name} is missing: pip install 'lrface[demo]'")
        return path


# fmt: off
COLLINS = Portrait(
    "Eileen Collins", "skimage", "data/astronaut.png", (178, 65, 269, 176),
    ((20, 512), (24, 400), (30, 340), (38, 300), (50, 265), (75, 235), (100, 218), (113, 208), (118, 190), (128, 165),
     (145, 150), (165, 147), (184, 149), (182, 132), (173, 120), (165, 112), (157, 98), (153, 80), (155, 62), (168, 45),
     (190, 30), (215, 20), (235, 15), (260, 22), (280, 35), (293, 52), (301, 78), (299, 95), (290, 112), (278, 128),
     (270, 135), (265, 140), (258, 160), (256, 172), (270, 180), (285, 195), (298, 215), (304, 238), (322, 248),
     (340, 265), (350, 290), (358, 320), (362, 345), (385, 343), (410, 344), (440, 352), (465, 370), (485, 400),
     (495, 430), (500, 460), (510, 512)),
)
HOPPER = Portrait(
    "Grace Hopper", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg", (177, 123, 356, 336),
    ((12, 600), (20, 520), (28, 430), (35, 405), (50, 385), (85, 365), (130, 352), (165, 340), (200, 312), (190, 298),
     (170, 285), (160, 265), (157, 235), (153, 200), (155, 180), (150, 160), (148, 130), (155, 110), (172, 85),
     (180, 65), (200, 45), (225, 38), (235, 25), (262, 22), (290, 27), (303, 38), (325, 45), (345, 65), (353, 85),
     (368, 92), (371, 105), (371, 170), (372, 195), (368, 225), (360, 250), (355, 285), (340, 303), (333, 315),
     (345, 328), (375, 345), (430, 370), (480, 385), (495, 395), (505, 420), (512, 440), (512, 600)),
)
# fmt: on


@dataclass(frozen=True, slots=True, eq=False)
class _Actor:
    """A cut-out person, with the face `_UNIT` pixels high.

    Attributes:
        image: float32 [h, w, 3], BGR, multiplied by alpha.
        alpha: float32 [h, w, 1], 0..1.
        face: Box of the face in the cut-out.
    """

    image: NDArray[np.float32]
    alpha: NDArray[np.float32]
    face: Box


def render(portraits: tuple[Portrait, Portrait], seed: int = 7) -> Iterator[tuple[ImageArray, tuple[Box, Box]]]:
    """Draws the clip, frame by frame, as the poor camera sends it.

    Args:
        portraits: Who stands left and right.
        seed: Of the sensor's noise.

    Yields:
        uint8 [HEIGHT, WIDTH, 3] BGR, and the boxes of both faces in it, pixels.
    """
    import cv2

    rng = np.random.default_rng(seed)
    lobby = _lobby()
    actors = [_cut_out(portrait) for portrait in portraits]
    for number in range(FRAMES):
        turn = 2 * math.pi * number / FRAMES
        face_px = SMALLEST_PX * (LARGEST_PX / SMALLEST_PX) ** (0.5 - 0.5 * math.cos(turn))
        places = (
            (_CENTRE[0] + _UNIT * (-3.5 + 0.9 * math.sin(1.3 * turn)), 4 * math.sin(2.1 * turn)),
            (_CENTRE[0] + _UNIT * (3.4 + 1.0 * math.sin(1.1 * turn + 1)), 3 * math.sin(1.7 * turn + 2)),
        )
        stage = lobby.copy()
        faces = [
            _place(stage, actor, x, _CENTRE[1] + 0.06 * _UNIT * math.sin(5 * turn + x), degrees)
            for actor, (x, degrees) in zip(actors, places, strict=True)
        ]
        width = WIDTH * _UNIT / face_px
        left = min(max(0, round(_CENTRE[0] - width / 2)), _LOBBY_W - round(width))
        top = min(max(0, round(_CENTRE[1] - 0.46 * width * HEIGHT / WIDTH)), _LOBBY_H - round(width * HEIGHT / WIDTH))
        view = stage[top : top + round(width * HEIGHT / WIDTH), left : left + round(width)]
        scale = WIDTH / view.shape[1]
        seen = cv2.resize(view, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        boxes = [tuple(scale * (v - o) for v, o in zip(box, (left, top, left, top), strict=True)) for box in faces]
        yield _poor_camera(np.asarray(seen, np.uint8), rng, turn), (boxes[0], boxes[1])


def write_clip(path: Path, frames: Iterable[ImageArray]) -> None:
    """Writes frames as Motion JPEG of high quality: what `render` compressed is hardly changed.

    Raises:
        VideoError: The clip cannot be written.
    """
    import cv2

    code = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, code, FPS, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise VideoError(f"cannot write {path}: choose a folder that can be written")
    for frame in frames:
        writer.write(frame)
    writer.release()


def _cut_out(portrait: Portrait) -> _Actor:
    import cv2

    from lrface.inputs.images import read_image

    picture = read_image(portrait.file())
    mask = np.zeros(picture.shape[:2], np.float32)
    cv2.fillPoly(mask, [np.array(portrait.outline, np.int32)], 1.0, cv2.LINE_AA)
    scale = _UNIT / (portrait.face[3] - portrait.face[1])
    size = (round(scale * picture.shape[1]), round(scale * picture.shape[0]))
    alpha = cv2.resize(cv2.GaussianBlur(mask, (0, 0), 0.8 / scale), size, interpolation=cv2.INTER_AREA)[..., None]
    image = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32) * alpha
    x1, y1, x2, y2 = (scale * value for value in portrait.face)
    return _Actor(image, np.asarray(alpha, np.float32), (x1, y1, x2, y2))


def _place(stage: ImageArray, actor: _Actor, x: float, y: float, degrees: float) -> Box:
    """Puts an actor, turned about the face's centre, behind the desk, in place; gives the face's box."""
    import cv2

    x1, y1, x2, y2 = actor.face
    centre = ((x1 + x2) / 2, (y1 + y2) / 2)
    left, top = math.floor(x - centre[0]), math.floor(y - centre[1])
    turn = cv2.getRotationMatrix2D(centre, degrees, 1.0)
    turn[:, 2] += np.array((x - centre[0] - left, y - centre[1] - top))
    height, width = actor.alpha.shape[:2]
    rows = min(height, _DESK_Y - top)
    image = cv2.warpAffine(actor.image, turn, (width, height))[:rows]
    alpha = cv2.warpAffine(actor.alpha, turn, (width, height))[:rows, :, None]
    spot = stage[top : top + rows, left : left + width]
    spot[:] = np.clip(image + (1 - alpha) * spot, 0, 255).astype(np.uint8)
    half_w, half_h = (x2 - x1) / 2, (y2 - y1) / 2
    return x - half_w, y - half_h, x + half_w, y + half_h


def _poor_camera(image: ImageArray, rng: np.random.Generator, turn: float) -> ImageArray:
    """Defocus, a dull and flickering exposure, shot and read noise, JPEG."""
    import cv2

    light = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.6), np.float32)
    light = (0.86 + 0.04 * math.sin(9 * turn)) * light + 8
    noise = np.sqrt(0.12 * light + 9) * rng.standard_normal(light.shape, np.float32)
    noisy = np.clip(light + noise, 0, 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _lobby() -> ImageArray:
    """Wall with panels, a door, a window and a notice board, a desk and a tiled floor."""
    import cv2

    rng = np.random.default_rng(1)
    room: NDArray[Any] = np.empty((_LOBBY_H, _LOBBY_W, 3), np.float32)
    down = np.linspace(0, 1, _LOBBY_H, dtype=np.float32)[:, None, None]
    room[:] = np.array([168, 178, 184], np.float32) - 40 * down
    u = _UNIT
    floor = _DESK_Y + 4 * u
    for x in range(0, _LOBBY_W, 5 * u):  # panels
        cv2.line(room, (x, 0), (x, floor), (140, 150, 156), 4)
    cv2.rectangle(room, (3 * u, _DESK_Y - 7 * u), (8 * u, floor), (88, 108, 128), -1)  # door
    cv2.rectangle(room, (3 * u, _DESK_Y - 7 * u), (8 * u, floor), (60, 74, 90), 10)
    cv2.circle(room, (7 * u + u // 2, _DESK_Y - u), u // 6, (150, 190, 200), -1)
    cv2.rectangle(room, (30 * u, _DESK_Y - 9 * u), (37 * u, _DESK_Y - 3 * u), (224, 214, 196), -1)  # window
    for x in (30 * u, 33 * u + u // 2, 37 * u):
        cv2.line(room, (x, _DESK_Y - 9 * u), (x, _DESK_Y - 3 * u), (96, 100, 104), 12)
    cv2.rectangle(room, (17 * u, _DESK_Y - 8 * u), (23 * u, _DESK_Y - 5 * u), (120, 84, 48), -1)  # notice board
    for i in range(4):
        x = 17 * u + u // 2 + i * (u + u // 3)
        cv2.rectangle(room, (x, _DESK_Y - 7 * u - u // 2), (x + u, _DESK_Y - 6 * u), (205, 215 - 20 * i, 220), -1)
    cv2.rectangle(room, (0, floor), (_LOBBY_W, _LOBBY_H), (104, 108, 112), -1)
    for x in range(-_LOBBY_W, 2 * _LOBBY_W, 3 * u):
        cv2.line(room, (x, _LOBBY_H), (_LOBBY_W // 2 + (x - _LOBBY_W // 2) // 2, floor), (88, 92, 96), 4)
    cv2.rectangle(room, (9 * u, _DESK_Y), (31 * u, _DESK_Y + 5 * u), (62, 86, 112), -1)  # desk
    cv2.rectangle(room, (9 * u - u // 2, _DESK_Y), (31 * u + u // 2, _DESK_Y + u // 3), (44, 62, 84), -1)
    for x in range(12 * u, 31 * u, 3 * u):
        cv2.line(room, (x, _DESK_Y + u // 2), (x, _DESK_Y + 5 * u), (52, 74, 98), 4)
    grain = cv2.resize(rng.standard_normal((_LOBBY_H // 8, _LOBBY_W // 8)).astype(np.float32), (_LOBBY_W, _LOBBY_H))
    return np.clip(room + 4 * grain[..., None], 0, 255).astype(np.uint8)
