"""What each camera shows now: its latest frame with the faces in it, frames a second, latency, whether it answers."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lrface.tracks.latency import Latency
from lrface.types import Identification, ImageArray

JPEG_QUALITY = 80
_SILENT_S = 10.0  # without a frame, nobody is in view as far as one can tell
_RATE_FRAMES = 50  # from whose times frames a second follow


@dataclass(frozen=True, slots=True)
class CameraState:
    """One camera at this moment.

    Attributes:
        name: Of the camera.
        answers: Whether it gives frames.
        message: What happened to it last, in words.
        frames: Frames that were searched for faces.
        fps: Frames searched a second, lately.
        latency: Median and 99th percentile in seconds from reading a frame to its result; None before the first.
        frame_at: When the last frame was searched, seconds since 1970; None before the first.
        size: Width and height of the frames in pixels; None before the first.
        faces: Of the last frame.
        ages: Seconds since each of these faces' tracks began.
    """

    name: str
    answers: bool = False
    message: str = "not connected yet"
    frames: int = 0
    fps: float = 0.0
    latency: tuple[float, float] | None = None
    frame_at: float | None = None
    size: tuple[int, int] | None = None
    faces: tuple[Identification, ...] = ()
    ages: tuple[float, ...] = ()


@dataclass(slots=True, eq=False)
class _Latest:
    state: CameraState
    image: ImageArray | None = None
    number: int = 0
    jpegs: dict[bool, tuple[int, bytes]] = field(default_factory=dict)
    times: deque[float] = field(default_factory=lambda: deque(maxlen=_RATE_FRAMES))
    latency: Latency = field(default_factory=Latency)


class LatestFrames:
    """The latest frame of each camera; earlier ones are dropped. Thread-safe.

    Frames are encoded only when somebody asks, once for all who do.

    Args:
        names: Of the cameras, in order.
        clock: Seconds since 1970.
    """

    def __init__(self, names: Sequence[str], clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._cameras = {name: _Latest(CameraState(name)) for name in names}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the cameras, in order."""
        return tuple(self._cameras)

    def put(
        self,
        camera: str,
        image: ImageArray,
        faces: Sequence[Identification],
        ages: Sequence[float],
        latency_s: float,
    ) -> None:
        """Takes a frame.

        Args:
            camera: Its name.
            image: uint8 [h, w, 3], BGR; not changed later.
            faces: Found in it.
            ages: Seconds since each face's track began.
            latency_s: Seconds since the frame was read.
        """
        now = self._clock()
        with self._lock:
            each = self._cameras[camera]
            each.image, each.number = image, each.number + 1
            each.times.append(time.monotonic())
            each.latency.add(latency_s)
            each.state = replace(
                each.state,
                answers=True,
                message="frames come" if not each.state.answers else each.state.message,
                frames=each.state.frames + 1,
                frame_at=now,
                size=(image.shape[1], image.shape[0]),
                faces=tuple(faces),
                ages=tuple(ages),
            )

    def tell(self, camera: str, answers: bool, message: str) -> None:
        """Takes note of what happened to a camera."""
        with self._lock:
            each = self._cameras[camera]
            faces, ages = (each.state.faces, each.state.ages) if answers else ((), ())
            each.state = replace(each.state, answers=answers, message=message, faces=faces, ages=ages)

    def forget_person(self, person: str) -> None:
        """Drops the frames that may show somebody who was removed: those with their name, and those of dead cameras.

        Args:
            person: UUID.
        """
        with self._lock:
            for each in self._cameras.values():
                shown = any(face.person == person for face in each.state.faces)
                if shown or not _state(each).answers:
                    each.image, each.jpegs = None, {}
                    each.state = replace(each.state, faces=(), ages=())

    def state(self, camera: str) -> CameraState | None:
        """One camera; None where there is none."""
        with self._lock:
            each = self._cameras.get(camera)
            return None if each is None else _state(each)

    def states(self) -> list[CameraState]:
        """All cameras, in order."""
        with self._lock:
            return [_state(each) for each in self._cameras.values()]

    def number(self, camera: str) -> int:
        """How many frames there were: changes with each new one."""
        with self._lock:
            return self._cameras[camera].number

    def image(self, camera: str) -> tuple[ImageArray, tuple[Identification, ...]] | None:
        """The latest frame, uint8 [h, w, 3] BGR, and its faces; None before the first."""
        with self._lock:
            each = self._cameras.get(camera)
            return None if each is None or each.image is None else (each.image, each.state.faces)

    def jpeg(self, camera: str, boxes: bool = True) -> tuple[int, bytes] | None:
        """The latest frame as a JPEG file, and its number; None before the first.

        Args:
            camera: Its name.
            boxes: Whether boxes and names are drawn.
        """
        import cv2

        from lrface.outputs.annotate import draw

        with self._lock:
            each = self._cameras.get(camera)
            if each is None or each.image is None:
                return None
            image, faces, number = each.image, each.state.faces, each.number
            done = each.jpegs.get(boxes)
        if done is not None and done[0] == number:
            return done
        drawn = draw(image, faces) if boxes else image
        data = cv2.imencode(".jpg", np.ascontiguousarray(drawn), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
        with self._lock:
            each.jpegs[boxes] = (number, data)
        return number, data


def _state(each: _Latest) -> CameraState:
    times, fps, state = each.times, 0.0, each.state
    silent = time.monotonic() - times[-1] if times else 0.0
    if len(times) > 1 and silent < _SILENT_S:
        fps = (len(times) - 1) / max(1e-6, times[-1] - times[0])
    if state.answers and silent >= _SILENT_S:  # a file that has ended, or a camera of which nothing was said yet
        state = replace(state, answers=False, message=f"no frame for {silent:.0f} s", faces=(), ages=())
    return replace(state, fps=fps, latency=each.latency.percentiles())
