"""Reads the people of a gallery's file; each row is compared with its checksum."""

from __future__ import annotations

import gc
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from lrface.errors import GalleryError
from lrface.gallery import audit
from lrface.gallery.blocks import CAPACITY
from lrface.gallery.bulk import PEOPLE, PHOTOS, Shelf, read_many
from lrface.gallery.ciphers import Cipher
from lrface.gallery.contract import Contract
from lrface.gallery.records import (
    Damage,
    Details,
    PersonRow,
    PhotoTemplate,
    check_person,
    digest,
    read_details,
    read_photo,
    read_vector,
    total,
    total_of_rows,
)
from lrface.gallery.settings import Settings
from lrface.gallery.state import State, read_settings, read_state
from lrface.gallery.transactions import one_moment
from lrface.types import FloatArray

SLICE = 500  # people read under one lock, one after the other
BULK = CAPACITY  # and at once: a block of the index, so that none is copied
PHOTO_COLUMNS = "sha256, native_px, quality, added, embedding, crop, checksum"
_PERSON_COLUMNS = "id, uuid, name, details, checksum"
_PERSON_BY = f"SELECT {_PERSON_COLUMNS} FROM people WHERE {{}} = ?"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredPerson:
    """A person as read from the file, every checksum compared.

    Attributes:
        row: In the table of people.
        id: UUID, never used again.
        name: Normalised.
        details: Tags, groups and the rest.
        photos: At least one.
        negatives: float32 [dim], faces that are not this person's.
        checksum: Of the row.
    """

    row: int
    id: str
    name: str
    details: Details
    photos: tuple[PhotoTemplate, ...]
    negatives: tuple[FloatArray, ...]
    checksum: bytes


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
class Moment:
    """The state of the file up to which somebody has read it.

    Attributes:
        generation: Number of the last entry of the audit log; -1 for nothing read.
        head: Hash of that entry.
        content: Sum of the checksums of all people.
    """

    generation: int = -1
    head: bytes = b""
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class Changes(Generic[T]):
    """What is different since an earlier moment.

    Attributes:
        state: Numbers and the chosen rate.
        settings: Groups and the rest.
        fresh: Whether everybody was read, so that whoever is not among `people` is gone.
        people: What was made of each person who is new or changed; None for who is gone. By row, in its order if fresh.
        damaged: Who could not be read.
        version: SQLite's `data_version` of this moment.
        shelves: Most people, if everybody was read and shelves were asked for; they are not among `people` then.
    """

    state: State
    settings: Settings
    fresh: bool
    people: Mapping[int, T | None]
    damaged: Sequence[DamagedEntry]
    version: int
    shelves: deque[Shelf] = field(default_factory=deque)

    @property
    def moment(self) -> Moment:
        """From which to go on."""
        return Moment(self.state.generation, self.state.head, self.state.content)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Python looks for no cycles: rows of numbers and texts have none, and the looking takes an eighth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@dataclass
