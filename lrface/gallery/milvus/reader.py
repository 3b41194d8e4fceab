"""What is read of a gallery in Milvus; each person compared with the checksums."""

from __future__ import annotations

import bisect
import contextlib
import datetime as dt
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from lrface.errors import GalleryError
from lrface.gallery import audit
from lrface.gallery.audit import AuditEntry
from lrface.gallery.ciphers import Plain
from lrface.gallery.contract import Contract
from lrface.gallery.milvus.connection import Connection, Row
from lrface.gallery.milvus.index import MilvusIndex
from lrface.gallery.milvus.rows import FIELDS, STATE, by_person, mark, note_row, person_of, photo_key
from lrface.gallery.milvus.state import FIELDS as STATE_FIELDS
from lrface.gallery.milvus.state import Entry, State
from lrface.gallery.names import name_fault, normalise_name
from lrface.gallery.protocol import SearchedPeople
from lrface.gallery.reading import DamagedEntry, StoredPerson, damage_error
from lrface.gallery.records import UUID, Damage, Details, total
from lrface.gallery.refusals import Refusal
from lrface.gallery.rules import nobody_called
from lrface.gallery.settings import Settings
from lrface.gallery.storereader import Contents, PersonSummary

FRESH_S = 0.3  # what was seen so recently is not asked for again, except after an own change
_TRIES = 5  # at reading everybody while others write
_SUMMARY = ("person", "name", "text", "photos")
_ENTRIES = 5000  # of the audit log, read at once
_SUMMARIES = 1000  # people of a page, read at once

T = TypeVar("T")


