"""Files that a user names, read so that none can hang, crash or exhaust the process."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

MAX_MODEL_BYTES = 2 * 1024**3
MAX_JSON_BYTES = 16 * 1024**2


def open_regular(path: str | Path) -> BinaryIO:
    """Opens a regular file to be read.

    Raises:
        OSError: It cannot be read, is no regular file (a named pipe would block for ever), or its path cannot be one.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a NUL in the path
        raise OSError(f"{error}") from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError("it is not a regular file")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: str | Path, most: int = MAX_MODEL_BYTES) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: See `open_regular`; or it is larger than ``most`` bytes.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(f"it has {size} bytes, more than {most}")
        return file.read(most + 1)[:most]


def read_json(path: Path, sha256: str | None = None) -> Any:
    """A JSON file. Its numbers are finite: NaN and Infinity are no JSON.

    Args:
        path: The file.
        sha256: That it must have, hexadecimal; None: any.

    Raises:
        OSError: See `read_regular`.
        ValueError: It is not JSON, nested too deeply, or its SHA-256 is another.
    """
    data = read_regular(path, MAX_JSON_BYTES)
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256.lower():
        raise ValueError("its SHA-256 is not the manifest's: it was altered")
    try:
        return msgspec.json.decode(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from error
