"""Erases from what waits for receivers the events of people who were removed from the gallery."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from lrface.errors import GalleryError, GalleryInUseError
from lrface.gallery.audit import REMOVALS, AuditEntry

if TYPE_CHECKING:
    from lrface.gallery import Gallery
    from lrface.gallery.protocol import SearchedPeople
    from lrface.outputs.event_sinks import EventSinks


def entries_since(gallery: Gallery, number: int, link: str) -> list[AuditEntry]:
    """What was added to a gallery's audit log after an entry.

    Args:
        gallery: Whose.
        number: Of the last entry that is known; 0 for none.
        link: Its hash.

    Returns:
        The known entry first, then the later ones. All of them if the log does not hold the known one: the file is
        another gallery, or an older copy of it.

    Raises:
        GalleryError: The file cannot be read.
    """
    entries = gallery.audit_log(max(0, number - 1))
    if number and (not entries or (entries[0].number, entries[0].hash) != (number, link)):
        return gallery.audit_log()
    return entries


class RemovedErased:
    """Follows a gallery during a run; whoever was removed before it is found at the first look.

    Args:
        gallery: From which people are removed, by any process.
        sinks: What waits in their outbox is erased.
    """

    def __init__(self, gallery: Gallery, sinks: EventSinks) -> None:
        self._gallery, self._sinks = gallery, sinks
        self._index: SearchedPeople | None = None
        self._last: tuple[int, str] | None = None

    def follow(self) -> None:
        """Erases what is to be erased by now; costs next to nothing where the gallery was not changed.

        Raises:
            LrfaceError: The gallery cannot be read, or the outbox cannot be written.
        """
        with suppress(GalleryInUseError):  # somebody enrols: the next look finds it
            index = self._gallery.search_index()
            if index is self._index:
                return
            if self._last is None:
                entries = self._gallery.audit_log(most=1)  # first: a removal from here on is found at the next look
                missing = {person for person in self._sinks.people() if not self._is_there(person)}
                log = self._gallery.audit_log() if missing else []
                removed = {entry.person for entry in log if entry.action in REMOVALS} & missing
            else:
                entries = entries_since(self._gallery, *self._last)
                removed = {entry.person for entry in entries if entry.action in REMOVALS}
            for person in sorted(removed):
                self._sinks.forget_person(person)
            self._last = (entries[-1].number, entries[-1].hash) if entries else (0, "")
            self._index = index

    def _is_there(self, person: str) -> bool:
        try:
            self._gallery.person(person)
        except GalleryInUseError:
            raise
        except GalleryError:  # also one that is damaged: the audit log says who was removed
            return False
        return True
