"""SQLite's check of every page and index of a file: at once in a small one, beside the first searches in a large one.

Readers compare every row with its checksum, and need no index to be right. Writers do: a damaged one may hide a name
that is there already. So the check is over before anything is written.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading

from lrface.errors import GalleryError
from lrface.gallery.transactions import AGAIN

AT_ONCE = 32 * 2**20  # bytes of a file, 20,000 people, whose check takes less than a tenth of a second


def is_small(file: str) -> bool:
    """Whether a file is checked at once."""
    try:
        return os.stat(file).st_size <= AT_ONCE
    except OSError:
        return True


def check_pages(connection: sqlite3.Connection, name: str) -> None:
    """Checks every page and index, which reads the whole file.

    Raises:
        GalleryError: Some are damaged; `name` is that of the gallery.
    """
    refuse_damaged(str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0]), name)


def refuse_damaged(found: str, name: str) -> None:
    """A GalleryError for anything but "ok"."""
    if found != "ok":
        raise GalleryError(f"gallery {name}: the file is damaged ({found}): {AGAIN}")


class PageCheck:
    """The check of one file, on a thread and a connection of its own (SQLite lets other threads run meanwhile)."""

    def __init__(self, file: str, name: str, wait_s: float) -> None:
        self._file, self._name, self._wait_s = file, name, wait_s
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._found: str | Exception | None = None
        self._stopped = False

    def start(self) -> None:
        """Begins, if it has not begun yet."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="gallery pages", daemon=True)
            self._thread.start()

    def result(self) -> None:
        """Waits until the whole file is checked.

        Raises:
            GalleryError: It is damaged.
            sqlite3.Error: It could not be checked; the next call tries again.
        """
        self.start()
        if self._thread is not None:
            self._thread.join()
        if isinstance(self._found, str):
            refuse_damaged(self._found, self._name)
            return
        self._thread = None
        raise self._found or sqlite3.OperationalError("the check of the file was interrupted")

    def stop(self) -> None:
        """Ends it, over or not."""
        self._stopped = True
        if self._connection is not None:
            with contextlib.suppress(sqlite3.ProgrammingError):  # closed by the thread just now
                self._connection.interrupt()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            connection = sqlite3.connect(self._file, timeout=self._wait_s, check_same_thread=False)
            try:
                self._connection = connection
                if not self._stopped:
                    self._found = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
            finally:
                connection.close()
        except sqlite3.Error as error:
            self._found = error
