"""Picture formats: which are read, what their headers say before anything is decoded, and how they are opened."""

from __future__ import annotations

import io
import re
import time
from typing import Any

from PIL import Image, ImageFile

from lrface.errors import ImageError

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
HEIC_SUFFIXES = frozenset((".heic", ".heif", ".hif"))
SUFFIXES = HEIC_SUFFIXES | frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff",
     ".ppm", ".pgm", ".pnm", ".avif")
)  # fmt: skip
"""File endings that are taken for pictures in a folder (lower case)."""

MAX_SCANS = 100
MAX_SCANNED_PIXELS = 3_000_000_000
"""Scans times pixels of a JPEG. Each scan of a progressive JPEG may rewrite the whole picture in a few bytes; photos
have about 10."""

DECODE_SECONDS = 20.0
"""Processor time for one picture. Checked as the decoder asks for more data (JPEG, PNG, GIF, BMP, PPM), or by
`decoding_process`."""

LARGE_WEBP = 80_000_000  # pixels: Pillow refuses twice as many and more, by a setting of the whole process

_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_MARKER = re.compile(rb"\xff+[^\xff\x00\x01\xd0-\xd7]")
_STRIP_BYTES, _TILE_BYTES = 279, 325  # TIFF tags


class _TimedBytes(io.BytesIO):
    """Bytes that may be read for so long: decoders fetch their data piece by piece."""

    def __init__(self, data: bytes, name: str, seconds: float) -> None:
        super().__init__(data)
        self._name, self._seconds = name, seconds
        self._until = time.thread_time() + seconds

    def read(self, size: int | None = -1, /) -> bytes:
        if time.thread_time() > self._until:
            raise ImageError(f"{self._name} takes longer than {self._seconds:.0f} s to decode: save it again as JPEG")
        return super().read(size)


def _register_formats() -> None:
    """Makes Pillow know `FORMATS`: `Image.init` would import all of its formats, which takes twice as long."""
    from PIL import (  # noqa: F401
        AvifImagePlugin,
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        MpoImagePlugin,
        PngImagePlugin,
        PpmImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )


def open_picture(data: bytes, name: str) -> Image.Image:
    """Reads the header of a picture file; nothing is decoded yet.

    Args:
        data: The file's bytes.
        name: As messages show it.

    Raises:
        ImageError: Of no known format.
        Exception: Whatever a decoder raises at damaged bytes.
    """
    stream = _TimedBytes(data, name, DECODE_SECONDS)
    if is_heic(data):
        opened: Image.Image = heic_reader(name)(stream, "")
        return opened
    _register_formats()
    matching = [entry for key in FORMATS if (entry := Image.OPEN.get(key)) and entry[1] and entry[1](data[:16]) is True]
    if not matching:
        raise ImageError(f"{name} is of no known format: save it as JPEG, PNG or WebP")
    # Not Image.open: its cap on pixels is a global setting of the process. Ours is checked by the caller.
    image: Image.Image = matching[0][0](stream, "")
    if isinstance(image, ImageFile.ImageFile):
        image.decodermaxblock = 8192  # the clock is looked at for each block
    return image


def check_header(image: Image.Image, data: bytes, name: str) -> None:
    """Raises ImageError if the header of an opened picture promises a decoding without end."""
    if image.format in ("JPEG", "MPO"):
        check_scans(count_scans(data), image.size, name)
    if image.format == "TIFF":
        _check_tiff(image, len(data), name)


def count_scans(data: bytes) -> int:
    """Scans (SOS segments) of a JPEG, without those of the thumbnails inside its segments."""
    count, place = 0, 2
    while found := _MARKER.search(data, place):
        marker, place = data[found.end() - 1], found.end()
        if marker == 0xD9:  # end of the picture
            break
        if marker == 0xD8:
            continue
        count += marker == 0xDA
        place += int.from_bytes(data[place : place + 2], "big")
    return count


def check_scans(scans: int, size: tuple[int, int], name: str) -> None:
    """Raises ImageError if a JPEG's scans would take too long to decode."""
    if scans > MAX_SCANS or scans * size[0] * size[1] > MAX_SCANNED_PIXELS:
        raise ImageError(f"{name} has {scans} scans, which would take long to decode: save it again as a plain JPEG")


def webp_canvas(data: bytes) -> tuple[int, int] | None:
    """Width and height that a WebP header states; None for another format. Pillow allocates it all at once."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    chunk = data[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


def is_heic(data: bytes) -> bool:
    """Whether it is a HEIF file that is not AVIF, which Pillow reads by itself."""
    if data[4:8] != b"ftyp" or data[8:12] not in _HEIC_BRANDS:
        return False
    return b"avif" not in data[8 : min(256, int.from_bytes(data[:4], "big"))]


def needs_process(data: bytes) -> bool:
    """Whether a picture is decoded by `decoding_process`: HEIC, AVIF, TIFF, large WebP."""
    if canvas := webp_canvas(data):
        return canvas[0] * canvas[1] > LARGE_WEBP
    return data[4:8] == b"ftyp" or data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def heic_reader(name: str) -> Any:
    """Pillow's reader of HEIC.

    Raises:
        ImageError: It is not installed.
    """
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise ImageError(
            f"{name} is a HEIC picture: install the extra that reads it (pip install 'lrface[heic]') or save it as JPEG"
        ) from error
    return HeifImageFile


def _check_tiff(image: Image.Image, length: int, name: str) -> None:
    """Refuses strips that share their bytes: thousands of them can each be as long as the file."""
    tags: Any = getattr(image, "tag_v2", {})
    for tag in (_STRIP_BYTES, _TILE_BYTES):
        try:
            found = tags.get(tag, ())
        except Exception as error:  # Pillow decodes a tag when it is asked for, with many kinds of errors
            raise ImageError(f"{name} is damaged ({error}): copy, download or save it again") from error
        sizes = found if isinstance(found, tuple) else (found,)
        if not all(isinstance(size, int) for size in sizes):
            raise ImageError(f"{name} is damaged (tag {tag} is no number): copy, download or save it again")
        if sum(sizes) > 2 * length:
            raise ImageError(f"{name} states more data than it holds: save it again")
