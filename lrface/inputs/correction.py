"""Correcting frames: pixels that are not square (anamorphic video), cameras that are mounted turned or upside down."""

from __future__ import annotations

import re
from typing import Any

from lrface.errors import ArgumentError
from lrface.inputs.capture import MAX_FRAME_PIXELS, Capture
from lrface.types import ImageArray

ROTATIONS = (0, 90, 180, 270)
"""Degrees clockwise by which a frame can be rotated."""

_SAR_NUM, _SAR_DEN, _ORIENTATION = 40, 41, 48  # cv2.CAP_PROP_*, without importing cv2
_MAX_STRETCH = 5.0  # a sample aspect ratio beyond 1:5 or 5:1 is a damaged header
_SQUARE = 0.02  # nearer to 1 than this: not worth a resize


def parse_aspect(text: str | float | None) -> float | None:
    """The display aspect ratio (width / height) that a user wrote.

    Args:
        text: "4:3", "16/9", "1.78", a number, or None.

    Returns:
        The ratio, or None for None.

    Raises:
        ArgumentError: Not a ratio between 1:5 and 5:1.
    """
    if text is None:
        return None
    try:
        written = str(text)
    except ValueError:  # Python writes no numbers of thousands of digits
        written = "such a long number"
    parts = re.fullmatch(r"\s*(\d{1,5}(?:\.\d{1,20})?)\s*(?:[:/]\s*(\d{1,5}(?:\.\d{1,20})?))?\s*", written)
    value = float(parts[1]) / (float(parts[2] or 1) or 1e9) if parts else 0.0
    if not 1 / _MAX_STRETCH <= value <= _MAX_STRETCH:
        raise ArgumentError(f"aspect {written[:40]!r}: give width:height of the picture as it should be seen, like 4:3")
    return value


def check_rotation(degrees: int) -> int:
    """Returns the rotation if it is one of `ROTATIONS`.

    Raises:
        ArgumentError: It is not.
    """
    if degrees not in ROTATIONS:
        raise ArgumentError(f"rotate {degrees}: give 0, 90, 180 or 270 (degrees clockwise)")
    return int(degrees)


def square_pixels(image: ImageArray, sample_aspect: float) -> ImageArray:
    """Stretches a frame so that its pixels are square: enlarged, so that no detail is lost.

    Only a frame that would come out above `MAX_FRAME_PIXELS` is shrunk along the other side instead.

    Args:
        image: uint8 [h, w, 3].
        sample_aspect: Width of a stored pixel divided by its height.

    Returns:
        uint8 [h, w * sample_aspect, 3], or [h / sample_aspect, w, 3] where sample_aspect is below 1.
    """
    import cv2
    import numpy as np

    if abs(sample_aspect - 1) < _SQUARE:
        return image
    height, width = image.shape[:2]
    enlarge = height * width * max(sample_aspect, 1 / sample_aspect) <= MAX_FRAME_PIXELS
    if (sample_aspect > 1) == enlarge:
        width = round(width * sample_aspect)
    else:
        height = round(height / sample_aspect)
    width, height = max(1, width), max(1, height)
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def rotated(image: ImageArray, degrees: int) -> ImageArray:
    """The frame rotated clockwise by 0, 90, 180 or 270 degrees."""
    import cv2
    import numpy as np

    if degrees == 0:
        return image
    turn = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}[degrees]
    return np.asarray(cv2.rotate(image, turn), np.uint8)


def corrected(image: ImageArray, aspect: float | None, rotate: int) -> ImageArray:
    """A picture with square pixels, rotated.

    Args:
        image: uint8 [h, w, 3].
        aspect: Width / height of the stored picture as it should be seen, before `rotate`; None: its pixels are square.
        rotate: Degrees clockwise, 0, 90, 180 or 270.
    """
    ratio = 1.0 if aspect is None else aspect * image.shape[0] / image.shape[1]
    return rotated(square_pixels(image, min(_MAX_STRETCH, max(1 / _MAX_STRETCH, ratio))), rotate)


def sample_aspect_ratio(capture: Capture) -> float:
    """Width of a pixel divided by its height, as the stream says, for frames as the capture gives them.

    OpenCV applies the rotation that a file states, but not its sample aspect ratio; after a quarter turn the ratio
    is the inverse. 1.0 where the stream says nothing, or nothing sensible.
    """
    numerator, denominator = capture.get(_SAR_NUM), capture.get(_SAR_DEN)
    if not (numerator > 0 and denominator > 0):
        return 1.0
    ratio = numerator / denominator
    if not 1 / _MAX_STRETCH <= ratio <= _MAX_STRETCH:
        return 1.0
    return 1 / ratio if capture.get(_ORIENTATION) % 180 == 90 else ratio


class CorrectedCapture:
    """A capture whose frames have square pixels and are rotated as the user wants.

    Args:
        capture: The source.
        aspect: Width / height of the stored frame as it should be seen, before `rotate`; None: as the stream says.
        rotate: Degrees clockwise, 0, 90, 180 or 270.
    """

    def __init__(self, capture: Capture, aspect: float | None, rotate: int) -> None:
        self._capture, self._aspect, self._rotate = capture, aspect, rotate

    def isOpened(self) -> bool:  # noqa: D102
        return self._capture.isOpened()

    def read(self) -> tuple[bool, Any]:
        """The next frame, corrected; the stream's ratio is asked each time, since it may change with the size."""
        ok, image = self._capture.read()
        if not ok or image is None or image.size == 0:
            return ok, image
        if self._aspect is not None:
            return ok, corrected(image, self._aspect, self._rotate)
        return ok, rotated(square_pixels(image, sample_aspect_ratio(self._capture)), self._rotate)

    def get(self, prop: int, /) -> float:  # noqa: D102
        return self._capture.get(prop)

    def release(self) -> None:  # noqa: D102
        self._capture.release()
