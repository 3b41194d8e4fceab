"""Where output may be written: into new files of a new folder, so that nothing is replaced, emptied or mixed up."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lrface.errors import ImageError, LrfaceError
from lrface.types import ImageArray

LINES = "identifications.jsonl"  # the file of JSON lines in the folder of every run
JPEG_MAX_SIDE = 65_500  # of libjpeg, pixels
_DISK_IS_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", -1), errno.EFBIG)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:[/\\]")  # one letter is a drive of Windows
_RUN = re.compile(r"run-(\d{1,9})")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns a failed write into an LrfaceError that names the file and says what to do."""
    try:
        yield
    except OSError as error:
        advice = "free some space" if error.errno in _DISK_IS_FULL else "choose another folder"
        raise LrfaceError(f"cannot write {path} ({error.strerror or error}): {advice}") from error


def run_folder(parent: str | os.PathLike[str]) -> Path:
    """Makes the folder of one run: `parent/run-0001`, the next time `run-0002`, and so on.

    Each run has a folder of its own, which nobody else may read (mode 0700: faces and names are personal data), so runs
    that are repeated, restarted or simultaneous keep their results, and no output meets a file that was there.

    Args:
        parent: Made with the same mode where it is missing.

    Raises:
        LrfaceError: It is a URL, or cannot be made.
    """
    folder = Path(parent)
    if _URL.match(os.fspath(parent)):  # a folder of this name would keep the password in it
        raise LrfaceError(f"cannot write to {os.fspath(parent)}: this is a URL, name a folder for the results")
    with writing(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        runs = (_RUN.fullmatch(name) for name in os.listdir(folder))
        number = max((int(run[1]) for run in runs if run), default=0)
        while True:
            number += 1
            with suppress(FileExistsError):  # made by another run a moment ago
                run = folder / f"run-{number:04d}"
                run.mkdir(mode=0o700)
                return run


def is_run_folder(path: Path) -> bool:
    """Whether a folder is one that `run_folder` made and a run wrote to."""
    return _RUN.fullmatch(path.name) is not None and (path / LINES).is_file()


def open_new(path: str | os.PathLike[str], mode: str = "xb", **options: Any) -> Any:
    """Opens a file that must not exist yet, for its owner only (mode 0600); no symbolic link is followed.

    Args:
        path: Where to.
        mode: "xb" or "x".
        options: Passed to `open`.

    Raises:
        OSError: There is something at `path`, or it cannot be written.
    """
    flags = getattr(os, "O_NOFOLLOW", 0)
    return open(path, mode, opener=lambda name, wanted: os.open(name, wanted | flags, 0o600), **options)


def write_picture(path: str | os.PathLike[str], image: ImageArray, quality: int = 92) -> None:
    """Writes a picture to a new file; one that cannot be written whole is removed.

    Args:
        path: Where to; its suffix, .jpg or .png, chooses the format.
        image: uint8 [h, w, 3], BGR.
        quality: Of a JPEG, 0..100.

    Raises:
        ImageError: The format cannot hold the picture (a JPEG has at most 65,500 pixels a side).
        LrfaceError: The file is there already, or cannot be written.
    """
    import cv2

    target = Path(path)
    try:
        options = [cv2.IMWRITE_JPEG_QUALITY, quality] if target.suffix == ".jpg" else []
        encoded, data = cv2.imencode(target.suffix, image, options)
    except cv2.error:
        encoded = False
    if not encoded:
        height, width = image.shape[:2]
        raise ImageError(
            f"cannot write {target}: {width}x{height} pixels do not fit into {target.suffix[1:]}; use .png"
        )
    with writing(target):
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = open_new(target)
        try:
            with file:
                file.write(data.tobytes())
        except BaseException:
            target.unlink(missing_ok=True)
            raise
