"""Who is enrolled: what a program may ask of a gallery, wherever it is kept."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from types import TracebackType
from typing import Any

from lrface.errors import ArgumentError, ContractError, GalleryError
from lrface.gallery.contract import Contract
from lrface.gallery.index import Match
from lrface.gallery.keys import Key
from lrface.gallery.names import normalise_name
from lrface.gallery.notes import GalleryNotes
from lrface.gallery.opening import open_followed
from lrface.gallery.person import Person
from lrface.gallery.reading import DamagedEntry, StoredPerson
from lrface.gallery.records import PhotoTemplate, usable_photo
from lrface.types import FloatArray


class Gallery(GalleryNotes):
    """People and their templates, in a file or in Milvus. Thread-safe; several processes may share it.

    Wherever a person is asked for (`who`), the name or the id does.
    """

    @property
    def contract(self) -> Contract:
        """The models that the templates were made with."""
        return self._store.contract

    @classmethod
    def open(
        cls,
        path: str | PathLike[str],
        contract: Contract | None = None,
        *,
        create: bool = True,
        key: Key | None = None,
    ) -> Gallery:
        """Opens a gallery.

        Args:
            path: The file, ":memory:", or the URL of a collection in Milvus: `milvus://host:19530/staff`.
            contract: The loaded models' (`Contract.of(manifest)`); None to open an existing gallery as it is.
            create: Whether to make the file, or with the first change the collection, where there is none; without a
                contract it is never made.
            key: 32 bytes, or a function that gives them, by which names, templates and crops are encrypted. None for
                the one that the environment names (`LRFACE_GALLERY_KEY`, `LRFACE_GALLERY_KEY_FILE`), else a gallery
                that is not encrypted. Not for Milvus, which cannot search what is encrypted.

        Raises:
            GalleryError: Not a gallery, damaged, of a newer lrface, of another key, or not accessible; or there is
                none, and none is to be made.
            ContractError: Made with other models.
        """
        return cls(*open_followed(path, contract, create, key))

    def add(self, name: str, photos: Sequence[PhotoTemplate]) -> int:
        """Enrols photos of a person, all of them or none; when it returns, they are on the disk.

        A photo belongs to one person: under two names, either would be found with the same similarity.

        Args:
            name: Normalised by `normalise_name`.
            photos: At least one; those that the person has already are passed over.

        Returns:
            How many were new.

        Raises:
            EnrolmentError: The name is not usable.
            ContractError: A template has another dimension than the gallery's.
            GalleryError: Nothing to add, a photo of somebody else, or it cannot be written (a full disk);
                nothing is stored then.
        """
        clean = normalise_name(name)
        if not photos:
            raise GalleryError(f"no photo of {clean} to enrol: pass at least one")
        for photo in photos:
            self._check(photo, "a photo cannot be enrolled")
        return self._index.write(lambda: self._store.add(clean, photos))

    def remove(self, who: str) -> int:
        """Deletes a person and every template; the bytes in the file are overwritten with zeros.

        Copies that SQLite made of them while it moved rows may be left: `compact` leaves none. In Milvus their bytes
        are left until it has compacted its files.

        Returns:
            How many photos were enrolled.

        Raises:
            GalleryError: There is no such person, or it cannot be written.
        """
        return self._index.write(lambda: self._store.remove(who))

    def remove_photo(self, who: str, sha256: str) -> None:
        """Deletes one photo of a person, as `photos` lists it; its first characters do.

        Raises:
            GalleryError: No such person or photo, several that begin so, or the only one of the person.
        """
        self._index.write(lambda: self._store.remove_photo(who, sha256))

    def rename(self, who: str, name: str) -> None:
        """Gives a person another name; the id stays.

        Raises:
            EnrolmentError: The name is not usable.
            GalleryError: No such person, or somebody else has the name.
        """
        clean = normalise_name(name)
        self._index.write(lambda: self._store.rename(who, clean))

    def merge(self, who: str, into: str) -> None:
        """Makes two entries one: photos, tags, groups and metadata of `who` go to `into`, whose name and id stay.

        Raises:
            GalleryError: No such person, or both are the same.
        """
        self._index.write(lambda: self._store.merge(who, into))

    def set_tags(self, who: str, tags: Iterable[str]) -> None:
        """Replaces the tags of a person.

        Raises:
            GalleryError: No such person, or they are too long.
        """
        words = tuple(sorted({str(tag) for tag in tags}))
        self._index.write(lambda: self._store.edit(who, lambda old: replace(old, tags=words), "tags changed"))

    def set_groups(self, who: str, groups: Iterable[str]) -> None:
        """Puts a person into these groups and no others.

        Raises:
            GalleryError: No such person or group.
        """
        names = tuple(sorted({str(name) for name in groups}))
        self._index.write(lambda: self._store.edit(who, lambda old: replace(old, groups=names), "groups changed"))

    def set_metadata(self, who: str, metadata: Mapping[str, Any]) -> None:
        """Replaces the metadata of a person, any JSON object.

        Raises:
            GalleryError: No such person, no JSON, or too long.
        """
        given = dict(metadata)
        self._index.write(lambda: self._store.edit(who, lambda old: replace(old, metadata=given), "metadata changed"))

    def set_retention(self, who: str, until: str | None) -> None:
        """Says until which day (2027-03-31, inclusive) a person is searched and kept; None for no limit.

        Raises:
            GalleryError: No such person or day.
        """
        self._index.write(
            lambda: self._store.edit(who, lambda old: replace(old, retain_until=until), "retention changed")
        )

    def expire(self, today: dt.date | None = None) -> list[str]:
        """Deletes everybody whose last day is over; returns their ids.

        Raises:
            GalleryError: It cannot be written.
        """
        return self._index.write(lambda: self._store.expire((today or dt.date.today()).isoformat()))

    def add_negative(self, who: str, embedding: FloatArray) -> None:
        """Says that a face is not this person: a face more like it than like the person's template is not named so.

        Args:
            who: The person who was named.
            embedding: float32 [dim] of unit length, of the face (`Identification.embedding`).

        Raises:
            ContractError: Another dimension.
            GalleryError: No such person, or not of unit length.
        """
        self._check(PhotoTemplate("x", 1.0, embedding), "a face cannot be a negative example")
        self._index.write(lambda: self._store.add_negative(who, embedding))

    def remove_negative(self, who: str, embedding: FloatArray) -> None:
        """Takes back what `add_negative` said.

        Raises:
            GalleryError: There is no such person or example.
        """
        self._index.write(lambda: self._store.remove_negative(who, embedding))

    def compact(self) -> None:
        """Rewrites the file without the space of deleted people (the disk must have room for a copy).

        Milvus is asked to do so with its own files; when it deletes the old ones is its own choice.

        Raises:
            GalleryError: It cannot be written.
        """
        self._store.compact()

    def snapshot(self, target: str | PathLike[str]) -> None:
        """Copies the gallery of this moment into a new file, also while others write. Not one in Milvus.

        Raises:
            GalleryError: The target is there already, or cannot be written.
        """
        self._store.snapshot(target)

    def verify(self) -> list[DamagedEntry]:
        """Compares every row with its checksum, and gives what is damaged; empty for a whole gallery.

        Raises:
            GalleryError: It cannot be read at all.
        """
        return self._store.verify()

    def remove_damaged(self) -> list[DamagedEntry]:
        """Deletes the people whose rows are damaged, so that all others can be used again; gives what was damaged.

        Raises:
            GalleryError: It cannot be written.
        """
        return self._index.write(self._store.remove_damaged)

    def people(self, after: str = "", most: int | None = None) -> list[Person]:
        """People, by name.

        Args:
            after: Only those whose name comes after this one.
            most: Of these the first ones, so many, at least 1; None for all.

        Raises:
            ArgumentError: `most` is below 1.
            GalleryError: It cannot be read.
        """
        if most is not None and most < 1:
            raise ArgumentError(f"most is {most}: ask for at least one person, or None for all")
        self.search_index()  # which compares all checksums
        return [Person.of(p.id, p.name, p.photos, p.details) for p in self._store.people(after, most)]

    def person(self, who: str) -> Person:
        """One person.

        Raises:
            UnknownPersonError: There is no such person.
            GalleryError: It is damaged.
        """
        found = self._store.person(who)
        return Person.of(found.id, found.name, len(found.photos), found.details)

    def photos(self, who: str) -> tuple[PhotoTemplate, ...]:
        """A person's photos, in the order of enrolment.

        Raises:
            UnknownPersonError: There is no such person.
            GalleryError: It is damaged.
        """
        return self._store.person(who).photos

    def everybody(self) -> list[StoredPerson]:
        """Everybody with all photos, in the order of enrolment; all in memory at once.

        Raises:
            GalleryError: It cannot be read, or somebody is damaged.
        """
        return list(self._store.contents().people)

    def owner(self, sha256: str) -> str | None:
        """The person for whom a photo is enrolled; None for a photo that is not.

        Raises:
            GalleryError: It cannot be read.
        """
        return self._store.owner(sha256)

    def search(self, embeddings: FloatArray, k: int = 5) -> list[list[Match]]:
        """The people closest to each probe, by cosine.

        Args:
            embeddings: float32 [n, dim], unit length.
            k: How many people at most; at least 1.

        Returns:
            For each probe its matches, closest first; empty where nobody is enrolled.

        Raises:
            ArgumentError: `k` is below 1.
            ContractError: Another dimension.
            GalleryError: It cannot be read, or a template is damaged.
        """
        if k < 1:
            raise ArgumentError(f"k is {k}: ask for at least one person")
        if embeddings.shape[1:] != (self.contract.dim,):
            raise ContractError(
                f"probes {embeddings.shape} do not fit a gallery of dimension {self.contract.dim}: embed them with the "
                "gallery's models"
            )
        return self.search_index().search(embeddings, k)

    def __len__(self) -> int:
        """How many people are enrolled."""
        return self.search_index().people

    def close(self) -> None:
        """Closes the file; a closed gallery cannot be used again."""
        self._index.close()

    def __enter__(self) -> Gallery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, photo: PhotoTemplate, refusal: str) -> None:
        vector = photo.embedding
        if vector.shape != (self.contract.dim,):
            raise ContractError(
                f"a template of shape {vector.shape} does not fit this gallery (dimension {self.contract.dim}): embed "
                "with the gallery's models"
            )
        if fault := usable_photo(photo, self.contract.dim):
            raise GalleryError(f"{refusal}, {fault}: embed it again")
