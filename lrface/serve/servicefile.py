"""The service's SQLite file: opened for its owner only, transactions, settings, errors that say what to do.

Where the gallery is encrypted, so is what this file holds of people: templates, crops, names, events. SQL statements
write such a value as ``seal(?)`` and read it as ``unseal(column)``, or ``unseal_text(column)`` for text.
"""

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
from lrface.gallery.ciphers import Aes, Cipher, Plain, WrongKey
from lrface.serve.schema import APPLICATION, SCHEMA, SEALED, SESSIONS, VERSION

_PROOF = "key proof"


class FileInUseError(LrfaceError):
    """Another process has the service's file open."""


class ServiceFile:
    """An open file. Safe to use from several threads, by one process at a time.

    Args:
        path: Made, for its owner only, where there is none.
        cipher: The gallery's. A file that is not encrypted yet is, if the gallery is.

    Raises:
        FileInUseError: Another process uses it.
        LrfaceError: The file is something else, was encrypted with another key, or cannot be written.
    """

    def __init__(self, path: Path, cipher: Cipher | None = None) -> None:
        self.path, self._cipher = path, cipher or Plain()
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
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if tables and (application != APPLICATION or version not in (1, VERSION)):
            database.execute("ROLLBACK")
            raise LrfaceError(f"{self.path} is not the file of a service of this version: choose another --data folder")
        missing = SCHEMA + SESSIONS if not tables else SESSIONS if version < VERSION else ""
        for statement in filter(str.strip, missing.split(";")):
            database.execute(statement)
        database.execute(f"PRAGMA application_id = {APPLICATION}")
        database.execute(f"PRAGMA user_version = {VERSION}")
        for name in ("seal", "unseal", "unseal_text"):
            database.create_function(name, 1, getattr(self, f"_{name}"))
        newly_sealed = self._check_key(tables > 0)
        database.execute("UPDATE track SET open = 0")  # of a run that was killed
        database.execute("COMMIT")
        if newly_sealed:
            self.compact()

    def _check_key(self, old: bool) -> bool:
        """Refuses another key than the file's; encrypts a file that is not yet. True if it did so to an old one."""
        proof = self.setting(_PROOF)
        if proof is None and isinstance(self._cipher, Aes):
            text = msgspec.json.encode(self._cipher.proof()).decode()
            self._database.execute("INSERT INTO setting VALUES (?, ?)", (_PROOF, text))
            for table, columns in SEALED.items():
                self._database.execute(f"UPDATE {table} SET {', '.join(f'{c} = seal({c})' for c in columns)}")
            return old
        if proof is not None:
            fix = "give the service the gallery and the key that it had, or another --data folder"
            if not isinstance(self._cipher, Aes):
                raise LrfaceError(
                    f"{self.path} is encrypted with the key of its gallery, and this gallery has none: {fix}"
                )
            try:
                self._cipher.check(proof)
            except WrongKey as error:
                raise LrfaceError(f"{self.path} is encrypted with another key than this gallery: {fix}") from error
        return False

    def compact(self) -> None:
        """Rewrites the file without the space of what was deleted or encrypted."""
        with self._using(), self._lock:
            self._database.execute("VACUUM")
            self._checkpoint()

    def _seal(self, value: str | bytes | None) -> str | bytes | None:
        if value is None or not self._cipher.encrypts:
            return value
        return self._cipher.seal(value.encode() if isinstance(value, str) else value)

    def _unseal(self, value: bytes | None) -> bytes | None:
        return None if value is None else self._cipher.unseal(value)

    def _unseal_text(self, value: str | bytes | None) -> str | None:
        return value if value is None or isinstance(value, str) else self._cipher.unseal(value).decode()

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
                with suppress(sqlite3.Error):  # a full disk has taken the transaction back already
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
            if "locked" in str(error):
                raise FileInUseError(f"{self.path} cannot be used ({error}): end the other process") from error
            full = getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"
            fix = "free some space" if full else "check the disk and the folder's permissions"
            raise LrfaceError(f"{self.path} cannot be used ({error}): {fix}") from error
        except (sqlite3.DatabaseError, OSError) as error:
            raise LrfaceError(f"{self.path} cannot be used ({error}): move it away, and a new one is made") from error
