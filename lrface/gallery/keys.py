"""Where the key of an encrypted gallery comes from: the caller, the environment, or a file that it names."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeAlias

from lrface.gallery.ciphers import KEY_BYTES, WrongKey
from lrface.models.safe_files import read_regular

_MAX_BYTES = 1000
KEY, KEY_FILE = "LRFACE_GALLERY_KEY", "LRFACE_GALLERY_KEY_FILE"
Key: TypeAlias = bytes | Callable[[], bytes]


def find_key(given: Key | None) -> bytes | None:
    """The 32 bytes of a gallery's key; None where there is none.

    Args:
        given: The key, or a function that gives it; None to look into the environment: 64 hexadecimal digits in
            `LRFACE_GALLERY_KEY`, or in the regular file that `LRFACE_GALLERY_KEY_FILE` names.

    Raises:
        WrongKey: What was found is no key, or the file cannot be read.
    """
    if given is not None:
        return given() if callable(given) else given
    text, where = os.environ.get(KEY, ""), KEY
    if not text and (path := os.environ.get(KEY_FILE, "")):
        where = path
        try:
            text = read_regular(path, _MAX_BYTES).decode("ascii")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise WrongKey(f"cannot read the gallery's key in {path} ({reason}): check {KEY_FILE}") from error
    if not text.strip():
        return None
    try:
        key = bytes.fromhex(text.strip())
    except ValueError as error:
        raise WrongKey(f"what {where} holds is no key: give {2 * KEY_BYTES} hexadecimal digits") from error
    return key
