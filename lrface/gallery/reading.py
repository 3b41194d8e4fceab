"""Reads the people of a gallery's file; each row is compared with its checksum."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from lrface.errors import GalleryError
from lrface.gallery.contract import Contract
from lrface.gallery.records import Damage, PersonRow, PhotoTemplates, check_person, read_photo, total
from lrface.gallery.schema import State, read_state
from lrface.gallery.transactions import one_moment

SLICE = 200  # people read under one lock
PHOTO_COLUMNS = "sha256, native_px, levels, embeddings, checksum"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredPerson:
    """A person as read from the file, every checksum compared.

    Attributes:
        id: UUID, never used again.
        name: Normalised.
        photos: At least one.
    """

    id: str
    name: str
    photos: tuple[PhotoTemplates, ...]


@dataclass(frozen=True, slots=True)
class DamagedEntry:
    """What is damaged in a gallery.

    Attributes:
        name: Of the person, as far as it can be read; empty if nobody in particular is affected.
        id: Of the person; empty as above.
        reason: What is wrong.
        row: Of the person in the file; -1 as above.
    """

    name: str
    id: str
    reason: str
    row: int = -1

    def __str__(self) -> str:
        return f"the entry of {self.name!r}: {self.reason}" if self.id else self.reason


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[T]):
    """A gallery at one moment.

    Attributes:
        state: Numbers and the chosen rate.
        people: What was made of each person, by id and checksum, in the order of enrolment.
        damaged: Who could not be read.
        version: SQLite's `data_version` of this moment.
    """

    state: State
    people: Mapping[tuple[str, bytes], T]
    damaged: Sequence[DamagedEntry]
    version: int


def read_all(
    connection: sqlite3.Connection,
    contract: Contract,
    make: Callable[[StoredPerson], T],
    known: Mapping[tuple[str, bytes], T],
) -> Snapshot[T]:
    """Everybody at one moment.

    People are read in slices, each under a lock of its own, so that a large gallery does not keep writers waiting. If
    somebody writes meanwhile, those who changed are read again.

    Args:
        connection: Inside a transaction, or not.
        contract: The gallery's.
        make: What to keep of a person.
        known: What an earlier call gave; whoever has not changed since is not read again.
    """
    made = dict(known)
    while True:
        with one_moment(connection):
            state, people, damaged = _overview(connection)
            version = int(connection.execute("PRAGMA data_version").fetchone()[0])
        missing = [person for person in people if person.key not in made]
        for first in range(0, len(missing), SLICE):
            with one_moment(connection):
                if read_state(connection) != state:
                    break
                for person in missing[first : first + SLICE]:
                    try:
                        made[person.key] = make(read_person(connection, contract, person)[0])
                    except Damage as error:
                        damaged.append(damaged_entry(person, error))
        else:
            rows = {entry.row for entry in damaged}
            whole = {person.key: made[person.key] for person in people if person.row not in rows}
            return Snapshot(state or State(), whole, damaged, version)


def read_person(
    connection: sqlite3.Connection, contract: Contract, person: PersonRow
) -> tuple[StoredPerson, list[bytes]]:
    """A person with all photos, and the photos' checksums.

    Raises:
        Damage: Something is not what was written.
    """
    query = f"SELECT {PHOTO_COLUMNS} FROM photos WHERE person_id = ?"
    rows = connection.execute(query, (person.row,)).fetchall()
    check_person(person, (row[-1] for row in rows))
    photos = tuple(read_photo(person.id, row, contract.levels, contract.dim) for row in rows)
    return StoredPerson(person.id, person.name, photos), [row[-1] for row in rows]


def find_person(connection: sqlite3.Connection, column: str, value: object) -> PersonRow | None:
    """The row in which a column has a value; not checked yet."""
    query = f"SELECT id, uuid, name, checksum FROM people WHERE {column} = ?"
    row = connection.execute(query, (value,)).fetchone()
    return None if row is None else PersonRow(*row)


def damaged_entry(person: PersonRow, damage: Damage) -> DamagedEntry:
    """Tells who is damaged, by what."""
    return DamagedEntry(str(person.name), str(person.id), str(damage), person.row)


def damage_error(where: str, damaged: Sequence[DamagedEntry]) -> GalleryError:
    """The error that names the damaged people and says what to do."""
    told = "; ".join(str(entry) for entry in damaged[:3])
    more = f"; and {len(damaged) - 3} more" if len(damaged) > 3 else ""
    return GalleryError(
        f"gallery {where} is damaged ({told}{more}): restore a copy, or run `lrface gallery verify --remove-damaged` "
        "and enrol these people again; all others are kept"
    )


def _overview(connection: sqlite3.Connection) -> tuple[State | None, list[PersonRow], list[DamagedEntry]]:
    state = read_state(connection)
    rows = connection.execute("SELECT id, uuid, name, checksum FROM people ORDER BY id").fetchall()
    photos = connection.execute("SELECT count(*) FROM photos").fetchone()[0]
    reason = None
    if state is None:
        reason = "its state is not what was written; choose the rate again if there was one (`lrface thresholds`)"
    elif (state.people, state.photos) != (len(rows), photos):
        reason = f"{len(rows)} people with {photos} photos are there, not {state.people} with {state.photos}"
    elif state.content != total(row[-1] for row in rows if isinstance(row[-1], bytes)):
        reason = "a person is missing, or not of the same moment as the others"
    return state, [PersonRow(*row) for row in rows], [DamagedEntry("", "", reason)] if reason else []