class MilvusReader:
    """People and photos in Milvus, as read. Thread-safe; several processes on several machines may share them.

    Attributes:
        contract: The models that the templates were made with.
        path: Of the gallery, for messages.
        cipher: Nothing is encrypted: Milvus cannot search what is.
    """

    def __init__(self, connection: Connection, contract: Contract, there: bool) -> None:
        self.contract, self.path, self.cipher = contract, str(connection.address), Plain()
        self._connection = connection
        self._there = there
        self._lock, self._writers = threading.Lock(), threading.RLock()
        self._index: MilvusIndex | None = None
        self._asked = 0.0  # when, by the monotonic clock, `_index` was compared with the server's state
        self._pages: tuple[bytes, list[tuple[str, str]]] = (b"", [])  # everybody's name and id, by name; of which state

    def current(self) -> SearchedPeople:
        """The people of this moment, as searched; the same object while nothing has changed.

        What others have changed is seen after `FRESH_S` seconds at the latest: a camera asks for each frame, and a
        cluster takes a tenth of a second and more to answer from the newest state.
        """
        with self._lock:
            last, today, now = self._index, dt.date.today(), time.monotonic()
            if last is not None and last.today == today and now - self._asked < FRESH_S:
                return last
            state = self._state()
            if last is None or last.state.head != state.head or last.today != today:
                if last is not None:
                    self._check_models()
                self._index = last = MilvusIndex(self._connection, state, self.contract.dim, today)
            self._asked = now
            return last

    def close(self) -> None:
        """Ends the connection."""
        with self._lock:
            self._index, self._asked = None, 0.0
            self._connection.close()

    def contents(self) -> Contents:
        """Everybody with all photos, and what was chosen for the gallery; all in memory at once."""
        found, damaged, state = self._everybody()
        if damaged:
            raise damage_error(self.path, damaged)
        state = state or self._state()
        return Contents(tuple(found), state.settings, state.fpir)

    def people(self, after: str = "", most: int | None = None) -> list[PersonSummary]:
        """People by name. Milvus gives rows in no order: the first page after a change takes as long as everybody."""
        if self._is_missing():
            return []
        if most is None:
            parts = self._connection.all("photos > 0", _SUMMARY)
            rows = [row for part in parts for row in part if str(row["name"]) > after]
        else:
            names = self._names()
            first = bisect.bisect_right(names, after, key=lambda pair: pair[0])
            rows = []
            for start in range(first, min(first + most, len(names)), _SUMMARIES):
                part = names[start : min(start + _SUMMARIES, first + most)]
                listed = ", ".join(f'"person {identity}"' for _, identity in part)
                rows += self._connection.query(f"key in [{listed}] and photos > 0", _SUMMARY)
        found = [PersonSummary(str(r["person"]), self._name(r), self._details(r), int(r["photos"])) for r in rows]
        return sorted(found, key=lambda person: person.name)

    def _names(self) -> list[tuple[str, str]]:
        """Everybody's name and id, by name."""
        head = self._state().head
        if self._pages[0] != head:
            parts = self._connection.all("photos > 0", ("person", "name"))
            self._pages = head, sorted((self._name(row), str(row["person"])) for part in parts for row in part)
        return self._pages[1]

    def person(self, who: str) -> StoredPerson:
        """One person with all photos."""
        return self._find(who)[0]

    def owner(self, sha256: str) -> str | None:
        """The name of the person for whom a photo is enrolled; None for a photo that is not."""
        if self._is_missing():
            return None
        rows = self._connection.query(f'key == "{photo_key(sha256)}"', ["person"])
        identity = str(rows[0]["person"]) if rows else ""
        return self._name_of(identity) if identity else None

    def settings(self) -> Settings:
        """What was chosen for the gallery."""
        return self._state().settings

    def audit_log(self, after: int = 0, before: int | None = None, most: int | None = None) -> list[AuditEntry]:
        """Changes between two numbers, of these the last `most`, the oldest first."""
        state = self._state()
        last = state.generation if before is None else min(before - 1, state.generation)
        first = max(after + 1, 1) if most is None else max(after + 1, 1, last - most + 1)
        return [
            AuditEntry(values[0], *values[1:4], values[5], values[6], link.hex())
            for values, link in self._entries(state, first, last)
        ]

    def refusal(self, sha256: str, judge: str, name: str) -> Refusal | None:
        """Why a photo of a person was refused earlier; None for nothing that still holds."""
        if self._is_missing():
            return None
        rows = self._connection.query(f'key == "refusal {photo_key(sha256)}"', ["judge", "text"], notes=True)
        found = Refusal.from_json(str(rows[0]["text"])) if rows and rows[0]["judge"] == mark(judge) else None
        if found is None or not found.copy_of:
            return found
        return found if self.owner(found.copy_of) == name else None

    def verify(self) -> list[DamagedEntry]:
        """What is damaged, in people, in the state or in the audit log; empty for a whole gallery."""
        people, damaged, state = self._everybody()
        if not damaged and state is not None:
            there = len(people), sum(len(person.photos) for person in people)
            if there != (state.people, state.photos):
                said = f"{there[0]} people with {there[1]} photos are there, not {state.people} with {state.photos}"
                damaged.append(DamagedEntry("", "", said))
            elif total([person.checksum for person in people]) != state.content:
                damaged.append(DamagedEntry("", "", "a person is missing, or not of the same moment as the others"))
        fault = self._chain_fault(state or self._state())
        return [*damaged, *([DamagedEntry("", "", fault)] if fault else [])]

    def _is_missing(self) -> bool:
        """Whether there is no collection, which the first change makes."""
        if not self._there:
            found = self._connection.contract()
            if found is not None:
                self.contract.require(found, f"gallery {self.path}")
                self._connection.load()
                self._there = True
        return not self._there

    def _check_models(self) -> None:
        """Refuses a collection that was dropped and made anew by other models."""
        found = self._connection.contract()
        if found is not None:
            self.contract.require(found, f"gallery {self.path}, which was replaced,")

    def _state(self, filling: bool = False) -> State:
        if self._is_missing():
            return State()
        rows = self._connection.query(f'key == "{STATE}"', STATE_FIELDS)
        state = State.of_row(rows[0]) if rows else State()
        if state.filling and not filling:
            raise GalleryError(
                f"gallery {self.path}: an import into it has not ended: wait for it, or if it was interrupted, import "
                "again"
            )
        return state

    def _rows(self, identity: str) -> list[Row]:
        """All rows of a person, of one moment."""
        return self._connection.query(f'person == "{identity}"', FIELDS)

    def _is_damaged(self, identity: str) -> bool:
        """Whether rows are there of which no whole person is made."""
        rows = self._rows(identity)
        try:
            person_of(rows, self.contract.dim)
        except (Damage, LookupError):
            return bool(rows)
        return False

    def _find(self, who: str) -> tuple[StoredPerson, dict[str, int]]:
        """A person, and the place of each photo and negative example in the order of enrolment."""
        for identity in self._ids(who):
            rows = self._rows(identity)
            try:
                return person_of(rows, self.contract.dim)
            except LookupError:  # gone since
                continue
            except Damage as error:
                raise damage_error(self.path, [_damaged(identity, rows, error)]) from error
        raise nobody_called(normalise_name(who), self.path)

    def _ids(self, who: str) -> Iterator[str]:
        """Of the person who has an id, else of the one of a name."""
        if self._is_missing():
            return
        if UUID.fullmatch(who):
            yield who
        where = f'lookup == "{mark(normalise_name(who))}" and photos > 0'
        yield from (str(row["person"]) for row in self._connection.query(where, ["person"]))

    def _named(self, name: str) -> str | None:
        """The id of the person of a normalised name."""
        rows = self._connection.query(f'lookup == "{mark(name)}" and photos > 0', ["person"])
        return str(rows[0]["person"]) if rows else None

    def _name_of(self, identity: str) -> str | None:
        rows = self._connection.query(f'key == "person {identity}"', ["name"])
        return str(rows[0]["name"]) if rows and rows[0]["name"] else None

    def _name(self, row: Row) -> str:
        name = str(row["name"])
        if fault := name_fault(name):
            raise damage_error(self.path, [DamagedEntry(name, str(row["person"]), f"the name {fault}")])
        return name

    def _details(self, row: Row) -> Details:
        try:
            return Details.from_json(str(row["text"]).encode())
        except Damage as error:
            damage = DamagedEntry(str(row["name"]), str(row["person"]), str(error))
            raise damage_error(self.path, [damage]) from error

    def _everybody(self) -> tuple[list[StoredPerson], list[DamagedEntry], State | None]:
        """Everybody in the order of enrolment, and who is damaged; the state of that moment, None if others wrote."""
        before = self._state()
        for number in range(_TRIES):
            found: list[StoredPerson] = []
            damaged: list[DamagedEntry] = []
            if not self._is_missing():
                rows = (row for part in self._connection.all('person != ""', FIELDS) for row in part)
                for identity, own in by_person(rows).items():
                    try:
                        found.append(person_of(own, self.contract.dim)[0])
                    except (Damage, LookupError) as error:
                        damaged.append(_damaged(identity, own, error))
            state = self._state()
            found.sort(key=lambda person: person.row)
            if state.head == before.head:
                return found, damaged, state
            before = state  # rows may be of two moments
            time.sleep(0.1 * (number + 1))
        return found, damaged, None

    def _entries(self, state: State, first: int, last: int) -> Iterator[Entry]:
        """Entries of the audit log with these numbers, as far as they are there; the oldest first."""
        pending = {values[0]: (values, link) for values, link in state.pending}
        for start in range(first, last + 1, _ENTRIES):
            end = min(start + _ENTRIES - 1, last)
            where = f'kind == "entry" and number >= {start} and number <= {end}'
            rows = self._connection.query(where, ["number", "text"], notes=True)
            found = {int(row["number"]): _entry(row) for row in rows}
            found |= {number: entry for number, entry in pending.items() if start <= number <= end}
            yield from (entry for _, entry in sorted(found.items()) if entry is not None)

    def _chain_fault(self, state: State) -> str | None:
        """What is wrong with the audit log, which must end as the state says; None for a whole one."""
        number, link = 0, audit.START
        for values, stored in self._entries(state, 1, state.generation):
            number += 1
            with contextlib.suppress(TypeError, AttributeError, ValueError):
                link = audit.linked(link, values)
            if values[0] != number or link != stored:
                return f"entry {number} of the audit log is altered, or one before it is missing"
        return None if (number, link) == (state.generation, state.head) else "the end of the audit log is missing"

    def write(self, change: Callable[[], T]) -> T:
        """Calls what changes the gallery, which `current` then looks at anew."""
        try:
            return change()
        finally:
            with self._lock:
                self._asked = -FRESH_S


def entry_row(entry: Entry) -> Row:
    """An entry of the audit log, as stored."""
    values, link = entry
    return note_row(f"entry {values[0]}", "entry", number=values[0], text=json.dumps([*values, link.hex()]))


def refusal_row(sha256: str, judge: str, refusal: Refusal) -> Row:
    """A photo that was refused, as stored."""
    return note_row(f"refusal {photo_key(sha256)}", "refusal", judge=mark(judge), text=refusal.to_json())


def _entry(row: Row) -> Entry | None:
    try:
        *values, link = json.loads(row["text"])
        number, at, who, action, place, person, detail = values
        return (int(number), at, who, action, place, person, detail), bytes.fromhex(link)
    except (ValueError, TypeError):
        return None


def _damaged(identity: str, rows: list[Row], error: Exception) -> DamagedEntry:
    own = next((row for row in rows if row["kind"] == "person"), None)
    reason = str(error) if own is not None else "its photos are there, the person is not"
    return DamagedEntry("" if own is None else str(own["name"]), identity, reason)
