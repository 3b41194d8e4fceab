"""A change of a gallery in Milvus, gathered until it is written in one request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lrface.gallery.milvus.connection import Row
from lrface.gallery.milvus.rows import BLANK, empty_row, keys_of, rows_of, same_keys, sealed
from lrface.gallery.milvus.state import State
from lrface.gallery.milvus.turns import Turn
from lrface.gallery.reading import StoredPerson


@dataclass
class Change:
    """What is about to be written, all in one request.

    Attributes:
        state: Of the gallery, with all that the change does to it.
        turn: During which it is written.
        rows: By key; a blank one is deleted afterwards.
        entries: For the audit log.
    """

    state: State
    turn: Turn
    dim: int
    rows: dict[str, Row] = field(default_factory=dict)
    entries: list[tuple[str, int | None, str, str]] = field(default_factory=list)

    def tell(self, action: str, person: StoredPerson | None = None, detail: str = "") -> None:
        """Adds an entry to the audit log."""
        self.entries.append((action, None, "" if person is None else person.id, detail))

    def take_number(self) -> int:
        """A number for the order of enrolment."""
        number = self.state.next_row
        self.state = replace(self.state, next_row=number + 1)
        return number

    def put(self, old: StoredPerson | None, new: StoredPerson | None, numbers: Mapping[str, int]) -> None:
        """One person is changed, added (from None) or removed (to None).

        Args:
            old: As stored.
            new: As it shall be.
            numbers: The places of the photos and negative examples that are known.
        """
        known, made = dict(numbers), None
        if old is not None:
            self.rows |= {key: empty_row(key, BLANK, self.dim) for key in (*keys_of(old), f"person {old.id}")}
        if new is not None:
            for key in keys_of(new):
                if key not in known:
                    known[key] = self.take_number()
            made = sealed(new)
            self.rows |= rows_of(made, known)
            for key in same_keys(old, new) if old is not None else ():
                del self.rows[key]  # there already
        self.state = self.state.changed(old, made)
