"""The gallery's file on the disk: where it may be, who may read it, whether it is still the same."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import NamedTuple

from lrface.errors import GalleryError

_COMPANIONS = ("-journal", "-wal", "-shm")  # SQLite opens them beside the file


class FileState(NamedTuple):
    """Any change of the file, also by a copy over it, moves one of these."""

    device: int
    inode: int
    size: int
    modified_ns: int

    def same_file(self, other: FileState) -> bool:
        """Whether the path still leads to the file it led to, whatever was written into it."""
        return (self.device, self.inode) == (other.device, other.inode)


def file_state(path: str) -> FileState:
    """Of the file at a path.

    Raises:
        GalleryError: There is none any more, or it may not be looked at.
    """
    try:
        found = os.stat(path)
    except OSError as error:
        raise GalleryError(f"gallery {path}: {error.strerror}: it was moved or deleted, put it back") from error
    return FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def prepare_path(name: str, create: bool) -> str:
    """The absolute path of a gallery (SQLite takes a relative `file:x` for a URI); made as an empty file if new.

    A new file may be read and written by its owner only, and so may the journals that SQLite makes beside it. A link
    stays in the path, so that it is noticed when it leads elsewhere.

    Raises:
        GalleryError: No gallery can be there.
    """
    try:
        given, path = os.path.abspath(name), os.path.realpath(name)
        if name.endswith(("/", os.sep)) or not name or os.path.isdir(path):
            raise GalleryError(f"gallery {name}: it is a folder: name a file in it, such as staff.gallery")
        if not os.path.isdir(os.path.dirname(path)):
            raise GalleryError(f"gallery {name}: its folder does not exist: create it first")
        if not os.path.lexists(path):
            if not create:
                raise GalleryError(f"gallery {name}: there is no such file: check the path, or enrol somebody first")
            with contextlib.suppress(FileExistsError):  # another process was faster
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        for file in (path, *(path + companion for companion in _COMPANIONS)):
            # A named pipe would block for ever, a link would lead SQLite to another file.
            if os.path.lexists(file) and not stat.S_ISREG(os.lstat(file).st_mode):
                raise GalleryError(f"gallery {file}: it is not a regular file: remove it, or choose another path")
    except (OSError, ValueError) as error:  # too long, not to be looked at, a NUL
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise GalleryError(f"gallery {name[:200]!r}: {reason}: check the path and its permissions") from error
    return given


def restrict_to_owner(path: str) -> None:
    """Takes away others' rights to an empty file that is about to become a gallery."""
    with contextlib.suppress(OSError):  # somebody else's file in a shared folder: its owner has chosen
        os.chmod(path, 0o600)
