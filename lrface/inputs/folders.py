"""Which files of a folder are pictures, and what is left out: one rule for enrolment and identification."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lrface.inputs.formats import SUFFIXES

HIDDEN, SYSTEM, NO_PICTURE, NO_FILE, UNREADABLE = (
    "hidden",
    "made by a system, not by people",
    "not a picture: save it as JPEG, PNG or WebP",
    "not a regular file",
    "cannot be read: check its permissions",
)
"""Reasons to leave something out."""

_SYSTEM_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")
_SYSTEM_FOLDERS = ("@eadir", "__macosx", "#recycle", "$recycle.bin", "lost+found", "thumbnails", "thumbs")
_NAMED = 3


@dataclass(frozen=True, slots=True)
class FolderListing:
    """What a folder holds.

    Attributes:
        pictures: To be used, sorted by path.
        left_out: Everything else with the reason.
    """

    pictures: tuple[Path, ...]
    left_out: tuple[tuple[Path, str], ...]

    def summary(self) -> str:
        """What was left out, counted by reason, with the first names; empty if nothing was."""
        parts = []
        for reason, count in Counter(reason for _, reason in self.left_out).most_common():
            names = [path.name for path, why in self.left_out if why == reason][:_NAMED]
            parts.append(f"{count} {reason} ({', '.join(names)}{', ...' if count > _NAMED else ''})")
        return "; ".join(parts)


def reason_to_leave_out(path: Path) -> str | None:
    """Why a file or folder inside a folder is not used; None if it is. A file that a user names is always used."""
    name = path.name.lower()
    if name.startswith("."):
        return HIDDEN  # also ._photo.jpg, which macOS writes beside a file
    if path.is_dir():
        return SYSTEM if name in _SYSTEM_FOLDERS else None
    if name in _SYSTEM_FILES or name.startswith("synophoto_thumb"):
        return SYSTEM
    if path.suffix.lower() not in SUFFIXES:
        return NO_PICTURE
    return None if path.is_file() else NO_FILE


def list_pictures(folder: Path) -> FolderListing:
    """The pictures in a folder and in those below it. Links to folders are not followed."""
    pictures: list[Path] = []
    left_out: list[tuple[Path, str]] = []

    def unreadable(error: OSError) -> None:
        left_out.append((Path(error.filename), UNREADABLE))

    for root, folders, files in os.walk(folder, onerror=unreadable):
        inside = [Path(root, name) for name in folders]
        reasons = {path.name: reason_to_leave_out(path) for path in inside}
        left_out += [(path, reason) for path in inside if (reason := reasons[path.name]) is not None]
        folders[:] = sorted(path.name for path in inside if reasons[path.name] is None)
        for path in (Path(root, name) for name in sorted(files)):
            reason = reason_to_leave_out(path)
            if reason is None:
                pictures.append(path)
            else:
                left_out.append((path, reason))
    return FolderListing(tuple(sorted(pictures)), tuple(left_out))
