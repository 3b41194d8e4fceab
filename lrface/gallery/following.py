"""Keeps a gallery's search index up to date: a search catches up with what this or another process has written."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from lrface.errors import ContractError, GalleryError, GalleryInUseError
from lrface.gallery.index import PersonTemplates, SearchIndex
from lrface.gallery.reading import Moment
from lrface.gallery.store import Store

PATIENCE_S = 0.02  # how long a search waits for a writer when it has an index already
GRACE_S = 10.0  # how long a search goes on with its index while the file is missing or cannot be read
_QUIET_S = 1.0  # commits of others take less: nothing is said of them

_T = TypeVar("_T")
_log = logging.getLogger("lrface.gallery")


class IndexFollower:
    """The search index of a store. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.RLock()
        self._index: SearchIndex | None = None
        self._moment = Moment()
        self._stale = False
        self._unread_since: float | None = None
        self._said = False

    def write(self, change: Callable[[], _T]) -> _T:
        """Changes the store; the next search sees it."""
        with self._lock:
            done = change()
            self._stale = True
        return done

    def close(self) -> None:
        """Closes the store."""
        with self._lock:
            self._index = None
            self._store.close()

    def current(self) -> SearchIndex:
        """The people of this moment, as searched; brought up to date if this or another process has written since.

        While another thread or process holds the file, or while it is missing or half copied (for `GRACE_S` seconds),
        the last one is used; a warning is logged.
        """
        if not self._lock.acquire(timeout=-1 if self._index is None else PATIENCE_S):
            if (last := self._index) is not None:
                return last
            self._lock.acquire()
        try:
            return self._current()
        finally:
            self._lock.release()

    def _current(self) -> SearchIndex:
        last = self._index
        if last is None:
            return self._refresh(None)
        try:
            another_day = last.depends_on_day() and last.today != dt.date.today()
            changed = self._stale or another_day or self._store.changed(PATIENCE_S)
            current = self._refresh(PATIENCE_S, another_day) if changed else last
        except GalleryError as error:
            if self._stale or isinstance(error, ContractError) or not self._may_wait(error):
                raise
            return last
        if self._said:
            _log.warning("gallery %s can be read again", self._store.path)
        self._unread_since, self._said = None, False
        return current

    def _refresh(self, wait_s: float | None, everybody: bool = False) -> SearchIndex:
        last = self._index
        since = Moment() if last is None or everybody else self._moment
        known = (lambda rows: []) if last is None else last.checksums
        changes = self._store.read(PersonTemplates.of, since, known, wait_s, in_shelves=True)
        if last is not None and not changes.fresh and changes.settings.groups != last.settings.groups:
            return self._refresh(wait_s, everybody=True)
        base = SearchIndex(self._store.contract.dim) if last is None or changes.fresh else last
        if changes.people or changes.fresh or changes.state.fpir != base.stored_fpir:
            base = base.changed(changes.people, changes.settings, changes.state.fpir, changes.shelves)
        self._index, self._moment, self._stale = base, changes.moment, False
        return base

    def _may_wait(self, error: GalleryError) -> bool:
        """Whether the last index is still good enough after a reading that failed."""
        now, in_use = time.monotonic(), isinstance(error, GalleryInUseError)
        if self._unread_since is None:
            self._unread_since = now
        waited = now - self._unread_since
        if waited > _QUIET_S and not self._said:
            reason = f"gallery {self._store.path} is being used elsewhere" if in_use else str(error)
            _log.warning("%s; going on with the people as last read, and trying again", reason)
            self._said = True
        return in_use or waited < GRACE_S
