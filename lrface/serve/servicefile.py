"""The service's SQLite file: opened for its owner only, transactions, settings, errors that say what to do."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from lrface.errors import ArgumentError, LrfaceError
from lrface.serve.schema import APPLICATION, SCHEMA, VERSION


class ServiceFile:
    """An open file. Safe to use from several threads, by one process at a time.

    Args:
        path: Made, for its owner only, where there is none.

    Raises:
        LrfaceError: The file is something else, is in use by another process, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        with self._using():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            self._database = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
            try:
                self._open()
            except BaseException:
                self._database.close()
                raise

    def setting(self, name: str, default: Any = None) -> Any:
        """What was chosen, by its name; any JSON."""
        rows = self._rows("SELECT value FROM setting WHERE name = ?", (name,))
        return msgspec.json.decode(rows[0][0]) if rows else default

    def set_setting(self, name: str, value: Any) -> None:
        """Keeps a choice."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, msgspec.json.encode(value).decode())
            )

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._database.close()

    def _open(self) -> None:
        database = self._database
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("PRAGMA secure_delete = ON")
        database.execute("PRAGMA trusted_schema = OFF")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("BEGIN IMMEDIATE")
        tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        application = database.execute("PRAGMA application_id").fetchone()[0]
        if tables == 0:
            for statement in filter(str.strip, SCHEMA.split(";")):
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {APPLICATION}")
            database.execute(f"PRAGMA user_version = {VERSION}")
        elif application != APPLICATION or database.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            database.execute("ROLLBACK")
            raise LrfaceError(f"{self.path} is not the file of a service of this version: choose another --data folder")
        database.execute("UPDATE track SET open = 0")  # of a run that was killed
        database.execute("COMMIT")

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._using(), self._lock:
            return self._database.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._using(), self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def _checkpoint(self) -> None:
        """Takes deleted rows out of the log of writes, too."""
        with self._using(), self._lock:
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @contextmanager
    def _using(self) -> Iterator[None]:
        try:
            yield
        except OverflowError as error:
            raise ArgumentError("a number of the request is too large: ids are below 9223372036854775808") from error
        except sqlite3.OperationalError as error:
            fix = "end the other process" if "locked" in str(error) else "check the disk and the folder's permissions"
            raise LrfaceError(f"{self.path} cannot be used ({error}): {fix}") from error
        except (sqlite3.DatabaseError, OSError) as error:
            raise LrfaceError(f"{self.path} cannot be used ({error}): move it away, and a new one is made") from error
