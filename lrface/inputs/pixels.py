"""Pixels of an opened picture -> uint8 BGR: orientation, bit depths, colour models, size."""

from __future__ import annotations

import math

import cv2
import numpy as np
from PIL import Image

from lrface.errors import ImageError
from lrface.types import Array, ImageArray

_EXIF_ORIENTATION = 0x0112
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def shrink_factor(size: tuple[int, int], max_pixels: int) -> int:
    """The smallest whole factor by which both sides are divided so that no more than `max_pixels` remain."""
    return math.ceil(math.sqrt(size[0] * size[1] / max_pixels))


def to_bgr(image: Image.Image, name: str, shrink: int = 1) -> ImageArray:
    """The pixels of a picture as it should be seen.

    Args:
        image: Loaded, any mode.
        name: As messages show it.
        shrink: Both sides are divided by it (each pixel becomes the mean of shrink x shrink).

    Returns:
        uint8 [h, w, 3], BGR, contiguous.

    Raises:
        ImageError: Floating-point or 32-bit pixels, which have no agreed range.
    """
    if image.mode == "F":
        raise ImageError(f"{name} holds floating-point pixels, which have no agreed range: save it with 8 bits")
    turn = _TURN.get(_orientation(image))
    if image.mode.startswith("I"):
        image = Image.fromarray(_from_16_bit(np.asarray(image), name))
    grey = image.mode in ("L", "1", "LA", "La")
    # Of a picture that has colours and transparency the colours are shown everywhere, as cv2.imread does.
    plain = image if image.mode in ("RGB", "L") else image.convert("L" if grey else "RGB")
    small = plain.reduce(shrink) if shrink > 1 else plain
    pixels = np.asarray(small if turn is None else small.transpose(turn))
    if grey:
        return np.repeat(pixels[:, :, None], 3, axis=2)
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False)


def array_to_bgr(array: Array) -> ImageArray:
    """An array as OpenCV reads it, uint8 [h, w, 3] BGR, [h, w, 4] BGRA or [h, w] grey -> uint8 [h, w, 3] BGR.

    Raises:
        ImageError: Another dtype or shape, or empty.
    """
    if array.dtype != np.uint8:
        raise ImageError(f"the array is {array.dtype}: pass uint8, 0..255 (floats in 0..1: (a * 255).astype('uint8'))")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(f"the array has shape {array.shape}: pass [h, w, 3] BGR, [h, w, 4] BGRA or [h, w] grey")
    if array.size == 0:
        raise ImageError(f"the array is empty, shape {array.shape}: was the picture read at all?")
    if array.ndim == 2 or array.shape[2] == 1:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(array[:, :, :3])


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block is no reason to refuse the picture; Pillow's readers raise many kinds
        return 1


def _from_16_bit(values: Array, name: str) -> ImageArray:
    """Modes I;16 and I, which Pillow would clip at 255 rather than scale."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 0xFFFF:
        raise ImageError(f"{name} holds 32-bit pixels ({low}..{high}), which have no agreed range: save it with 8 bits")
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
