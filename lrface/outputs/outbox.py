"""Events that wait for their receivers: on the disk before anything is sent, deleted when a receiver has taken them."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from lrface.errors import LrfaceError
from lrface.outputs.records import json_line

_PERSON = "CASE WHEN typeof(body) = 'text' AND json_valid(body) THEN json_extract(body, '$.person') END"
_NOBODY = dict.fromkeys(("person", "name", "similarity", "threshold"))
MAX_WAITING = 100_000  # events for one receiver: about 60 MB
_APPLICATION = 0x6C726F62  # "lrob": tells an outbox from any other SQLite file
_VERSION = 1
_log = logging.getLogger("lrface.events")
_SCHEMA = """
CREATE TABLE event (
  number INTEGER PRIMARY KEY AUTOINCREMENT, receiver TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0, UNIQUE (receiver, id)
);
CREATE INDEX waiting ON event (receiver, attempts, number);
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event that one receiver has not taken yet.

    Attributes:
        number: In the outbox.
        id: Of the event; the same however often it is sent.
        body: JSON.
    """

    number: int
    id: str
    body: str


def _whole(number: int, name: bytes | None, body: bytes | None) -> Waiting | None:
    """A row of the outbox; None if it is damaged."""
    try:
        event = Waiting(number, (name or b"").decode(), (body or b"").decode())
        whole = isinstance(msgspec.json.decode(event.body), dict) and event.id.isprintable()
    except (ValueError, RecursionError):
        return None
    return event if whole else None


class Outbox:
    """A SQLite file of events that are not delivered yet. Safe to use from several threads, by one process at a time.

    Args:
        path: Made, for its owner only, where there is none.
        max_waiting: Events kept for one receiver. Of a receiver that is away for longer the oldest are dropped.

    Attributes:
        dropped: Events that were dropped since it was opened.

    Raises:
        LrfaceError: The file is no outbox, is in use by another process, or cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], *, max_waiting: int = MAX_WAITING) -> None:
        self.path = Path(path)
        self.dropped = 0
        self._max_waiting = max_waiting
        self._removed: set[str] = set()
        self._lock = threading.Lock()
        with self._using():
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            self._database = sqlite3.connect(self.path, timeout=1.0, isolation_level=None, check_same_thread=False)
            try:
                self._open()
            except BaseException:
                self._database.close()
                raise

    def __enter__(self) -> Outbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def put(self, receivers: Iterable[str], records: Iterable[Mapping[str, Any]]) -> None:
        """Stores events for receivers; they are on the disk when this returns.

        Args:
            receivers: Names of those who shall get them.
            records: Each with a text `id`. An event that waits already is not stored again.

        Raises:
            LrfaceError: The disk is full, or the file cannot be written.
        """
        with self._using(), self._lock:
            kept = [left for record in records if (left := self._of_removed(record)) is not None]
            rows = [(receiver, record["id"], json_line(record)) for record in kept for receiver in receivers]
            if not rows:
                return
            with self._transaction():
                self._database.executemany("INSERT OR IGNORE INTO event (receiver, id, body) VALUES (?, ?, ?)", rows)
                for receiver in {row[0] for row in rows}:
                    self._drop_oldest(receiver)

    def next(self, receiver: str) -> Waiting | None:
        """The event that is to be sent next: the oldest one of those that were refused least often."""
        query = (
            "SELECT number, CAST(id AS BLOB), CAST(body AS BLOB) FROM event WHERE receiver = ? "
            "ORDER BY attempts, number LIMIT 1"
        )
        with self._using(), self._lock:
            while (row := self._database.execute(query, (receiver,)).fetchone()) is not None:
                if event := _whole(*row):
                    return event
                self._database.execute("DELETE FROM event WHERE number = ?", (row[0],))  # or it would block the others
                _log.warning("%s: a damaged event was left out", self.path)
        return None

    def delivered(self, event: Waiting) -> None:
        """Forgets an event that its receiver has taken."""
        with self._using(), self._lock:
            self._database.execute("DELETE FROM event WHERE number = ?", (event.number,))

    def refused(self, event: Waiting) -> None:
        """Lets the events that were refused less often go first, so that one that is refused delays no other."""
        with self._using(), self._lock:
            self._database.execute("UPDATE event SET attempts = attempts + 1 WHERE number = ?", (event.number,))

    def waiting(self, receiver: str) -> int:
        """How many events wait for a receiver."""
        with self._using(), self._lock:
            return int(
                self._database.execute("SELECT count(*) FROM event WHERE receiver = ?", (receiver,)).fetchone()[0]
            )

    def receivers(self) -> dict[str, int]:
        """All for whom events wait, and how many."""
        with self._using(), self._lock:
            return dict(self._database.execute("SELECT receiver, count(*) FROM event GROUP BY receiver"))

    def people(self) -> set[str]:
        """Ids of the people whom waiting events name."""
        with self._using(), self._lock:
            found = self._database.execute(f"SELECT DISTINCT CAST({_PERSON} AS BLOB) FROM event").fetchall()
        return {person.decode(errors="replace") for (person,) in found if person is not None}

    def forget_person(self, person: str) -> int:
        """Erases the events of a person who was removed, also those that come later; the bytes are overwritten.

        Of a track that has left, `left` stays without the person: a receiver that knows of the track would believe it
        in view for ever.

        Args:
            person: UUID.

        Returns:
            How many events were changed or deleted.

        Raises:
            LrfaceError: The file cannot be written.
        """
        with self._using(), self._lock:
            with self._transaction():
                self._removed.add(person)
                left = f"{_PERSON} = ? AND json_extract(body, '$.event') = 'left'"
                nobody = ", ".join(f"'$.{field}', NULL" for field in _NOBODY)
                changed = self._database.execute(
                    f"UPDATE event SET body = json_set(body, {nobody}) WHERE {left}", (person,)
                ).rowcount
                changed += self._database.execute(f"DELETE FROM event WHERE {_PERSON} = ?", (person,)).rowcount
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return int(changed)

    def _of_removed(self, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What may be kept of an event of somebody who was removed while it was made; of others, all of it."""
        if record.get("person") not in self._removed:
            return record
        return {**record, **_NOBODY} if record.get("event") == "left" else None

    def close(self) -> None:
        """Closes the file; what waits is sent by the next run."""
        with self._lock:
            self._database.close()

    def _open(self) -> None:
        run = self._database.execute
        run("PRAGMA locking_mode = EXCLUSIVE")  # two processes would send everything twice
        run("BEGIN EXCLUSIVE")
        application, version = (run(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        tables = run("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and (application, version) != (_APPLICATION, _VERSION):
            raise LrfaceError(f"{self.path} is no outbox of this version of lrface: choose another path")
        if not tables:
            for statement in _SCHEMA.split(";"):
                run(statement)
            run(f"PRAGMA application_id = {_APPLICATION}")
            run(f"PRAGMA user_version = {_VERSION}")
        run("COMMIT")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA secure_delete = ON")  # who was seen is personal data: no byte of a delivered event is left
        run("PRAGMA synchronous = FULL")  # also a power cut loses nothing that `put` took

    def _drop_oldest(self, receiver: str) -> None:
        query = (
            "DELETE FROM event WHERE number IN (SELECT number FROM event WHERE receiver = ? "
            "ORDER BY number DESC LIMIT -1 OFFSET ?)"
        )
        self.dropped += self._database.execute(query, (receiver, self._max_waiting)).rowcount

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise

    @contextmanager
    def _using(self) -> Iterator[None]:
        """Turns what SQLite and the disk raise into an LrfaceError that says what to do."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorname", "")
            if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                advice = "another lrface uses it: give each process an outbox of its own"
            elif code.startswith("SQLITE_FULL"):
                advice = "free some space"
            elif code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
                advice = "it is damaged or no outbox: move it away, or choose another path"
            else:
                advice = "check the path and its permissions"
            raise LrfaceError(f"cannot use the outbox {self.path} ({error}): {advice}") from error
        except OSError as error:
            raise LrfaceError(f"cannot use the outbox {self.path} ({error.strerror}): choose another path") from error
