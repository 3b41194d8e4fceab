"""What is read from an open gallery's file, each person checked against the checksums."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from lrface.gallery import audit
from lrface.gallery.audit import AuditEntry
from lrface.gallery.names import normalise_name
from lrface.gallery.reading import (
    Changes,
    DamagedEntry,
    Moment,
    StoredPerson,
    damage_error,
    damaged_entry,
    find_person,
    read_changes,
    read_person,
)
from lrface.gallery.records import NO_DETAILS, UUID, Damage, Details, PersonRow, read_details
from lrface.gallery.refusals import Refusal, read_refusal
from lrface.gallery.rules import nobody_called
from lrface.gallery.settings import Settings
from lrface.gallery.state import read_settings, read_state
from lrface.gallery.storefile import StoreFile
from lrface.gallery.transactions import gallery_errors

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PersonSummary:
    """Who a person is, without templates.

    Attributes:
        id: UUID.
        name: Normalised.
        details: Tags, groups and the rest.
        photos: How many.
    """

    id: str
    name: str
    details: Details
    photos: int


@dataclass(frozen=True, slots=True)
class Contents:
    """All of a gallery, of one moment.

    Attributes:
        people: With all photos, in the order of enrolment.
        settings: Groups and the rest.
        fpir: The rate chosen for the gallery; None where nobody chose.
    """

    people: tuple[StoredPerson, ...]
    settings: Settings
    fpir: float | None


class StoreReader(StoreFile):
    """People and photos in one file, as read. Thread-safe; several processes may share the file.

    Wherever a person is asked for (`who`), the name or the id does.
    """

    def read(
        self,
        make: Callable[[StoredPerson], T],
        since: Moment | None = None,
        known: Callable[[Iterable[int]], Iterable[bytes]] = lambda rows: (),
        wait_s: float | None = None,
        in_shelves: bool = False,
    ) -> Changes[T]:
        """Who has changed since an earlier moment, each checked against the checksums; everybody by default.

        Args:
            make: What to keep of a person.
            since: The moment of an earlier call.
            known: The checksums known of some rows.
            wait_s: How long a lock is waited for; None for `BUSY_S`.
            in_shelves: Whether most people come as `Changes.shelves`, without `make`, where everybody is read.

        Raises:
            GalleryInUseError: A writer has held the file for `wait_s` seconds.
            GalleryError: The file cannot be read, or somebody's row is damaged.
        """
        with self._lock, gallery_errors(self.path):
            self._ready(wait_s)
            changes = self._read_changes(make, since or Moment(), known, in_shelves)
            if changes.damaged:
                raise damage_error(self.path, changes.damaged)
            self._version = changes.version
            if self._pages is not None:
                self._pages.start()
        return changes

    def contents(self) -> Contents:
        """Everybody with all photos, and what was chosen for the gallery; all in memory at once.

        Raises:
            GalleryError: The file cannot be read, or somebody is damaged.
        """
        found = self.read(_itself)
        people = tuple(person for person in found.people.values() if person is not None)
        return Contents(people, found.settings, found.state.fpir)

    def verify(self) -> list[DamagedEntry]:
        """What is damaged, in people or in the audit log; empty for a whole gallery.

        Raises:
            GalleryError: The file cannot be read at all.
        """
        with self._lock, gallery_errors(self.path):
            self._ready()
            self._pages_are_whole()
            changes = self._read_changes(lambda person: None, Moment(), lambda rows: ())
            fault = audit.chain_fault(self._connection, changes.state.generation, changes.state.head)
            log = [DamagedEntry("", "", fault)] if fault and read_state(self._connection) is not None else []
            return [*changes.damaged, *log]

    def settings(self) -> Settings:
        """What was chosen for the gallery.

        Raises:
            GalleryError: The file cannot be read.
        """
        with self._lock, gallery_errors(self.path):
            self._ready()
            return read_settings(self._connection, self.path)

    def people(self, after: str = "", most: int | None = None) -> list[PersonSummary]:
        """People by name, from the one after a name on, at most so many.

        A page of an encrypted gallery takes as long as everybody: its names are in no order in the file.

        Raises:
            GalleryError: The file cannot be read, or somebody's row is damaged.
        """
        with self._lock, gallery_errors(self.path):
            self._ready()
            if most is not None and not self.cipher.encrypts:
                query = (
                    "SELECT uuid, name, details, (SELECT count(*) FROM photos WHERE person_id = people.id) FROM people "
                    "WHERE name > ? ORDER BY name LIMIT ?"
                )
                rows = self._connection.execute(query, (after, most)).fetchall()
                return [PersonSummary(row[0], row[1], Details.from_json(row[2]), row[3]) for row in rows]
            found = sorted(self._summaries(), key=lambda person: person.name)
            return [person for person in found if person.name > after][:most]

    def person(self, who: str) -> StoredPerson:
        """One person with all photos.

        Raises:
            GalleryError: There is no such person, or it is damaged.
        """
        with self._lock, gallery_errors(self.path):
            self._ready()
            return self._read(self._find(who))

    def audit_log(self, after: int = 0, before: int | None = None, most: int | None = None) -> list[AuditEntry]:
        """Changes between two numbers, of these the last `most`, the oldest first.

        Raises:
            GalleryError: The file cannot be read.
        """
        with self._lock, gallery_errors(self.path):
            self._ready()
            return list(audit.entries(self._connection, after, before, most))

    def owner(self, sha256: str) -> str | None:
        """The person for whom a photo is enrolled; None for a photo that is not.

        Raises:
            GalleryError: The file cannot be read, or the person's row is damaged.
        """
        with self._lock, gallery_errors(self.path):
            if not self._connection.in_transaction:
                self._ready()
            query = "SELECT person_id FROM photos WHERE sha256 = ?"
            row = self._connection.execute(query, (self.cipher.lookup(sha256),)).fetchone()
            person = None if row is None else find_person(self._connection, "id", row[0])
            return None if person is None else self._read(person).name

    def refusal(self, sha256: str, judge: str, name: str) -> Refusal | None:
        """Why a photo of a person was refused earlier; None for nothing that still holds.

        Raises:
            GalleryError: The file cannot be read.
        """
        with self._lock, gallery_errors(self.path):
            self._ready()
            found = read_refusal(self._connection, self.cipher, judge, sha256)
            if found is None or not found.copy_of:
                return found
            query = "SELECT people.name FROM photos JOIN people ON people.id = person_id WHERE sha256 = ?"
            owner = self._connection.execute(query, (found.copy_of,)).fetchone()
            return found if owner is not None and owner[0] == self.cipher.lookup(name) else None

    def _read_changes(
        self,
        make: Callable[[StoredPerson], T],
        since: Moment,
        known: Callable[[Iterable[int]], Iterable[bytes]],
        in_shelves: bool = False,
    ) -> Changes[T]:
        return read_changes(self._connection, self.contract, self.cipher, make, since, known, self.path, in_shelves)

    def _find(self, who: str) -> PersonRow:
        person = find_person(self._connection, "uuid", who) if UUID.fullmatch(who) else None
        if person is None:
            name = normalise_name(who)
            person = find_person(self._connection, "name", self.cipher.lookup(name))
            if person is None:
                raise nobody_called(name, self.path)
        return person

    def _read(self, person: PersonRow) -> StoredPerson:
        try:
            return read_person(self._connection, self.contract, self.cipher, person)
        except Damage as error:
            raise damage_error(self.path, [damaged_entry(person, error)]) from error

    def _with_details(self) -> list[PersonRow]:
        """Everybody with details (in an encrypted gallery simply everybody), in the order of enrolment."""
        query = "SELECT id, uuid, name, details, checksum FROM people WHERE details <> ? ORDER BY id"
        return [PersonRow(*row) for row in self._connection.execute(query, (NO_DETAILS,)).fetchall()]

    def _details(self, person: PersonRow) -> Details:
        try:
            return read_details(person, self.cipher)[1]
        except (Damage, TypeError) as error:
            damage = error if isinstance(error, Damage) else Damage("the person's row holds values of wrong types")
            raise damage_error(self.path, [damaged_entry(person, damage)]) from error

    def _summaries(self) -> list[PersonSummary]:
        query = "SELECT person_id, count(*) FROM photos GROUP BY person_id"
        counts = dict(self._connection.execute(query).fetchall())
        rows = self._connection.execute("SELECT id, uuid, name, details, checksum FROM people").fetchall()
        people = []
        for row in map(PersonRow, *zip(*rows, strict=True)) if rows else ():
            details = Details.from_json(self.cipher.unseal(row.details))
            name = details.name if self.cipher.encrypts else row.name
            people.append(PersonSummary(row.id, name, details, counts.get(row.row, 0)))
        return people

    def _people_with_photos(self) -> list[tuple[PersonRow, list[tuple[int, str]]]]:
        """Everybody with the numbers and stored hashes of the photos."""
        photos: dict[int, list[tuple[int, str]]] = {}
        for row, number, sha256 in self._connection.execute("SELECT person_id, id, sha256 FROM photos"):
            photos.setdefault(row, []).append((number, sha256))
        rows = self._connection.execute("SELECT id, uuid, name, details, checksum FROM people ORDER BY id").fetchall()
        return [(PersonRow(*row), photos.get(row[0], [])) for row in rows]


def _itself(person: StoredPerson) -> StoredPerson:
    return person
