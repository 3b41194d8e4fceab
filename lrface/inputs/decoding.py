"""The bytes of a picture file -> uint8 BGR, or an ImageError with a fix."""

from __future__ import annotations

from PIL import Image

from lrface.errors import ImageError
from lrface.inputs.formats import check_header, open_picture, webp_canvas
from lrface.inputs.pixels import shrink_factor, to_bgr
from lrface.types import ImageArray

SHRINK_ABOVE = 40_000_000
"""A picture file with more pixels is shrunk, to a half, a third, ... of its width, while it is decoded."""

LIMIT_VARIABLE = "LRFACE_MAX_MEGAPIXELS"


def decode(data: bytes, name: str, max_pixels: int) -> ImageArray:
    """Decodes a picture file of any format that `formats` knows.

    Args:
        data: The file's bytes.
        name: As messages show it.
        max_pixels: Width times height that the header may state.

    Returns:
        uint8 [h, w, 3], BGR, contiguous.

    Raises:
        ImageError: Truncated, damaged, too large or of an unknown format.
    """
    if canvas := webp_canvas(data):
        check_size(*canvas, name, max_pixels)
    try:
        image = open_picture(data, name)
    except ImageError:
        raise
    except Exception as error:  # decoders raise many kinds of errors at damaged bytes (struct, zlib, index, key errors)
        raise _damaged(f"{name} is of no known format, or", error) from error
    with image:
        check_size(*image.size, name, max_pixels)
        check_header(image, data, name)
        if image.format in ("JPEG", "MPO") and (factor := shrink_factor(image.size, SHRINK_ABOVE)) > 1:
            scale = next((scale for scale in (2, 4, 8) if scale >= factor), 8)
            image.draft(None, (image.width // scale, image.height // scale))
        load(image, name)
        return to_bgr(image, name, shrink_factor(image.size, SHRINK_ABOVE))


def load(image: Image.Image, name: str) -> None:
    """Decodes an opened picture.

    Raises:
        ImageError: It is damaged, or the memory does not suffice.
    """
    try:
        image.load()
    except ImageError:
        raise
    except MemoryError as error:
        size = f"{image.width}x{image.height}"
        raise ImageError(f"{name} is {size} pixels, for which there is not enough memory: shrink it") from error
    except Exception as error:  # as above
        raise _damaged(f"{name} is", error) from error


def check_size(width: int, height: int, name: str, limit: int) -> None:
    """Raises ImageError if a picture has no pixel, or more than `limit`."""
    if width < 1 or height < 1:
        raise ImageError(f"{name} is {width}x{height} pixels: there is nothing in it, save it again")
    if width * height > limit:
        raise ImageError(
            f"{name} is {width}x{height} pixels, above {limit / 1e6:.0f} megapixels: shrink it, or set "
            f"{LIMIT_VARIABLE} (or max_pixels) to allow more"
        )


def _damaged(start: str, error: Exception) -> ImageError:
    return ImageError(f"{start} truncated or damaged ({error}): copy, download or save it again")
