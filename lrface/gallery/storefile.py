"""The file of a gallery while it is open: connected, followed when it is replaced, written in durable transactions.

The journal is SQLite's rollback journal, not a write-ahead log: a log beside the file would be written into a copy that
replaces the file, and a gallery in a folder that may not be written to could not be opened. So that readers do not
keep writers waiting, they read in short slices.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from os import PathLike

from lrface.errors import GalleryError, GalleryInUseError
from lrface.gallery import audit, schema
from lrface.gallery.ciphers import Aes, Cipher, Plain, WrongKey
from lrface.gallery.contract import Contract
from lrface.gallery.files import FileState, file_state, prepare_path, restrict_to_owner
from lrface.gallery.keys import KEY, KEY_FILE, Key, find_key
from lrface.gallery.pages import PageCheck, is_small
from lrface.gallery.reading import DamagedEntry, damage_error
from lrface.gallery.records import total
from lrface.gallery.settings import Settings
from lrface.gallery.state import State, read_settings, read_state, write_state
from lrface.gallery.transactions import gallery_errors, transaction

BUSY_S = 10.0  # how long a lock of another process is waited for
MEMORY = ":memory:"


@dataclass
class Change:
    """What a transaction has changed; told by its block, written into state and audit log at its end."""

    people: int = 0
    photos: int = 0
    before: list[bytes] = field(default_factory=list)
    after: list[bytes] = field(default_factory=list)
    fpir: float | None = None
    entries: list[tuple[str, int | None, str, str]] = field(default_factory=list)

    def tell(self, action: str, row: int | None = None, person: str = "", detail: str = "") -> None:
        """Adds an entry to the audit log."""
        self.entries.append((action, row, person, detail))


class StoreFile:
    """An open file. Thread-safe; several processes may share it.

    Attributes:
        contract: The models that the templates were made with.
        path: As it was given.
        cipher: How values are stored.
    """

    def __init__(
        self, path: str | PathLike[str], contract: Contract | None, create: bool = True, key: Key | None = None
    ) -> None:
        """Opens a gallery's file; see `Gallery.open`."""
        self.path = os.fsdecode(path)
        self._memory = self.path == MEMORY
        new = not self._memory and not os.path.lexists(self.path)
        self._file = MEMORY if self._memory else prepare_path(self.path, create=create and contract is not None)
        self._lock = threading.RLock()
        self._seen: FileState | None = None
        self._version = -1  # PRAGMA data_version at the last reading: it moves when another connection commits
        self._patience = BUSY_S
        self._pages: PageCheck | None = None  # of a large file, until it is over
        self._key = find_key(key)
        self.cipher: Cipher = Plain() if self._key is None else Aes(self._key)
        with gallery_errors(self.path):
            self._connection, self.contract = self._connect(contract, thorough=True)
        self._made = self._seen if new else None

    def changed(self, wait_s: float = BUSY_S) -> bool:
        """Whether somebody else has written or replaced the file since it was last read.

        Raises:
            GalleryInUseError: A writer, or another thread of this process, has held it for `wait_s` seconds.
            GalleryError: The file is gone.
        """
        if not self._lock.acquire(timeout=wait_s):  # a compaction of a large gallery takes seconds
            raise GalleryInUseError(f"gallery {self.path}: another thread has been using it for too long: try again")
        try:
            with gallery_errors(self.path):
                if not self._memory and file_state(self._file) != self._seen:
                    return True
                self._wait(wait_s)
                return self._data_version() != self._version
        finally:
            self._lock.release()

    def compact(self) -> None:
        """Rewrites the file without the space of deleted people (the disk must have room for a copy).

        Raises:
            GalleryError: The file cannot be written.
        """
        with self._lock, gallery_errors(self.path):
            self._ready()
            self._pages_are_whole()
            try:
                self._connection.execute("VACUUM")
            except sqlite3.OperationalError as error:
                raise GalleryError(
                    f"gallery {self.path} was not compacted ({error}): whoever was removed stays removed, but bytes of "
                    "them may still be in the file: free some space on the disk, wait until no other process uses the "
                    "gallery, then run `lrface gallery compact`"
                ) from error
            self._note_own_write()

    def snapshot(self, target: str | PathLike[str]) -> None:
        """Copies the gallery of this moment into a new file, also while others write.

        Raises:
            GalleryError: The target is there already, or cannot be written.
        """
        name = os.fsdecode(target)
        if os.path.lexists(name):
            raise GalleryError(f"{name} is there already: choose another path")
        path = prepare_path(name, create=True)
        try:
            with self._lock, gallery_errors(name):
                self._ready()
                self._pages_are_whole()
                copy = sqlite3.connect(path, isolation_level=None)
                try:
                    copy.execute("PRAGMA synchronous = EXTRA")
                    self._connection.backup(copy)  # in one step: one moment
                finally:
                    copy.close()
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise

    def close(self) -> None:
        """Closes the file, and deletes it if it was made here and nothing has been written into it since."""
        with self._lock:
            if self._made is not None:
                self._discard_unused(self._made)
                self._made = None
            if self._pages is not None:
                self._pages.stop()
            self._connection.close()

    def _discard_unused(self, made: FileState) -> None:
        """Deletes the file made here while nobody, also of another process, has written to it or replaced it."""
        with contextlib.suppress(sqlite3.Error, OSError, GalleryError):
            self._connection.execute("BEGIN EXCLUSIVE")
            state = read_state(self._connection)
            if state is not None and state.generation == 0 and file_state(self._file).same_file(made):
                os.unlink(self._file)
            self._connection.execute("ROLLBACK")

    def _connect(self, contract: Contract | None, thorough: bool) -> tuple[sqlite3.Connection, Contract]:
        seen = None if self._memory else file_state(self._file)
        at_once = self._memory or is_small(self._file)
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
                proof = self.cipher.proof() if isinstance(self.cipher, Aes) else None
                with transaction(connection):
                    if schema.is_blank(connection):  # else another process has just made it
                        schema.create(connection, contract, Settings(key_proof=proof))
            bound = schema.check(connection, self.path, thorough and at_once)
            self._check_key(read_settings(connection, self.path))
            if contract is not None:
                bound.require(contract, f"gallery {self.path}")
        except BaseException:
            connection.close()
            raise
        self._seen = seen
        if thorough:
            if self._pages is not None:
                self._pages.stop()
            self._pages = None if at_once else PageCheck(self._file, self.path, BUSY_S)
        return connection, bound

    def _pages_are_whole(self) -> None:
        """Waits until the file is checked; a GalleryError if it is damaged."""
        if self._pages is not None:
            self._pages.result()
            self._pages = None

    def _check_key(self, settings: Settings) -> None:
        where = f"gallery {self.path}"
        if settings.key_proof is None:
            if self.cipher.encrypts:
                raise WrongKey(
                    f"{where} is not encrypted, but a key was given: open it without ({KEY}, {KEY_FILE}), or import it "
                    "into a new gallery with `lrface gallery import`"
                )
        elif not isinstance(self.cipher, Aes):
            raise WrongKey(f"{where} is encrypted: give its key in {KEY}, in the file {KEY_FILE} names, or as `key`")
        else:
            try:
                self.cipher.check(settings.key_proof)
            except WrongKey as error:
                raise WrongKey(f"{where}: {error}") from error

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

    def _ready(self, patience: float | None = None) -> None:
        """The file that is there now, and how long its locks are waited for; `BUSY_S` by default."""
        self._patience = BUSY_S if patience is None else patience
        self._follow()
        self._wait(self._patience)

    def _wait(self, seconds: float) -> None:
        self._connection.execute(f"PRAGMA busy_timeout = {int(1000 * seconds)}")

    def _data_version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._ready()
        self._pages_are_whole()
        with transaction(self._connection):
            self._still_there("while it was opened for writing: try again")
            yield
        self._still_there("while it was written: what this call stored is not in the new file, repeat it")
        self._note_own_write()

    @contextmanager
    def _writing(self) -> Iterator[Change]:
        """A transaction, whose block tells what it changes; told nothing, nothing is written."""
        with self._lock, gallery_errors(self.path), self._transaction():
            state = read_state(self._connection)
            if state is None:
                raise damage_error(self.path, [DamagedEntry("", "", "its state is not what was written")])
            change = Change()
            yield change
            if not change.entries:
                return
            last = state.generation, state.head
            for entry in change.entries:
                last = audit.append(self._connection, last, *entry)
            changed = State(
                fpir=state.fpir if change.fpir is None else change.fpir,
                people=state.people + change.people,
                photos=state.photos + change.photos,
                content=total((state.content, *change.after), change.before),
            )
            write_state(self._connection, replace(changed, generation=last[0], head=last[1]))

    def _still_there(self, when: str) -> None:
        if not self._memory and self._seen is not None and not file_state(self._file).same_file(self._seen):
            raise GalleryError(f"gallery {self.path}: the file was replaced {when}")

    def _note_own_write(self) -> None:
        if not self._memory:
            self._seen = file_state(self._file)
