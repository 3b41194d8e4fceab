"""SQLite's transactions and errors, as the gallery uses them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from lrface.errors import GalleryError, GalleryInUseError

AGAIN = "restore a copy, or enrol the photos again in a new gallery"

_FIXES = {
    "SQLITE_FULL": "the disk is full: free some space and try again; nothing of this call was stored",
    "SQLITE_READONLY": "it may not be written to: change the permissions of the file and its folder, or copy it",
    "SQLITE_CANTOPEN": "check that the folder exists and may be written to",
    "SQLITE_CORRUPT": f"the file is damaged: {AGAIN}",
    "SQLITE_NOTADB": "the file is not a gallery: choose another path, or restore a copy",
    "SQLITE_IOERR": "the disk failed or is full: check it, then try again; nothing of this call was stored",
}


@contextmanager
def gallery_errors(where: str) -> Iterator[None]:
    """Turns SQLite's errors into GalleryErrors that say what to do."""
    try:
        yield
    except sqlite3.ProgrammingError as error:
        raise GalleryError(f"gallery {where}: {error}: it was closed, open it again") from error
    except (sqlite3.Error, UnicodeDecodeError) as error:
        code = str(getattr(error, "sqlite_errorname", "") or "")
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise GalleryInUseError(
                f"gallery {where}: another process has been reading or writing it for too long: wait until it has "
                "finished, then try again; nothing of this call was stored"
            ) from error
        fix = next((text for key, text in _FIXES.items() if code.startswith(key)), AGAIN)
        raise GalleryError(f"gallery {where}: {error}: {fix}") from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; committed (and on the disk) when the block is left."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:  # also Ctrl-C: whatever ends the block leaves nothing behind
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def one_moment(connection: sqlite3.Connection) -> Iterator[None]:
    """Several queries see one state of the file; also inside a transaction, of which this is then a part."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
