"""`lrface serve --demo`: the demo's clip as a camera, with one of its two people enrolled."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrface.cli.demo_scene import COLLINS, FPS, HOPPER, render, write_clip

if TYPE_CHECKING:
    from lrface.cameras.config import Settings
    from lrface.inputs.capture import Capture
    from lrface.matcher import FaceMatcher

_PAUSE_S = 3.0  # between the end of the clip and its beginning, so that tracks end


def demo_settings(folder: Path) -> Settings:
    """One camera, called lobby."""
    from lrface.cameras.config import Camera, Settings

    return Settings((Camera("lobby", "rtsp://demo.invalid/lobby", stall_s=30.0),), folder / "events.outbox")


def prepare(folder: Path, matcher: FaceMatcher, tell: Callable[[str], object]) -> Path:
    """Draws the clip and enrols one of its people.

    Returns:
        The clip.
    """
    clip = folder / "clip.avi"
    tell("Drawing the demo's clip of two people")
    write_clip(clip, (image for image, _ in render((COLLINS, HOPPER))))
    matcher.enroll(COLLINS.name, COLLINS.file())
    tell(f"Enrolled {COLLINS.name}; the other one, {HOPPER.name}, is a stranger: name her in the console's review")
    return clip


class LoopedClip:
    """Plays a video file again and again at its own speed, as a camera would show it."""

    def __init__(self, clip: Path) -> None:
        from lrface.inputs.capture import open_with_opencv

        self._open: Callable[[], Capture] = lambda: open_with_opencv(str(clip))
        self._capture = self._open()
        self._due = time.monotonic()

    def isOpened(self) -> bool:
        """Whether the clip can be read."""
        return self._capture.isOpened()

    def read(self) -> tuple[bool, Any]:
        """The next picture, when its time has come."""
        time.sleep(max(0.0, self._due - time.monotonic()))
        self._due = max(self._due + 1 / FPS, time.monotonic())
        ok, image = self._capture.read()
        if not ok:
            self._capture.release()
            self._capture = self._open()
            time.sleep(_PAUSE_S)
            ok, image = self._capture.read()
        return ok, image

    def get(self, prop: int, /) -> float:
        """A property of the clip."""
        return self._capture.get(prop)

    def release(self) -> None:
        """Closes the clip."""
        self._capture.release()
