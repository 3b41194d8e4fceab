"""What is chosen for a gallery, and what is noted about it."""

from __future__ import annotations

from collections.abc import Mapping

from lrface.decisions.rates import check_fpir
from lrface.errors import ArgumentError
from lrface.gallery.audit import AuditEntry
from lrface.gallery.ciphers import Cipher
from lrface.gallery.names import normalise_name
from lrface.gallery.protocol import GalleryStore, PeopleFollower, SearchedPeople
from lrface.gallery.refusals import Refusal
from lrface.gallery.settings import Group, Settings


class GalleryNotes:
    """A gallery without its people: rate, groups, audit log, photos that were refused."""

    def __init__(self, store: GalleryStore, people: PeopleFollower) -> None:
        self._store, self._index = store, people

    def groups(self) -> Mapping[str, Group]:
        """The groups by name.

        Raises:
            GalleryError: It cannot be read.
        """
        return self._store.settings().groups

    def set_group(self, name: str, group: Group | None) -> None:
        """Makes or changes a group; None deletes one in which nobody is.

        Raises:
            EnrolmentError: The name is not usable.
            GalleryError: Not a rate or a day, somebody is in it, or it cannot be written.
        """
        clean = normalise_name(name)
        self._index.write(lambda: self._store.set_group(clean, group))

    @property
    def settings(self) -> Settings:
        """What was chosen for the gallery.

        Raises:
            GalleryError: It cannot be read.
        """
        return self._store.settings()

    def set_keep_crops(self, keep: bool) -> None:
        """Whether the aligned crops of photos enrolled from now on are kept, so that other models can embed them.

        False deletes those that were kept.

        Raises:
            GalleryError: It cannot be written.
        """
        self._index.write(lambda: self._store.set_keep_crops(keep))

    @property
    def cipher(self) -> Cipher:
        """What encrypts names, templates and crops; for what else is kept of the people."""
        return self._store.cipher

    def audit_log(self, after: int = 0, before: int | None = None, most: int | None = None) -> list[AuditEntry]:
        """Who did what when, the oldest first; without names, templates or hashes of photos.

        Args:
            after: Only entries with a higher number.
            before: Only entries with a lower number.
            most: Of these the last ones, so many, at least 1; None for all.

        Raises:
            ArgumentError: `most` is below 1.
            GalleryError: It cannot be read.
        """
        if most is not None and most < 1:
            raise ArgumentError(f"most is {most}: ask for at least one entry, or None for all")
        return self._store.audit_log(after, before, most)

    def log(self, action: str, detail: str = "") -> None:
        """Adds an entry to the audit log for a change that is kept elsewhere; both texts name nobody."""
        self._index.write(lambda: self._store.log(action, detail))

    def stored_hash(self, sha256: str) -> str:
        """A photo's hash as `photos` lists it: a keyed hash of it in an encrypted gallery."""
        return self._store.cipher.lookup(sha256)

    def refusal(self, sha256: str, judge: str, name: str) -> Refusal | None:
        """Why a photo of a person was refused earlier; None for nothing that still holds.

        Args:
            sha256: Of the photo.
            judge: Of what enrolment is by now: networks, detector, version.
            name: The person's.

        Raises:
            GalleryError: It cannot be read.
        """
        return self._store.refusal(sha256, judge, name)

    def remember_refusals(self, judge: str, refusals: Mapping[str, Refusal]) -> None:
        """Keeps why photos were refused, by their hashes, until somebody is removed or another judge says something.

        Raises:
            GalleryError: It cannot be written.
        """
        self._index.write(lambda: self._store.remember_refusals(judge, refusals))

    @property
    def fpir(self) -> float | None:
        """The share of strangers that may be named, as chosen for this gallery; None where nobody chose.

        Raises:
            GalleryError: It cannot be read, or holds something else.
        """
        return self.search_index().fpir

    def set_fpir(self, fpir: float) -> None:
        """Keeps the share of strangers that may be named; thresholds follow from it, and from the people of the moment.

        Raises:
            ArgumentError: It is not above 0 and below 1.
            GalleryError: It cannot be written.
        """
        check_fpir(fpir)
        self._index.write(lambda: self._store.set_fpir(fpir))

    def search_index(self) -> SearchedPeople:
        """The people of this moment, as searched; brought up to date if this or another process has written since.

        While another thread or process holds a gallery's file, or while it is missing or half copied (for `GRACE_S`
        seconds), the last one is used; a warning is logged.
        """
        return self._index.current()
