"""What is written into a gallery's file, each change in one transaction."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

from lrface.errors import GalleryError
from lrface.gallery import audit
from lrface.gallery.contract import Contract
from lrface.gallery.reading import PHOTO_COLUMNS, DamagedEntry, Moment, StoredPerson, find_person, negative_checksum
from lrface.gallery.records import UUID, Details, PersonRow, PhotoTemplate, photo_checksum, photo_values, total
from lrface.gallery.refusals import forget_refusals
from lrface.gallery.rows import delete_negative, insert_negative, insert_person, insert_photo
from lrface.gallery.rules import (
    check_details,
    import_fault,
    joined_details,
    name_taken,
    not_empty,
    photo_taken,
    photo_to_remove,
    same_person,
)
from lrface.gallery.settings import Settings
from lrface.gallery.state import State, read_settings, read_state, write_contract, write_settings, write_state
from lrface.gallery.storefile import Change
from lrface.gallery.storenotes import STORED, StoreNotes
from lrface.gallery.transactions import gallery_errors
from lrface.types import FloatArray


class Store(StoreNotes):
    """People and photos in one file. Thread-safe; several processes may share the file.

    Wherever a person is asked for (`who`), the name or the id does.
    """

    def remove_damaged(self) -> list[DamagedEntry]:
        """Deletes what `verify` lists, so that all others can be used again; enrol the deleted people anew.

        A damaged rate (fpir) is deleted too. A damaged audit log begins anew, with an entry that says so.

        Raises:
            GalleryError: The file cannot be written.
        """
        with self._lock, gallery_errors(self.path), self._transaction():
            execute = self._connection.execute
            found = self._read_changes(lambda person: None, Moment(), lambda rows: ())
            state = read_state(self._connection)
            fault = state is None or audit.chain_fault(self._connection, state.generation, state.head)
            damaged = [*found.damaged, *([DamagedEntry("", "", str(fault))] if fault and state is not None else [])]
            for table in ("photos", "negatives"):
                execute(f"DELETE FROM {table} WHERE person_id NOT IN (SELECT id FROM people)")
            self._connection.executemany("DELETE FROM people WHERE id = ?", [(entry.row,) for entry in damaged])
            forget_refusals(self._connection)
            left = [row[0] for row in execute("SELECT checksum FROM people").fetchall()]
            photos = execute("SELECT count(*) FROM photos").fetchone()[0]
            last = (0, audit.START) if state is None or fault else (state.generation, state.head)
            if last[0] == 0:
                execute("DELETE FROM audit")
            said = "damage removed" if last[0] else "damage removed, the audit log begins anew"
            rows: list[tuple[int | None, str]] = [(entry.row, entry.id) for entry in damaged if entry.id]
            for row, identity in rows or [(None, "")]:
                identity = identity if UUID.fullmatch(identity) else ""  # a damaged one may hold anything
                last = audit.append(self._connection, last, said, row, identity, "")
            rate = None if state is None else state.fpir
            write_state(self._connection, State(rate, len(left), photos, total(left), *last))
        return damaged

    def add(self, name: str, photos: Sequence[PhotoTemplate]) -> int:
        """Stores photos of a person (name normalised, photos checked) in one transaction; returns how many were new.

        Raises:
            GalleryError: A photo of somebody else, damage, or the file cannot be written; nothing is stored then.
        """
        added, at = 0, audit.now()
        with self._writing() as change:
            person = find_person(self._connection, "name", self.cipher.lookup(name))
            if person is None:
                details = Details(name if self.cipher.encrypts else "")
                person = insert_person(self._connection, self.cipher, name, details, str(uuid.uuid4()))
                change.people = 1
                change.tell("person added", person.row, person.id)
            else:
                self._read(person)
                change.before.append(person.checksum)
            keep = read_settings(self._connection, self.path).keep_crops
            for photo in photos:
                stored = replace(photo, added=photo.added or at, crop=photo.crop if keep else b"")
                if insert_photo(self._connection, self.cipher, person, stored):
                    added += 1
                elif (owner := self.owner(photo.sha256)) != name:
                    raise photo_taken(name, owner)
            change.photos = added
            self._seal(change, person)
            if added:
                change.tell("photos added", person.row, person.id, f"{added} photos")
        return added

    def remove(self, who: str) -> int:
        """Deletes a person in one transaction, also a damaged one; returns how many photos there were.

        Raises:
            GalleryError: There is no such person, or the file cannot be written; nothing is deleted then.
        """
        with self._writing() as change:
            return self._delete(self._find(who), change, audit.REMOVED)

    def remove_photo(self, who: str, sha256: str) -> None:
        """Deletes one photo of a person.

        Args:
            who: Name or id.
            sha256: Of the photo, as `photos` lists it; its first characters do if they name one photo only.

        Raises:
            GalleryError: No such person or photo, several that begin so, or the only one of the person.
        """
        with self._writing() as change:
            person = self._find(who)
            found = photo_to_remove(who, self._read(person).photos, sha256)
            change.before.append(person.checksum)
            self._connection.execute("DELETE FROM photos WHERE sha256 = ?", (found,))
            self._seal(change, person)
            change.photos = -1
            change.tell("photo removed", person.row, person.id)

    def rename(self, who: str, name: str) -> None:
        """Gives a person another name (normalised); the id stays.

        Raises:
            GalleryError: No such person, or somebody else has the name.
        """
        with self._writing() as change:
            person = self._find(who)
            details = self._read(person).details
            other = find_person(self._connection, "name", self.cipher.lookup(name))
            if other is not None and other.row != person.row:
                raise name_taken(name)
            change.before.append(person.checksum)
            renamed = replace(person, name=self.cipher.lookup(name))
            if self.cipher.encrypts:
                details = replace(details, name=name)
            self._seal(change, renamed, details)
            change.tell(audit.RENAMED, person.row, person.id)

    def merge(self, who: str, into: str) -> None:
        """Makes two entries one: photos, negative examples, tags, groups and metadata of `who` go to `into`.

        Where both have metadata of one key, that of `into` stays; the earlier day of retention holds.

        Raises:
            GalleryError: No such person, or both are the same.
        """
        with self._writing() as change:
            source, target = self._find(who), self._find(into)
            if source.row == target.row:
                raise same_person(who, into)
            old, kept = self._read(source), self._read(target)
            change.before += [source.checksum, target.checksum]
            for photo in self._connection.execute(
                f"SELECT id, {STORED} FROM photos WHERE person_id = ?", (source.row,)
            ).fetchall():
                self._connection.execute(
                    "UPDATE photos SET person_id = ?, checksum = ? WHERE id = ?",
                    (target.row, photo_checksum(target.id, *photo[1:]), photo[0]),
                )
            for number, blob in self._connection.execute(
                "SELECT id, embedding FROM negatives WHERE person_id = ?", (source.row,)
            ).fetchall():
                self._connection.execute(
                    "UPDATE negatives SET person_id = ?, checksum = ? WHERE id = ?",
                    (target.row, negative_checksum(target.id, blob), number),
                )
            self._connection.execute("DELETE FROM people WHERE id = ?", (source.row,))
            details = joined_details(old.details, kept.details)
            self._seal(change, target, details)
            change.people = -1
            change.tell(audit.MERGED, source.row, source.id)
            change.tell(audit.MERGED_INTO, target.row, target.id, f"{len(old.photos)} photos")

    def edit(self, who: str, change_details: Callable[[Details], Details], action: str) -> None:
        """Changes what is known of a person beside name and photos.

        Raises:
            GalleryError: No such person, an unknown group, or too long.
        """
        with self._writing() as change:
            person = self._find(who)
            details = change_details(self._read(person).details)
            check_details(details, read_settings(self._connection, self.path))
            change.before.append(person.checksum)
            self._seal(change, person, details)
            change.tell(action, person.row, person.id)

    def add_negative(self, who: str, embedding: FloatArray) -> None:
        """Keeps a face that is not this person's.

        Raises:
            GalleryError: No such person.
        """
        with self._writing() as change:
            person = self._find(who)
            self._read(person)
            change.before.append(person.checksum)
            insert_negative(self._connection, self.cipher, person, embedding)
            self._seal(change, person)
            change.tell("negative example added", person.row, person.id)

    def remove_negative(self, who: str, embedding: FloatArray) -> None:
        """Takes a negative example out again; a GalleryError where there is no such person or example."""
        with self._writing() as change:
            person = self._find(who)
            self._read(person)
            change.before.append(person.checksum)
            if not delete_negative(self._connection, self.cipher, person, embedding):
                raise GalleryError(f"{person.name} has no such negative example")
            self._seal(change, person)
            change.tell("negative example removed", person.row, person.id)

    def expire(self, today: str) -> list[str]:
        """Deletes everybody whose last day is over; returns their ids.

        Raises:
            GalleryError: The file cannot be written, or somebody is damaged.
        """
        with self._writing() as change:
            gone = []
            for person in self._with_details():
                if self._details(person).retain_until is None:
                    continue
                day = self._read(person).details.retain_until
                if day is not None and day < today:
                    self._delete(person, change, audit.EXPIRED)
                    gone.append(person.id)
            return gone

    def upgrade(self, contract: Contract, templates: dict[str, PhotoTemplate], remove_missing: bool = False) -> None:
        """Replaces every template and the contract in one transaction; photos that are not given are deleted.

        Args:
            contract: The new models'.
            templates: By the photo's stored hash (`PhotoTemplate.sha256` as read).
            remove_missing: Whether people without any of these photos are deleted.

        Raises:
            GalleryError: A person would be left without a photo, or the file cannot be written; nothing is changed.
        """
        with self._writing() as change:
            for person, photos in self._people_with_photos():
                if not any(photo[1] in templates for photo in photos):
                    if remove_missing:
                        self._delete(person, change, "person removed: no photo for the upgrade")
                        continue
                    raise GalleryError("a person would be left without a template: enrol or remove that person first")
                change.before.append(person.checksum)
                for number, sha256, *_ in photos:
                    self._connection.execute("DELETE FROM photos WHERE id = ?", (number,))
                    new = templates.get(sha256)
                    if new is None:
                        change.photos -= 1
                        continue
                    values = (sha256, *photo_values(person.id, new, self.cipher)[1:-1])
                    self._connection.execute(
                        f"INSERT INTO photos (id, person_id, {PHOTO_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        (number, person.row, *values, photo_checksum(person.id, *values)),
                    )
                # Faces that are not this person's were embedded by the old model.
                self._connection.execute("DELETE FROM negatives WHERE person_id = ?", (person.row,))
                self._seal(change, person)
                change.tell("templates upgraded", person.row, person.id)
            write_contract(self._connection, contract)
            change.tell("gallery upgraded to other models")
        self.contract = contract

    def fill(self, people: Sequence[StoredPerson], settings: Settings, fpir: float | None) -> None:
        """Puts people with their ids and details into a gallery without people, in one transaction.

        Raises:
            GalleryError: Somebody is in it, two have one name, id or photo, or the file cannot be written.
        """
        with self._writing() as change:
            if self._connection.execute("SELECT count(*) FROM people").fetchone()[0]:
                raise not_empty(self.path)
            proof = read_settings(self._connection, self.path).key_proof
            write_settings(self._connection, replace(settings, key_proof=proof))
            change.fpir = fpir
            change.tell("gallery imported", detail=f"{len(people)} people")
            for person in people:
                details = replace(person.details, name=person.name if self.cipher.encrypts else "")
                try:
                    row = insert_person(self._connection, self.cipher, person.name, details, person.id)
                except sqlite3.IntegrityError as error:
                    raise import_fault(repr(person.name)) from error
                for photo in person.photos:
                    if not insert_photo(self._connection, self.cipher, row, photo):
                        raise import_fault(f"a photo of {person.name!r}")
                for vector in person.negatives:
                    insert_negative(self._connection, self.cipher, row, vector)
                change.people += 1
                change.photos += len(person.photos)
                self._seal(change, row)
                change.tell("person imported", row.row, row.id, f"{len(person.photos)} photos")

    def _delete(self, person: PersonRow, change: Change, action: str) -> int:
        query = "SELECT count(*) FROM photos WHERE person_id = ?"
        photos = int(self._connection.execute(query, (person.row,)).fetchone()[0])
        self._connection.execute("DELETE FROM people WHERE id = ?", (person.row,))
        forget_refusals(self._connection)
        change.before.append(person.checksum if isinstance(person.checksum, bytes) else b"")  # a damaged one goes too
        change.people -= 1
        change.photos -= photos
        identity = person.id if UUID.fullmatch(str(person.id)) else ""
        change.tell(action, person.row, identity, f"{photos} photos")
        return photos
