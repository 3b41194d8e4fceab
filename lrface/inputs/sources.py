"""What may be given as a picture, and reading its bytes without decoding them."""

from __future__ import annotations

import os
import re
import stat
from os import PathLike
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from PIL import Image

from lrface.errors import ImageError
from lrface.types import Array


@runtime_checkable
class ReadableFile(Protocol):
    """A file object opened in binary mode: io.BytesIO, open(path, "rb"), an upload, a member of a zip archive."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


Source: TypeAlias = "str | PathLike[str] | bytes | bytearray | memoryview | Array | Image.Image | ReadableFile"
"""What is taken as a picture: a path, the bytes of a picture file, a uint8 BGR array as OpenCV reads it, a PIL image,
or a file object opened in binary mode."""

MAX_BYTES = 256 * 2**20
"""A picture file may not be longer."""

_ONE = (str, PathLike, bytes, bytearray, memoryview, np.ndarray, Image.Image)
_BASE64 = re.compile(r"data:[^,]{0,80},|[A-Za-z0-9+/=_-]{256,}$")


def is_picture(value: object) -> bool:
    """Whether a value is one picture (see `Source`) rather than several."""
    return isinstance(value, _ONE) or hasattr(value, "read")


def read_source(source: Source, *, max_bytes: int = MAX_BYTES) -> bytes | Array | Image.Image:
    """The encoded bytes of a path, bytes or file object (a file object is read to its end); other pictures as they are.

    Raises:
        ImageError: The bytes cannot be read or are more than `max_bytes`, or the source is nothing to read from.
    """
    if isinstance(source, (np.ndarray, Image.Image)):
        return source
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, (str, PathLike)):
        return read_bytes(source, max_bytes=max_bytes)
    if hasattr(source, "read"):
        return _read_file(source, max_bytes)
    raise ImageError(
        f"a picture cannot be a {type(source).__name__}: pass a path, the bytes of a picture file, a file object, a "
        "PIL image or a uint8 BGR array"
    )


def read_bytes(path: str | PathLike[str], *, max_bytes: int = MAX_BYTES) -> bytes:
    """Reads a picture file without decoding it.

    Raises:
        ImageError: Missing, not a regular file, unreadable or longer than `max_bytes`.
    """
    name = os.fspath(path)
    try:
        # O_NONBLOCK is for opening: a named pipe without a writer would otherwise wait for ever
        with open(name, "rb", opener=lambda p, flags: os.open(p, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ImageError(f"{name} is not a regular file: pass the path of one picture")
            data = file.read(max_bytes + 1)
    except IsADirectoryError as error:
        raise ImageError(f"{name} is a folder: pass the path of one picture") from error
    except FileNotFoundError as error:
        hint = "; lrface downloads nothing, fetch it first" if "://" in str(name) else _base64_hint(str(name))
        raise ImageError(f"there is no picture {name}: check the path{hint}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = getattr(error, "strerror", None) or str(error)
        hint = _base64_hint(str(name))
        raise ImageError(f"cannot read {name} ({why}): check the path and its permissions{hint}") from error
    check_length(data, name, max_bytes)
    return data


def _base64_hint(name: str) -> str:
    return "; base64 text is decoded by base64.b64decode, pass its bytes" if _BASE64.match(name) else ""


def check_length(data: bytes, name: str, max_bytes: int) -> None:
    """Raises ImageError if `data` is empty or longer than `max_bytes`."""
    if not data:
        raise ImageError(f"{name} is empty (0 bytes): copy or download it again")
    if len(data) > max_bytes:
        raise ImageError(f"{name} is longer than {max_bytes / 2**20:.0f} MiB: save it smaller, for example as JPEG")


def _read_file(file: ReadableFile, max_bytes: int) -> bytes:
    kind = type(file).__name__
    parts: list[bytes] = []
    left = max_bytes + 1
    while left > 0:
        try:
            part = file.read(left)
        except Exception as error:  # a file object of the user's: closed, of a damaged archive, of a lost connection
            raise ImageError(f"cannot read the file object {kind} ({error}): open it again") from error
        if not isinstance(part, (bytes, bytearray)):
            close = getattr(part, "close", None)  # a coroutine that nobody awaits would warn
            if callable(close):
                close()
            raise ImageError(
                f"reading the file object {kind} gave {type(part).__name__}, not bytes: open it in binary mode "
                '(open(path, "rb")); of an asynchronous one pass the bytes'
            )
        if not part:
            break
        parts.append(bytes(part))
        left -= len(part)
    data = b"".join(parts)
    if not data:
        raise ImageError(f"the file object {kind} gives no bytes: is it at its end? Call seek(0) before")
    check_length(data, "the picture", max_bytes)
    return data
