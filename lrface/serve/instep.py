"""Keeps the service's file in step with its gallery: who is removed, merged or renamed there, is so here.

The gallery's audit log tells it, whoever made the change: this service, `lrface gallery`, a program. It is read from
where it was read last, so a change that was made while no service ran is not missed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lrface.cameras.erasing import entries_since
from lrface.errors import GalleryError, GalleryInUseError, LrfaceError
from lrface.gallery.audit import MERGED, MERGED_INTO, REMOVALS, RENAMED, AuditEntry
from lrface.outputs.outbox import Outbox
from lrface.serve.servicefile import FileInUseError
from lrface.serve.store import ServiceStore

if TYPE_CHECKING:
    from lrface.gallery import Gallery
    from lrface.gallery.protocol import SearchedPeople

FILE = "service.db"
"""Name of the service's file in its folder."""

OUTBOX = "outbox"
"""Setting: where the events of the service that ran last wait for their receivers."""

_log = logging.getLogger("lrface.serve")
_READ = "audit log read"


class InStep:
    """Follows a gallery. Thread-safe.

    Args:
        store: The service's file.
        gallery: Whose changes it follows.
        forget: Called with the id of somebody who was removed, to erase what else there is of them. An error that it
            raises is logged.

    Attributes:
        lock: Held while changes are followed; by somebody who changes both, so that nothing is followed half way.
    """

    def __init__(
        self, store: ServiceStore, gallery: Gallery, forget: Callable[[str], object] = lambda person: None
    ) -> None:
        self._store, self._gallery, self._forget = store, gallery, forget
        self.lock = threading.RLock()
        self._index: SearchedPeople | None = None

    def follow(self) -> int:
        """Does what the gallery's log says since the last time; costs next to nothing where it says nothing.

        Returns:
            How many tracks and events of people who were removed have been deleted.

        Raises:
            LrfaceError: A file cannot be read or written.
        """
        index = self._gallery.search_index()
        if index is self._index:
            return 0
        with self.lock:
            gone, before = 0, None
            for entry in entries_since(self._gallery, *self._store.setting(_READ, (0, ""))):
                gone += self._one(entry, before)
                before = entry
            if before is not None:
                self._store.set_setting(_READ, (before.number, before.hash))
            self._index = index
        return gone

    def _one(self, entry: AuditEntry, before: AuditEntry | None) -> int:
        if entry.action in REMOVALS:
            gone = self._store.forget_person(entry.person)
            try:
                self._forget(entry.person)
            except LrfaceError as error:  # the rest is followed all the same
                _log.warning("somebody was removed, and what waits of them for receivers is there still: %s", error)
            return gone
        try:
            if entry.action == RENAMED:
                self._store.rename_person(entry.person, self._gallery.person(entry.person).name)
            elif entry.action == MERGED_INTO and before is not None and before.action == MERGED:
                self._store.move_person(before.person, entry.person, self._gallery.person(entry.person).name)
        except GalleryInUseError:  # all of it is followed again later
            raise
        except GalleryError:  # removed meanwhile, as a later entry says, or damaged: what follows must not wait
            if entry.action == MERGED_INTO and before is not None:
                self._store.move_person(before.person, entry.person, "")
        return 0


def forget_waiting(store: ServiceStore, person: str) -> None:
    """Erases what waits of a person who was removed, in the outbox of the service that ran last, which nobody uses now.

    Raises:
        LrfaceError: Another process uses it, or a file cannot be read or written.
    """
    outbox = store.setting(OUTBOX)
    if outbox is not None and Path(outbox).is_file():
        with Outbox(outbox) as waiting:
            waiting.forget_person(person)


def erase_removed(gallery: Gallery, folder: Path) -> int | None:
    """Deletes from the file of a service that does not run what it holds of people who were removed from its gallery.

    Args:
        gallery: From which they were removed.
        folder: The service's.

    Returns:
        How many tracks and events were deleted; None where a service runs, which does it itself.

    Raises:
        LrfaceError: There is no such file, or it cannot be used.
    """
    path = folder / FILE
    if not path.is_file():
        raise LrfaceError(f"{path} is not there: give the folder of the service, as `lrface serve --data`")
    try:
        store = ServiceStore(path, cipher=gallery.cipher)
    except FileInUseError:
        return None
    try:
        gone = InStep(store, gallery, partial(forget_waiting, store)).follow()
        store.compact()
        return gone
    finally:
        store.close()
