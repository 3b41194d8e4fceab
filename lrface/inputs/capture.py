"""Opening a camera, file or stream with OpenCV: with time-outs, quietly, and without telling passwords."""

from __future__ import annotations

import os
import re
from typing import Any, Protocol

import numpy as np

from lrface.types import ImageArray

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
MAX_FRAME_PIXELS = 40_000_000
"""Width times height of one frame of a video."""

TIMEOUT_S = 10.0
"""For opening a stream, and for each read."""


class Capture(Protocol):
    """The part of cv2.VideoCapture that is used; tests inject their own."""

    def isOpened(self) -> bool: ...  # noqa: D102
    def read(self) -> tuple[bool, Any]: ...  # noqa: D102
    def get(self, prop: int, /) -> float: ...  # noqa: D102
    def release(self) -> None: ...  # noqa: D102


def is_url(source: object) -> bool:
    """Whether the source is a URL of a stream rather than a path or a camera's index."""
    return isinstance(source, str) and _URL.match(source) is not None


def open_with_opencv(source: str | int, timeout_s: float = TIMEOUT_S) -> Capture:
    """Opens a camera by its index, or a file or URL by FFmpeg (with a time-out for opening it and for each read)."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg prints URLs; what fails is reported by lrface
    import cv2

    log = cv2.utils.logging
    level = log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        if isinstance(source, int):
            return cv2.VideoCapture(source)
        if not is_url(source):
            return cv2.VideoCapture(source, cv2.CAP_FFMPEG)
        limit = round(1000 * timeout_s)
        options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
        return cv2.VideoCapture(source, cv2.CAP_FFMPEG, options)
    finally:
        log.setLogLevel(level)


def read_frame(capture: Capture) -> ImageArray | None:
    """The next frame as uint8 [h, w, 3] BGR, or None (end, error, an empty or too large picture)."""
    import cv2

    try:
        ok, image = capture.read()
    except Exception:  # whatever a driver raises; its message may hold the URL
        return None
    if not ok or image is None or image.size == 0 or image.dtype != np.uint8:
        return None
    if image.shape[0] * image.shape[1] > MAX_FRAME_PIXELS:  # the size changed in the middle of a stream
        return None
    if image.ndim == 2 or image.shape[2] == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    if image.shape[2] == 4:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2BGR), np.uint8)
    return np.asarray(image, np.uint8)