class _Reader(Generic[T]):
    connection: sqlite3.Connection
    contract: Contract
    cipher: Cipher
    make: Callable[[StoredPerson], T]
    shelves: list[Shelf] = field(default_factory=list)
    again: set[int] = field(default_factory=set)
    people: dict[int, T | None] = field(default_factory=dict)
    checksums: dict[int, bytes] = field(default_factory=dict)
    photos: dict[int, int] = field(default_factory=dict)
    damaged: dict[int, DamagedEntry] = field(default_factory=dict)

    def everybody(self) -> None:
        """Reads all people in slices, each under a lock of its own, so that writers get in between."""
        last = None
        while True:
            with one_moment(self.connection):
                rows = self._next(_PERSON_COLUMNS, last, SLICE)
                if not rows:
                    return
                self._read(rows, f"BETWEEN {rows[0][0]} AND {rows[-1][0]}")
                last = rows[-1][0]

    @_no_collection()
    def in_bulk(self) -> None:
        """Like `everybody`; most people are put into shelves."""
        last, execute = None, self.connection.execute
        while True:
            with one_moment(self.connection):
                people = self._next(PEOPLE, last, BULK)
                if not people:
                    return
                where = f"WHERE person_id BETWEEN {people[0][0]} AND {people[-1][0]}"
                photos = execute(f"SELECT {PHOTOS} FROM photos {where} ORDER BY person_id, id").fetchall()
                others = {row[0] for row in execute(f"SELECT person_id FROM negatives {where}").fetchall()}
            last = people[-1][0]  # from here on writers get in between
            plain = [row for row in people if row[0] not in others] if others else people
            shelves, left = read_many(plain, photos, self.contract.dim, self.cipher)
            self.shelves += shelves
            others.update(left)
            if not others:
                continue
            with one_moment(self.connection):
                rows = self._next(_PERSON_COLUMNS, people[0][0] - 1, BULK, last)
                self._read([row for row in rows if row[0] in others], where.removeprefix("WHERE person_id"))

    def _next(self, columns: str, last: int | None, most: int, until: int | None = None) -> list[tuple[Any, ...]]:
        """The rows of people after one; a hostile file may have some below 0."""
        bounds = [f"id > {last}"] * (last is not None) + [f"id <= {until}"] * (until is not None)
        where = f"WHERE {' AND '.join(bounds)}" if bounds else ""
        query = f"SELECT {columns} FROM people {where} ORDER BY id LIMIT {most}"
        return self.connection.execute(query).fetchall()

    def these(self, rows: Sequence[int]) -> None:
        """Reads some rows again; whoever is not there any more is gone."""
        self.again.update(rows)
        for row in rows:
            found = self.connection.execute(_PERSON_BY.format("id"), (row,)).fetchone()
            for kept in (self.people, self.checksums, self.photos, self.damaged):
                kept.pop(row, None)
            if found is None:
                self.people[row] = None
            else:
                self._read([found], f"= {row}")

    def settle(self) -> None:
        """Takes whoever was read again out of the shelves."""
        gone = np.array(sorted(self.again), np.int64)
        self.shelves = [shelf.without(gone) for shelf in self.shelves]

    def counts(self) -> tuple[int, bytes]:
        """How many people were read, and the sum of their checksums."""
        rows = [shelf.entries.checksums for shelf in self.shelves]
        return len(self.photos) + sum(map(len, rows)), total([*self.checksums.values(), *map(total_of_rows, rows)])

    def _read(self, found: Sequence[tuple[Any, ...]], where: str) -> None:
        photos, negatives = _of_people(self.connection, where)
        for person in (PersonRow(*row) for row in found):
            row = person.row
            if isinstance(person.checksum, bytes):
                self.checksums[row] = person.checksum
            own = photos.get(row, [])
            self.photos[row] = len(own)
            try:
                self.people[row] = self.make(
                    stored_person(person, own, negatives.get(row, []), self.contract.dim, self.cipher)
                )
            except Damage as error:
                self.damaged[row] = damaged_entry(person, error)


def read_changes(
    connection: sqlite3.Connection,
    contract: Contract,
    cipher: Cipher,
    make: Callable[[StoredPerson], T],
    since: Moment,
    known: Callable[[Iterable[int]], Iterable[bytes]],
    path: str,
    in_shelves: bool = False,
) -> Changes[T]:
    """Who is new, changed or gone since an earlier moment; everybody if the file is not a later state of that one.

    People are read in slices, each under a lock of its own, so that a large gallery does not keep writers waiting.
    Whatever is written meanwhile is read too; the result is of one moment.

    Args:
        connection: Inside a transaction, or not.
        contract: The gallery's.
        cipher: The gallery's.
        make: What to keep of a person.
        since: What is known already.
        known: The checksums known of some rows (none of a row that is not known).
        path: For messages.
        in_shelves: Whether `make` is passed over for most people where everybody is read.
    """
    reader = _Reader(connection, contract, cipher, make)
    with one_moment(connection):
        first = read_state(connection)
        later = since.generation >= 0 and first is not None and since.generation <= first.generation
        fresh = not (later and audit.is_at(connection, since.generation, since.head))
    seen = since.generation
    if fresh:
        reader.in_bulk() if in_shelves else reader.everybody()
        seen = first.generation if first is not None else 0
    waiting: set[int] = set()
    while True:
        with one_moment(connection):
            state = read_state(connection)
            if state is not None:
                waiting |= audit.changed_rows(connection, seen)
                seen = state.generation
            batch = sorted(waiting)[:SLICE]
            reader.these(batch)
            waiting.difference_update(batch)
            if waiting:
                continue
            version = int(connection.execute("PRAGMA data_version").fetchone()[0])
            settings = read_settings(connection, path)
            if not fresh:
                content = total([since.content, *reader.checksums.values()], known(reader.people))
                if state is None or content != state.content:  # damage, or somebody wrote without telling the log
                    return read_changes(connection, contract, cipher, make, Moment(), known, path, in_shelves)
            reader.settle()
            damaged = list(reader.damaged.values())
            if fresh and (reason := _fault(connection, state, reader)):
                damaged.append(DamagedEntry("", "", reason))
        for row in reader.damaged:
            reader.people.pop(row, None)
        people = reader.people
        if fresh:
            people = {row: person for row, person in sorted(people.items()) if person is not None}
        return Changes(state or State(), settings, fresh, people, damaged, version, deque(reader.shelves))


