"""Pictures from outside: a path, encoded bytes or an array -> uint8 BGR, or an ImageError that says the mend."""

from __future__ import annotations

import io
import os
import stat
from os import PathLike
from typing import TypeAlias

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from lrface.errors import ImageError
from lrface.types import Array, ImageArray

Source: TypeAlias = "str | PathLike[str] | bytes | Array"

MAX_PIXELS = 40_000_000
MAX_BYTES = 32 * 2**20
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff",
     ".ppm", ".pgm", ".pnm", ".avif")
)  # fmt: skip
"""File endings that `enroll_folder` and the command line take for pictures (lower case)."""

_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXIF_ORIENTATION = 0x0112


def read_image(source: Source, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> ImageArray:
    """Reads one picture.

    The header is read first: nothing is decoded, and no more than `max_bytes` read, above the caps. EXIF orientation
    is applied; grey, palette, CMYK and 16-bit pictures become 8-bit colour; transparency is dropped, as cv2.imread
    does; of an animation the first frame is taken.

    Args:
        source: A path, the bytes of a picture file, or an array as OpenCV reads it: uint8 [h, w, 3] BGR,
            [h, w, 4] BGRA or [h, w] grey.
        max_pixels: Width times height may not be above it.
        max_bytes: The file may not be longer.

    Returns:
        uint8 [h, w, 3], BGR, contiguous; an array that is so already is returned itself, not copied.

    Raises:
        ImageError: Missing, empty, truncated, too large, of an unknown format, or an array of another kind.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, max_pixels)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(bytes(source), "the picture", max_pixels, max_bytes)
    if isinstance(source, (str, PathLike)):
        return _decode(read_bytes(source, max_bytes=max_bytes), os.fspath(source), max_pixels, max_bytes)
    raise ImageError(
        f"a picture cannot be a {type(source).__name__}: pass a path, the bytes of a picture file, or a uint8 BGR array"
    )


def read_bytes(path: str | PathLike[str], *, max_bytes: int = MAX_BYTES) -> bytes:
    """Reads a picture file without decoding it.

    Raises:
        ImageError: Missing, not a regular file, unreadable or longer than `max_bytes`.
    """
    name = os.fspath(path)
    try:
        # not O_NONBLOCK for the read but for the open: a named pipe would otherwise wait for ever
        with open(name, "rb", opener=lambda p, flags: os.open(p, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ImageError(f"{name} is not a file: pass the path of one picture")
            data = file.read(max_bytes + 1)
    except IsADirectoryError as error:
        raise ImageError(f"{name} is a folder: pass the path of one picture") from error
    except FileNotFoundError as error:
        hint = "; lrface downloads nothing, fetch it first" if "://" in str(name) else ""
        raise ImageError(f"there is no picture {name}: check the path{hint}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ImageError(f"cannot read {name!r} ({error}): check the path and its permissions") from error
    if len(data) > max_bytes:
        raise ImageError(f"{name} is longer than {max_bytes / 2**20:.0f} MiB: save it smaller or raise max_bytes")
    return data


def _from_array(array: Array, max_pixels: int) -> ImageArray:
    if array.dtype != np.uint8:
        raise ImageError(f"the array is {array.dtype}: pass uint8, 0..255 (floats in 0..1: (a * 255).astype('uint8'))")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(f"the array has shape {array.shape}: pass [h, w, 3] BGR, [h, w, 4] BGRA or [h, w] grey")
    if array.size == 0:
        raise ImageError(f"the array is empty, shape {array.shape}: was the picture read at all?")
    _check_size(array.shape[1], array.shape[0], "the array", max_pixels)
    if array.ndim == 2 or array.shape[2] == 1:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(array[:, :, :3])


def _decode(data: bytes, name: str | PathLike[str], max_pixels: int, max_bytes: int) -> ImageArray:
    if not data:
        raise ImageError(f"{name} is empty (0 bytes): copy or download it again")
    if len(data) > max_bytes:
        raise ImageError(f"{name} is longer than {max_bytes / 2**20:.0f} MiB: save it smaller or raise max_bytes")
    if canvas := _webp_canvas(data):  # Pillow allocates a WebP's canvas as it opens it
        _check_size(*canvas, name, max_pixels)
    Image.init()
    try:
        with Image.open(io.BytesIO(data), formats=[f for f in FORMATS if f in Image.OPEN]) as image:
            _check_size(*image.size, name, max_pixels)
            image.load()
            return _to_bgr(image, name)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name} is too large ({error}): shrink it below {max_pixels / 1e6:.0f} megapixels") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is of no known format: save it as JPEG, PNG or WebP") from error
    except Exception as error:  # decoders of foreign bytes raise what they like (struct, zlib, index, key errors)
        raise ImageError(f"{name} is truncated or damaged ({error}): copy, download or save it again") from error


def _check_size(width: int, height: int, name: str | PathLike[str], max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{name} is {width}x{height} pixels: there is nothing in it, save it again")
    if width * height > max_pixels:
        raise ImageError(
            f"{name} is {width}x{height} pixels, above {max_pixels / 1e6:.0f} megapixels: shrink it or raise max_pixels"
        )


def _webp_canvas(data: bytes) -> tuple[int, int] | None:
    """Width and height that a WebP header states; None for another format."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    chunk = data[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


def _to_bgr(image: Image.Image, name: str | PathLike[str]) -> ImageArray:
    try:
        orientation = int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block is no reason to refuse the picture; Pillow's readers raise many kinds
        orientation = 1
    turned = image.transpose(_TURN[orientation]) if orientation in _TURN else image
    if turned.mode.startswith("I"):
        return _from_16_bit(np.asarray(turned), name)
    if turned.mode == "F":
        raise ImageError(f"{name} holds floating-point pixels, which have no agreed range: save it with 8 bits")
    if turned.mode in ("L", "1", "LA", "La"):
        return np.repeat(np.asarray(turned.convert("L"))[:, :, None], 3, axis=2)
    rgb = np.asarray(turned if turned.mode == "RGB" else turned.convert("RGB"))
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False)


def _from_16_bit(values: Array, name: str | PathLike[str]) -> ImageArray:
    """Modes I;16 and I, which Pillow would clip at 255 rather than scale."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 0xFFFF:
        raise ImageError(f"{name} holds 32-bit pixels ({low}..{high}), which have no agreed range: save it with 8 bits")
    grey = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)
