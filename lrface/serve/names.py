"""The names of the enrolled people in order, for pages of a list and for a search in them."""

from __future__ import annotations

import bisect
import threading
from typing import TYPE_CHECKING

from lrface.errors import GalleryError, GalleryInUseError
from lrface.gallery import Person

if TYPE_CHECKING:
    from lrface.gallery import Gallery
    from lrface.gallery.protocol import SearchedPeople

_EACH = 25
"""One person alone takes about as long to read as so many of everybody."""


class Names:
    """Names only, in memory: an encrypted gallery's file has them in no order, and reading everybody takes seconds.

    They are put in order again where the gallery was changed. Thread-safe.

    Args:
        gallery: Whose.
    """

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._lock = threading.Lock()
        self._index: SearchedPeople | None = None
        self._names: list[str] = []

    def current(self) -> list[str]:
        """The names of everybody at this moment, in order; not to be changed.

        Raises:
            GalleryError: The gallery cannot be read.
        """
        index = self._gallery.search_index()
        with self._lock:
            if index is not self._index:
                names = index.names
                if len(names) < index.people:  # somebody is enrolled and not searched today
                    names = [person.name for person in self._gallery.people()]
                self._names, self._index = sorted(names), index
            return self._names

    def first(self, most: int) -> list[str]:
        """The first names, so many, to choose from."""
        if not self._gallery.cipher.encrypts:
            return [person.name for person in self._gallery.people(most=most)]
        return self.current()[:most]

    def page(self, search: str, after: str, most: int) -> tuple[list[Person], int]:
        """A page of the people whose name holds a text, by name; and how many there are on all pages.

        Args:
            search: The text, upper or lower case; empty for everybody.
            after: Only those whose name comes after this one.
            most: People of the page.

        Raises:
            GalleryError: The gallery cannot be read.
        """
        if not search and not self._gallery.cipher.encrypts:
            return self._gallery.people(after, most), len(self._gallery)
        names, text = self.current(), search.casefold()
        wanted = [name for name in names if text in name.casefold()] if text else names
        found = []
        chosen = wanted[bisect.bisect_right(wanted, after) :][:most]
        if _EACH * len(chosen) >= len(names):
            everybody = {person.name: person for person in self._gallery.people()}
            return [everybody[name] for name in chosen if name in everybody], len(wanted)
        for name in chosen:
            try:
                found.append(self._gallery.person(name))
            except GalleryInUseError:
                raise
            except GalleryError:  # removed or renamed meanwhile, or damaged: the others are shown
                continue
        return found, len(wanted)