def _fault(connection: sqlite3.Connection, state: State | None, reader: _Reader[T]) -> str | None:
    """Why all that was read, each of it whole, is not a whole gallery."""
    if state is None:
        return "its state is not what was written; choose the rate again if there was one (`lrface thresholds`)"
    people, content = reader.counts()
    photos = connection.execute("SELECT count(*) FROM photos").fetchone()[0]
    if (state.people, state.photos) != (people, photos):
        return f"{people} people with {photos} photos are there, not {state.people} with {state.photos}"
    if state.content != content:
        return "a person is missing, or not of the same moment as the others"
    return None


def _of_people(
    connection: sqlite3.Connection, where: str
) -> tuple[dict[int, list[tuple[object, ...]]], dict[int, list[tuple[object, ...]]]]:
    """The columns of photos and of negative examples of some people, by the people's rows."""
    found: list[dict[int, list[tuple[object, ...]]]] = []
    for columns, table in ((PHOTO_COLUMNS, "photos"), ("embedding, checksum", "negatives")):
        by_person: dict[int, list[tuple[object, ...]]] = {}
        query = f"SELECT {columns}, person_id FROM {table} WHERE person_id {where} ORDER BY person_id, id"
        for values in connection.execute(query):
            row = values[-1]
            if row in by_person:
                by_person[row].append(values[:-1])
            else:
                by_person[row] = [values[:-1]]
        found.append(by_person)
    return found[0], found[1]


def read_person(connection: sqlite3.Connection, contract: Contract, cipher: Cipher, person: PersonRow) -> StoredPerson:
    """A person with all photos.

    Raises:
        Damage: Something is not what was written.
    """
    photos, negatives = _of_people(connection, f"= {int(person.row)}")
    return stored_person(person, photos.get(person.row, []), negatives.get(person.row, []), contract.dim, cipher)


def stored_person(
    person: PersonRow,
    photos: Sequence[tuple[object, ...]],
    negatives: Sequence[tuple[object, ...]],
    dim: int,
    cipher: Cipher,
) -> StoredPerson:
    """A person from the columns of all rows.

    Raises:
        Damage: Something is not what was written.
    """
    check_person(person, [values[-1] for values in photos], [values[-1] for values in negatives])
    name, details = read_details(person, cipher)
    return StoredPerson(
        person.row,
        person.id,
        name,
        details,
        tuple(read_photo(person.id, values, dim, cipher) for values in photos),
        tuple(_read_negative(person.id, values, dim, cipher) for values in negatives),
        person.checksum,
    )


def negative_checksum(person_id: str, blob: bytes) -> bytes:
    """Over a row of the table of negative examples, as stored."""
    return digest(b"negative", person_id.encode(), blob)


def _read_negative(person_id: str, values: tuple[object, ...], dim: int, cipher: Cipher) -> FloatArray:
    blob, checksum = values
    if not isinstance(blob, bytes) or checksum != negative_checksum(person_id, blob):
        raise Damage("the checksum of a negative example is wrong")
    return read_vector(cipher.unseal(blob), dim)


def find_person(connection: sqlite3.Connection, column: str, value: object) -> PersonRow | None:
    """The row in which a column has a value; not checked yet."""
    row = connection.execute(_PERSON_BY.format(column), (value,)).fetchone()
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
