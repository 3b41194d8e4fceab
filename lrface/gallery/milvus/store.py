"""A gallery in Milvus: each change is one request, made while no other process has the turn."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike

import numpy as np

from lrface.errors import GalleryError
from lrface.gallery import audit
from lrface.gallery.contract import Contract
from lrface.gallery.keys import KEY, KEY_FILE, Key, find_key
from lrface.gallery.milvus.address import read_address
from lrface.gallery.milvus.change import Change
from lrface.gallery.milvus.connection import Connection
from lrface.gallery.milvus.reader import MilvusReader, entry_row, refusal_row
from lrface.gallery.milvus.rows import BLANK, empty_row, group_mark, mark, photo_key, without_crops
from lrface.gallery.milvus.state import State
from lrface.gallery.milvus.turns import turn_of
from lrface.gallery.reading import DamagedEntry, StoredPerson
from lrface.gallery.records import Details, PhotoTemplate, vector_bytes
from lrface.gallery.refusals import Refusal
from lrface.gallery.rules import (
    check_details,
    check_group_is_empty,
    import_fault,
    joined_details,
    name_taken,
    not_empty,
    photo_taken,
    photo_to_remove,
    same_person,
)
from lrface.gallery.settings import Group, Settings, check_group
from lrface.types import FloatArray

_REQUEST = 2**20  # bytes of templates and crops in one request of an import; a server refuses more than 64 MiB
_REFUSALS = 2000  # in one request


class MilvusStore(MilvusReader):
    """People and photos in Milvus. Thread-safe; several processes on several machines may share them."""

    @classmethod
    def open(cls, url: str, contract: Contract | None, create: bool = True, key: Key | None = None) -> MilvusStore:
        """Connects to the server; see `Gallery.open`. The collection is made with the first change."""
        address = read_address(url)
        if find_key(key) is not None:
            raise GalleryError(
                f"gallery {address}: a key was given, but Milvus cannot search what is encrypted: open it without "
                f"({KEY}, {KEY_FILE}), and have the disks of the server encrypted"
            )
        connection = Connection(address)
        try:
            found = connection.contract()
            if found is not None:
                if contract is not None:
                    found.require(contract, f"gallery {address}")
                connection.load()
            elif contract is None or not create:
                raise GalleryError(f"gallery {address}: there is no such collection: check it, or enrol somebody first")
        except BaseException:
            connection.close()
            raise
        known = contract if found is None else found
        assert known is not None  # noqa: S101  (one of both is there)
        return cls(connection, known, found is not None)

    def add(self, name: str, photos: Sequence[PhotoTemplate]) -> int:
        """Stores photos of a person; returns how many were new."""
        at = audit.now()
        with self._writing() as change:
            identity = self._named(name)
            old, numbers = self._find(identity) if identity is not None else (None, {})
            keep = change.state.settings.keep_crops
            own = {photo.sha256 for photo in old.photos} if old is not None else set()
            new: dict[str, PhotoTemplate] = {}
            for photo in photos:
                if photo.sha256 not in own:
                    new[photo.sha256] = replace(photo, added=photo.added or at, crop=photo.crop if keep else b"")
            owners = self._owners(list(new))
            if owners:
                raise photo_taken(name, self._name_of(owners[0]))
            if old is None:
                person = StoredPerson(change.take_number(), str(uuid.uuid4()), name, Details(), (), (), b"")
                change.tell("person added", person)
            else:
                person = old
            if new:
                change.put(old, replace(person, photos=(*person.photos, *new.values())), numbers)
                change.tell("photos added", person, f"{len(new)} photos")
        return len(new)

    def remove(self, who: str) -> int:
        """Deletes a person, also a damaged one; returns how many photos there were."""
        with self._writing() as change:
            try:
                person, numbers = self._find(who)
            except GalleryError:
                damaged = next((i for i in self._ids(who) if self._is_damaged(i)), None)
                if damaged is None:
                    raise
                photos = self._remove_damaged(change, [damaged])
                change.entries.append((audit.REMOVED, None, damaged, f"{photos} photos"))
            else:
                photos = len(person.photos)
                change.put(person, None, numbers)
                change.tell(audit.REMOVED, person, f"{photos} photos")
        self._forget_refusals()
        return photos

    def remove_photo(self, who: str, sha256: str) -> None:
        """Deletes one photo of a person, by the first characters of its hash."""
        with self._writing() as change:
            person, numbers = self._find(who)
            gone = photo_to_remove(who, person.photos, sha256)
            left = tuple(photo for photo in person.photos if photo.sha256 != gone)
            change.put(person, replace(person, photos=left), numbers)
            change.tell("photo removed", person)

    def rename(self, who: str, name: str) -> None:
        """Gives a person another name; the id stays."""
        with self._writing() as change:
            person, numbers = self._find(who)
            if self._named(name) not in (None, person.id):
                raise name_taken(name)
            change.put(person, replace(person, name=name), numbers)
            change.tell(audit.RENAMED, person)

    def merge(self, who: str, into: str) -> None:
        """Makes two entries one, of which the second one stays."""
        with self._writing() as change:
            (source, some), (target, others) = self._find(who), self._find(into)
            if source.id == target.id:
                raise same_person(who, into)
            known = {vector_bytes(vector) for vector in target.negatives}
            more = [vector for vector in source.negatives if vector_bytes(vector) not in known]
            change.put(source, None, some)
            joined = replace(
                target,
                details=joined_details(source.details, target.details),
                photos=(*target.photos, *source.photos),
                negatives=(*target.negatives, *more),
            )
            change.put(target, joined, some | others)
            change.tell(audit.MERGED, source)
            change.tell(audit.MERGED_INTO, target, f"{len(source.photos)} photos")

    def edit(self, who: str, change_details: Callable[[Details], Details], action: str) -> None:
        """Changes what is known of a person beside name and photos."""
        with self._writing() as change:
            person, numbers = self._find(who)
            details = change_details(person.details)
            check_details(details, change.state.settings)
            change.put(person, replace(person, details=details), numbers)
            change.tell(action, person)

    def add_negative(self, who: str, embedding: FloatArray) -> None:
        """Keeps a face that is not this person's."""
        with self._writing() as change:
            person, numbers = self._find(who)
            if not any(np.array_equal(embedding, vector) for vector in person.negatives):
                change.put(person, replace(person, negatives=(*person.negatives, embedding)), numbers)
            change.tell("negative example added", person)

    def remove_negative(self, who: str, embedding: FloatArray) -> None:
        """Takes a negative example out again."""
        with self._writing() as change:
            person, numbers = self._find(who)
            left = tuple(vector for vector in person.negatives if not np.array_equal(embedding, vector))
            if len(left) == len(person.negatives):
                raise GalleryError(f"{person.name} has no such negative example")
            change.put(person, replace(person, negatives=left), numbers)
            change.tell("negative example removed", person)

    def expire(self, today: str) -> list[str]:
        """Deletes everybody whose last day is over; returns their ids. One after the other."""
        gone: list[str] = []
        while not self._is_missing():
            with self._writing() as change:
                rows = self._connection.query(f'photos > 0 and until != "" and until < "{today}"', ["person"])
                if not rows:
                    break
                person, numbers = self._find(str(rows[0]["person"]))
                change.put(person, None, numbers)
                change.tell(audit.EXPIRED, person, f"{len(person.photos)} photos")
                gone.append(person.id)
        if gone:
            self._forget_refusals()
        return gone

    def remember_refusals(self, judge: str, refusals: Mapping[str, Refusal]) -> None:
        """Keeps why photos were refused, by their hashes; forgets those of other judges."""
        self._make()
        self._connection.delete(f'kind == "refusal" and judge != "{mark(judge)}"', notes=True)
        rows = [refusal_row(sha256, judge, refusal) for sha256, refusal in refusals.items()]
        for start in range(0, len(rows), _REFUSALS):
            self._connection.put(rows[start : start + _REFUSALS], notes=True)

    def log(self, action: str, detail: str) -> None:
        """Adds an entry to the audit log."""
        with self._writing() as change:
            change.tell(action, None, detail)

    def set_fpir(self, fpir: float) -> None:
        """Keeps the rate chosen for the gallery."""
        with self._writing() as change:
            change.state = replace(change.state, fpir=fpir)
            change.tell("fpir chosen", None, f"{fpir:g}")

    def set_group(self, name: str, group: Group | None) -> None:
        """Makes or changes a group; None deletes it, if nobody is in it."""
        if group is not None:
            check_group(group)
        with self._writing() as change:
            settings = change.state.settings
            if group is None:
                where = f'photos > 0 and array_contains(groups, "{group_mark(name)}")'
                inside = [str(row["name"]) for row in next(self._connection.all(where, ["name"]), [])]
                check_group_is_empty(name, settings, inside)
            change.state = replace(change.state, settings=settings.with_group(name, group))
            change.tell("group changed" if group else "group deleted")

    def set_keep_crops(self, keep: bool) -> None:
        """Whether crops of photos enrolled from now on are kept; False deletes those that were."""
        with self._writing() as change:
            settings = change.state.settings
            if settings.keep_crops != keep:
                change.state = replace(change.state, settings=replace(settings, keep_crops=keep))
                change.tell("crops are kept" if keep else "crops deleted, no more are kept")
        if keep:
            return
        rows = self._connection.all('kind == "photo" and blob != ""', ["person"])  # also what an earlier call has left
        for identity in sorted({str(row["person"]) for part in rows for row in part}):
            with self._writing() as change:
                if not self._rows(identity):  # removed since
                    continue
                person, numbers = self._find(identity)
                change.put(person, replace(person, photos=without_crops(person.photos)), numbers)
                change.tell("crops deleted", person)

    def fill(self, people: Sequence[StoredPerson], settings: Settings, fpir: float | None) -> None:
        """Puts people with their ids and details into a gallery without people."""
        names, photos = [p.name for p in people], [photo.sha256 for p in people for photo in p.photos]
        for what, values in (("a person", names), ("a photo", photos), ("an id", [p.id for p in people])):
            if len(set(values)) < len(values):
                raise import_fault(what)
        size = 0  # of the next request
        with self._writing(filling=True) as change:
            if change.state.people and not change.state.filling:
                raise not_empty(self.path)
            began = replace(change.state, filling=True)
            change.turn.check()
            self._connection.commit([began.to_row(self.contract.dim)])
            change.turn.check()
            self._connection.delete('person != ""')  # of an import that was interrupted
            change.state = replace(began, filling=False, settings=replace(settings, key_proof=None), fpir=fpir)
            change.tell("gallery imported", None, f"{len(people)} people")
            for person in people:
                change.put(None, replace(person, row=change.take_number()), {})
                size += _size(person)
                if size > _REQUEST:
                    change.turn.renew()
                    self._connection.commit(list(change.rows.values()))
                    change.rows, size = {}, 0
        # An entry for each person would not fit into one state, and tells no more: the one of the import says how many.
        self._connection.flush()  # so many rows are searched slowly until they have an index

    def remove_damaged(self) -> list[DamagedEntry]:
        """Deletes what `verify` lists, so that all others can be used again; enrol the deleted people anew."""
        damaged = self.verify()
        with self._writing() as change:
            self._remove_damaged(change, [entry.id for entry in damaged if entry.id])
        self._forget_refusals()
        return damaged

    def compact(self) -> None:
        """Has Milvus rewrite what holds deleted rows. A cluster deletes the old files after its own time of keeping."""
        if self._is_missing():
            return
        with self._writing():
            pass  # completes what a process that died has begun
        self._connection.compact()

    def snapshot(self, target: str | PathLike[str]) -> None:
        """Not here: a copy of a collection is made by Milvus's own tools."""
        raise GalleryError(
            f"gallery {self.path} is not copied into a file: use Milvus's own backup, or `lrface gallery export`"
        )

    def _make(self) -> None:
        """Makes the collections, where there are none."""
        if self._is_missing():
            self.contract.require(self._connection.create(self.contract), f"gallery {self.path}")
            self._connection.load()
            self._there = True

    @contextmanager
    def _writing(self, filling: bool = False) -> Iterator[Change]:
        """A change, written at the end of the block in one request; told nothing, nothing is written."""
        with self._writers:
            self._make()
            self._check_models()
            with turn_of(self._connection) as turn:
                state = self._state(filling)
                self._complete(state)
                change = Change(replace(state, pending=(), blank=False), turn, self.contract.dim)
                yield change
                if not change.entries:
                    return
                blank = [key for key, row in change.rows.items() if row["kind"] == BLANK]
                change.state = replace(change.state.told(change.entries), blank=bool(blank))
                turn.check()
                self._connection.commit([*change.rows.values(), change.state.to_row(self.contract.dim)])
                # By their keys only while nobody else can have put other rows there; else the next change deletes them.
                if blank and turn.suffices:
                    with contextlib.suppress(GalleryError):  # the change is stored, whatever becomes of this
                        self._connection.delete_keys(blank)

    def _complete(self, state: State) -> None:
        """Does what the last change left to be done."""
        if state.pending:
            self._connection.put([entry_row(entry) for entry in state.pending], notes=True)
        if state.blank:
            self._connection.delete(f'kind == "{BLANK}"')

    def _owners(self, hashes: Sequence[str]) -> list[str]:
        """The ids of the people to whom some of these photos belong."""
        listed = ", ".join(f'"{photo_key(sha256)}"' for sha256 in hashes)
        rows = self._connection.query(f"key in [{listed}]", ["person"]) if hashes else []
        return [str(row["person"]) for row in rows if row["person"]]

    def _remove_damaged(self, change: Change, ids: Sequence[str]) -> int:
        """Deletes all rows of some people, and counts all others anew; returns how many photos were deleted."""
        gone = [row for identity in ids for row in self._rows(identity)]
        change.rows |= {key: empty_row(key, BLANK, self.contract.dim) for key in (str(row["key"]) for row in gone)}
        with change.turn.kept():
            people, _, _ = self._everybody()
        fresh = State(next_row=change.state.next_row, fpir=change.state.fpir, settings=change.state.settings)
        for person in people:
            if person.id not in ids:
                fresh = fresh.changed(None, person)
        if self._chain_fault(change.state) is None:
            fresh = replace(fresh, generation=change.state.generation, head=change.state.head)
            change.tell("damage removed")
        else:
            self._connection.delete('kind == "entry"', notes=True)
            change.tell("damage removed, the audit log begins anew")
        change.state = fresh
        return sum(row["kind"] == "photo" for row in gone)

    def _forget_refusals(self) -> None:
        """Whoever was refused may be who is removed: hashes of their photos go too."""
        self._connection.delete('kind == "refusal"', notes=True)


def _size(person: StoredPerson) -> int:
    """Bytes of a person's templates and crops, about."""
    vectors = 1 + len(person.photos) + len(person.negatives)
    return vectors * person.photos[0].embedding.nbytes + sum(len(photo.crop) for photo in person.photos)
