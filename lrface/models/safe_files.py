"""Files of a models folder, read so that no file can hang, crash or exhaust the process."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

MAX_MODEL_BYTES = 2 * 1024**3
MAX_JSON_BYTES = 16 * 1024**2


def read_regular(path: Path, most: int = MAX_MODEL_BYTES) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: It cannot be read, is no regular file (a named pipe would block for ever), is larger than ``most``
            bytes, or its path cannot be one.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a NUL in the path
        raise OSError(f"{error}") from error
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("it is not a regular file")
        if found.st_size > most:
            raise OSError(f"it has {found.st_size} bytes, more than {most}")
        return file.read(most + 1)[:most]


def read_json(path: Path) -> Any:
    """A JSON file; its numbers may be NaN or infinite, see `number_in`.

    Raises:
        OSError: See `read_regular`.
        ValueError: It is not JSON, or nested too deeply.
    """
    try:
        return json.loads(read_regular(path, MAX_JSON_BYTES).decode("utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def number_in(value: Any, least: float, most: float, what: str) -> float:
    """A number of a file.

    Raises:
        ValueError: It is none, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise ValueError(f"{what} is {str(value)[:40]!r}: a number from {least:g} to {most:g} is wanted")
    return float(value)


def whole_number_in(value: Any, least: int, most: int, what: str) -> int:
    """A whole number of a file.

    Raises:
        ValueError: It is none, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{what} is {str(value)[:40]!r}: a whole number from {least} to {most} is wanted")
    return value
