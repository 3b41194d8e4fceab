"""The gallery's store: an SQLite file, read with checksums and written durably, followed when it is replaced.

The journal is SQLite's rollback journal, not a write-ahead log: a log beside the file would be written into a copy that
replaces the file, and a gallery in a folder that may not be written to could not be opened. So that readers do not
keep writers waiting, they read in short slices.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import TypeVar

from lrface.errors import GalleryError
from lrface.gallery import schema
from lrface.gallery.contract import Contract
from lrface.gallery.files import FileState, file_state, prepare_path, restrict_to_owner
from lrface.gallery.reading import (
    PHOTO_COLUMNS,
    DamagedEntry,
    Snapshot,
    StoredPerson,
    damage_error,
    damaged_entry,
    find_person,
    read_all,
    read_person,
)
from lrface.gallery.records import Damage, PersonRow, PhotoTemplates, person_checksum, photo_values, total
from lrface.gallery.schema import State
from lrface.gallery.transactions import gallery_errors, transaction

BUSY_S = 10.0  # how long a lock of another process is waited for
MEMORY = ":memory:"

T = TypeVar("T")


class Store:
    """People and photos in one file. Thread-safe; several processes may share the file.

    Attributes:
        contract: The models that the templates were made with.
        path: As it was given.
    """

    def __init__(self, path: str | PathLike[str], contract: Contract | None, create: bool = True) -> None:
        """Opens a gallery's file; see `Gallery.open`."""
        self.path = os.fsdecode(path)
        self._memory = self.path == MEMORY
        new = not self._memory and not os.path.lexists(self.path)
        self._file = MEMORY if self._memory else prepare_path(self.path, create=create and contract is not None)
        self._lock = threading.RLock()
        self._seen: FileState | None = None
        self._version = -1  # PRAGMA data_version at the last `read`: it moves when another connection commits
        self._patience = BUSY_S
        with gallery_errors(self.path):
            self._connection, self.contract = self._connect(contract, thorough=True)
        self._made = self._seen if new else None

    def changed(self, wait_s: float = BUSY_S) -> bool:
        """Whether somebody else has written or replaced the file since the last `read`.

        Raises:
            GalleryInUseError: A writer has held it for `wait_s` seconds.
            GalleryError: The file is gone.
        """
        with self._lock, gallery_errors(self.path):
            if not self._memory and file_state(self._file) != self._seen:
                return True
            self._wait(wait_s)
            return self._data_version() != self._version

    def read(
        self,
        make: Callable[[StoredPerson], T],
        known: Mapping[tuple[str, bytes], T] | None = None,
        wait_s: float | None = None,
    ) -> Snapshot[T]:
        """Everybody at one moment, each checked against its checksums.

        Args:
            make: What to keep of a person.
            known: What an earlier call gave; whoever has not changed since is not read again.
            wait_s: How long a lock is waited for; None for `BUSY_S`.

        Raises:
            GalleryInUseError: A writer has held the file for `wait_s` seconds.
            GalleryError: The file cannot be read, or somebody's row is damaged.
        """
        with self._lock, gallery_errors(self.path):
            self._ready(BUSY_S if wait_s is None else wait_s)
            snapshot = read_all(self._connection, self.contract, make, known or {})
            if snapshot.damaged:
                raise damage_error(self.path, snapshot.damaged)
            self._version = snapshot.version
        return snapshot

    def verify(self) -> list[DamagedEntry]:
        """What is damaged; empty for a whole gallery.

        Raises:
            GalleryError: The file cannot be read at all.
        """
        with self._lock, gallery_errors(self.path):
            self._ready(BUSY_S)
            return list(read_all(self._connection, self.contract, lambda person: None, {}).damaged)

    def remove_damaged(self) -> list[DamagedEntry]:
        """Deletes what `verify` lists, so that all others can be used again; enrol the deleted people anew.

        A damaged rate (fpir) is deleted too.

        Raises:
            GalleryError: The file cannot be written.
        """
        with self._lock, gallery_errors(self.path), self._transaction():
            execute = self._connection.execute
            damaged = read_all(self._connection, self.contract, lambda person: None, {}).damaged
            execute("DELETE FROM photos WHERE person_id NOT IN (SELECT id FROM people)")
            self._connection.executemany("DELETE FROM people WHERE id = ?", [(entry.row,) for entry in damaged])
            state = schema.read_state(self._connection) or State()
            left = [row[0] for row in execute("SELECT checksum FROM people").fetchall()]
            photos = execute("SELECT count(*) FROM photos").fetchone()[0]
            whole = State(state.fpir, len(left), photos, total(left), state.generation + 1)
            schema.write_state(self._connection, whole)
        return list(damaged)

    def add(self, name: str, photos: Sequence[PhotoTemplates]) -> int:
        """Stores photos of a person (name normalised, photos checked) in one transaction; returns how many were new.

        Raises:
            GalleryError: A photo of somebody else, damage, or the file cannot be written; nothing is stored then.
        """
        added = 0
        with self._lock, gallery_errors(self.path), self._writing() as change:
            execute = self._connection.execute
            person = find_person(self._connection, "name", name)
            checksums: list[bytes] = []
            new = person is None
            if person is None:
                identity = str(uuid.uuid4())
                row = execute("INSERT INTO people (uuid, name, checksum) VALUES (?, ?, x'')", (identity, name))
                person = PersonRow(int(row.lastrowid or 0), identity, name, b"")
            else:
                checksums = self._read(person)[1]
            for photo in photos:
                values = photo_values(person.id, photo)
                cursor = execute(
                    f"INSERT INTO photos (person_id, {PHOTO_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    (person.row, *values),
                )
                if cursor.rowcount:
                    added += 1
                    checksums.append(values[-1])
                elif (owner := self.owner(photo.sha256)) != name:
                    raise GalleryError(f"a photo of {name} is enrolled as {owner!r} already: keep it in one place")
            checksum = person_checksum(person.id, name, checksums)
            execute("UPDATE people SET checksum = ? WHERE id = ?", (checksum, person.row))
            change(people=int(new), photos=added, before=person.checksum, after=checksum)
        return added

    def remove(self, name: str) -> int:
        """Deletes a person in one transaction, also a damaged one; returns how many photos there were.

        Raises:
            GalleryError: There is no such person, or the file cannot be written; nothing is deleted then.
        """
        with self._lock, gallery_errors(self.path), self._writing() as change:
            person = find_person(self._connection, "name", name)
            if person is None:
                raise GalleryError(f"nobody called {name!r} is in {self.path}: see `lrface gallery list`")
            query = "SELECT count(*) FROM photos WHERE person_id = ?"
            photos = self._connection.execute(query, (person.row,)).fetchone()[0]
            self._connection.execute("DELETE FROM people WHERE id = ?", (person.row,))
            checksum = person.checksum if isinstance(person.checksum, bytes) else b""  # also a damaged one can go
            change(people=-1, photos=-photos, before=checksum)
        return int(photos)

    def owner(self, sha256: str) -> str | None:
        """The person for whom a photo is enrolled; None for a photo that is not.

        Raises:
            GalleryError: The file cannot be read, or the person's row is damaged.
        """
        with self._lock, gallery_errors(self.path):
            if not self._connection.in_transaction:
                self._ready(BUSY_S)
            query = "SELECT person_id FROM photos WHERE sha256 = ?"
            row = self._connection.execute(query, (sha256,)).fetchone()
            person = None if row is None else find_person(self._connection, "id", row[0])
            return None if person is None else self._read(person)[0].name

    def set_fpir(self, fpir: float) -> None:
        """Keeps the rate chosen for the gallery.

        Raises:
            GalleryError: The file cannot be written.
        """
        with self._lock, gallery_errors(self.path), self._writing() as change:
            change(fpir=fpir)

    def compact(self) -> None:
        """Rewrites the file without the space of deleted people (the disk must have room for a copy).

        Raises:
            GalleryError: The file cannot be written.
        """
        with self._lock, gallery_errors(self.path):
            self._ready(BUSY_S)
            try:
                self._connection.execute("VACUUM")
            except sqlite3.OperationalError as error:
                raise GalleryError(
                    f"gallery {self.path} was not compacted ({error}): whoever was removed stays removed, but bytes of "
                    "them may still be in the file: free some space on the disk, wait until no other process uses the "
                    "gallery, then run `lrface gallery compact`"
                ) from error
            self._note_own_write()

    def close(self) -> None:
        """Closes the file, and deletes it if it was made here and nothing has been written into it since."""
        with self._lock:
            if self._made is not None:
                self._discard_unused(self._made)
                self._made = None
            self._connection.close()

    def _discard_unused(self, made: FileState) -> None:
        """Deletes the file made here while nobody, also of another process, has written to it or replaced it."""
        with contextlib.suppress(sqlite3.Error, OSError, GalleryError):
            self._connection.execute("BEGIN EXCLUSIVE")
            state = schema.read_state(self._connection)
            if state is not None and state.generation == 0 and file_state(self._file).same_file(made):
                os.unlink(self._file)
            self._connection.execute("ROLLBACK")

    def _connect(self, contract: Contract | None, thorough: bool) -> tuple[sqlite3.Connection, Contract]:
        seen = None if self._memory else file_state(self._file)
        connection = sqlite3.connect(self._file, timeout=self._patience, isolation_level=None, check_same_thread=False)
        try:
            connection.text_factory = lambda raw: raw.decode("utf-8", "replace")  # checksums tell what is damaged
            schema.prepare(connection)
            if schema.is_blank(connection):
                if contract is None:
                    raise GalleryError(
                        f"gallery {self.path}: the file is empty: check the path, or enrol somebody first"
                    )
                if not self._memory:
                    restrict_to_owner(self._file)
                with transaction(connection):
                    if schema.is_blank(connection):  # else another process has just made it
                        schema.create(connection, contract)
            bound = schema.check(connection, self.path, thorough)
            if contract is not None:
                bound.require(contract, f"gallery {self.path}")
        except BaseException:
            connection.close()
            raise
        self._seen = seen
        return connection, bound

    def _follow(self) -> None:
        """Opens the file again if somebody else has replaced or written it: a copy over it may fool SQLite's cache."""
        if self._memory:
            return
        now = file_state(self._file)
        if now == self._seen:
            return
        thorough = self._seen is None or not now.same_file(self._seen)
        if thorough:
            prepare_path(self._file, create=False)
        self._connection.execute("SELECT 1")  # a closed gallery stays closed
        connection, bound = self._connect(None, thorough)
        try:
            self.contract.require(bound, f"gallery {self.path}, which was replaced,")
        except BaseException:
            connection.close()
            self._seen = None
            raise
        self._connection.close()
        self._connection, self._version = connection, -1  # the versions of two connections cannot be compared

    def _ready(self, patience: float) -> None:
        """The file that is there now, and how long its locks are waited for."""
        self._patience = patience
        self._follow()
        self._wait(patience)

    def _wait(self, seconds: float) -> None:
        self._connection.execute(f"PRAGMA busy_timeout = {int(1000 * seconds)}")

    def _data_version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._ready(BUSY_S)
        with transaction(self._connection):
            self._still_there("while it was opened for writing: try again")
            yield
        self._still_there("while it was written: what this call stored is not in the new file, repeat it")
        self._note_own_write()

    @contextmanager
    def _writing(self) -> Iterator[Callable[..., None]]:
        """A transaction; the block calls the function that it is given to tell what it has changed."""
        with self._transaction():
            state = schema.read_state(self._connection)
            if state is None:
                raise damage_error(self.path, [DamagedEntry("", "", "its state is not what was written")])

            def change(
                people: int = 0, photos: int = 0, before: bytes = b"", after: bytes = b"", fpir: float | None = None
            ) -> None:
                changed = State(
                    fpir=state.fpir if fpir is None else fpir,
                    people=state.people + people,
                    photos=state.photos + photos,
                    content=total((state.content, after), (before,)),
                    generation=state.generation + 1,
                )
                schema.write_state(self._connection, changed)

            yield change

    def _still_there(self, when: str) -> None:
        if not self._memory and self._seen is not None and not file_state(self._file).same_file(self._seen):
            raise GalleryError(f"gallery {self.path}: the file was replaced {when}")

    def _note_own_write(self) -> None:
        if not self._memory:
            self._seen = file_state(self._file)

    def _read(self, person: PersonRow) -> tuple[StoredPerson, list[bytes]]:
        try:
            return read_person(self._connection, self.contract, person)
        except Damage as error:
            raise damage_error(self.path, [damaged_entry(person, error)]) from error
