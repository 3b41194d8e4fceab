"""Pictures: a path, encoded bytes, a file object, a PIL image or an array -> uint8 BGR, or an ImageError with a fix."""

from __future__ import annotations

import os
from os import PathLike

import numpy as np
from PIL import Image

from lrface.errors import ImageError
from lrface.inputs.decoding import LIMIT_VARIABLE as LIMIT_VARIABLE
from lrface.inputs.decoding import SHRINK_ABOVE as SHRINK_ABOVE
from lrface.inputs.decoding import check_size, decode, load
from lrface.inputs.decoding_process import decode_apart
from lrface.inputs.formats import SUFFIXES as SUFFIXES
from lrface.inputs.formats import heic_reader, is_heic, needs_process
from lrface.inputs.pixels import array_to_bgr, to_bgr
from lrface.inputs.sources import MAX_BYTES, check_length, read_source
from lrface.inputs.sources import Source as Source
from lrface.inputs.sources import read_bytes as read_bytes
from lrface.types import ImageArray

MAX_PIXELS = 200_000_000
"""Width times height that a picture file's header may state, unless LRFACE_MAX_MEGAPIXELS says otherwise."""


def read_image(source: Source, *, max_pixels: int | None = None, max_bytes: int = MAX_BYTES) -> ImageArray:
    """Reads one picture.

    The header of a file is read first: nothing is decoded, and no more than `max_bytes` read, above the limits. A file
    of more than 40 megapixels is shrunk, and what is found in it is in pixels of the shrunk picture; an array or a PIL
    image keeps its size. EXIF orientation is applied; grey, palette, CMYK and 16-bit pictures become 8-bit colour;
    transparency is dropped, as cv2.imread does; of an animation the first frame is taken.

    Args:
        source: A path (str or os.PathLike), the bytes of a picture file (bytes, bytearray, memoryview), a file object
            opened in binary mode (anything with `read`, read to its end), a PIL image of any mode, or an array as
            OpenCV reads it: uint8 [h, w, 3] BGR, [h, w, 4] BGRA or [h, w] grey.
        max_pixels: Width times height that a file's header may state. None: 200 million, or the environment variable
            LRFACE_MAX_MEGAPIXELS. Decoding takes up to 6 bytes of memory for each.
        max_bytes: The file may not be longer.

    Returns:
        uint8 [h, w, 3], BGR, contiguous; an array that is so already is returned itself, not copied.

    Raises:
        ImageError: Missing, empty, truncated, too large, of an unknown format, or an array of another kind.
    """
    content = read_source(source, max_bytes=max_bytes)
    if isinstance(content, np.ndarray):
        return array_to_bgr(content)
    limit = _pixel_limit() if max_pixels is None else max_pixels
    if isinstance(content, Image.Image):
        return _from_pil(content, limit)
    name = str(os.fspath(source)) if isinstance(source, (str, PathLike)) else "the picture"
    check_length(content, name, max_bytes)
    if is_heic(content):
        heic_reader(name)  # its error names the extra that is missing
    return (decode_apart if needs_process(content) else decode)(content, name, limit)


def _from_pil(image: Image.Image, limit: int) -> ImageArray:
    check_size(*image.size, "the PIL image", limit)
    load(image, "the PIL image")
    return to_bgr(image, "the PIL image")


def _pixel_limit() -> int:
    text = os.environ.get(LIMIT_VARIABLE)
    if text is None:
        return MAX_PIXELS
    try:
        limit = int(float(text) * 1e6)
    except (ValueError, OverflowError):  # OverflowError: inf
        limit = 0
    if limit < 1:
        raise ImageError(f"{LIMIT_VARIABLE}={text}: give a number of megapixels above 0, like 400")
    return limit
