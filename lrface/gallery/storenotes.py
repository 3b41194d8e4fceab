"""What is written into a gallery's file beside people: rate, groups, kept crops, the audit log, refusals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lrface.gallery.records import Details, PersonRow, photo_checksum
from lrface.gallery.refusals import Refusal, write_refusals
from lrface.gallery.rows import seal_person
from lrface.gallery.rules import check_group_is_empty
from lrface.gallery.settings import Group, check_group
from lrface.gallery.state import read_settings, write_settings
from lrface.gallery.storefile import Change
from lrface.gallery.storereader import StoreReader
from lrface.gallery.transactions import gallery_errors

STORED = "sha256, native_px, quality, added, embedding, crop"  # PHOTO_COLUMNS without the checksum


class StoreNotes(StoreReader):
    """What is chosen for a gallery, and what is noted about it. Thread-safe; several processes may share the file."""

    def log(self, action: str, detail: str) -> None:
        """Adds an entry to the audit log."""
        with self._writing() as change:
            change.tell(action, detail=detail)

    def set_fpir(self, fpir: float) -> None:
        """Keeps the rate chosen for the gallery.

        Raises:
            GalleryError: The file cannot be written.
        """
        with self._writing() as change:
            change.fpir = fpir
            change.tell("fpir chosen", detail=f"{fpir:g}")

    def set_group(self, name: str, group: Group | None) -> None:
        """Makes or changes a group; None deletes it, if nobody is in it.

        Raises:
            GalleryError: Somebody is in it, or the file cannot be written.
        """
        if group is not None:
            check_group(group)
        with self._writing() as change:
            settings = read_settings(self._connection, self.path)
            if group is None:
                inside = [p.name for p in self._summaries() if name in p.details.groups]
                check_group_is_empty(name, settings, inside)
            write_settings(self._connection, settings.with_group(name, group))
            change.tell("group changed" if group else "group deleted")

    def set_keep_crops(self, keep: bool) -> None:
        """Whether crops of photos enrolled from now on are kept; False deletes those that were.

        Raises:
            GalleryError: The file cannot be written.
        """
        with self._writing() as change:
            settings = read_settings(self._connection, self.path)
            if settings.keep_crops == keep:
                return
            write_settings(self._connection, replace(settings, keep_crops=keep))
            change.tell("crops are kept" if keep else "crops deleted, no more are kept")
            if not keep:
                self._drop_crops(change)

    def remember_refusals(self, judge: str, refusals: Mapping[str, Refusal]) -> None:
        """Keeps why photos were refused, by their hashes.

        Raises:
            GalleryError: The file cannot be written.
        """
        with self._lock, gallery_errors(self.path), self._transaction():
            write_refusals(self._connection, self.cipher, judge, refusals)

    def _seal(self, change: Change, person: PersonRow, details: Details | None = None) -> None:
        """Gives a person, perhaps with other details, the checksum that belongs to the rows that are there."""
        if details is not None:
            person = replace(person, details=self.cipher.seal(details.to_json()))
        change.after.append(seal_person(self._connection, person))

    def _drop_crops(self, change: Change) -> None:
        for person, photos in self._people_with_photos():
            change.before.append(person.checksum)
            for number, _ in photos:
                stored = self._connection.execute(f"SELECT {STORED} FROM photos WHERE id = ?", (number,)).fetchone()
                checksum = photo_checksum(person.id, *(*stored[:-1], b""))
                self._connection.execute("UPDATE photos SET crop = x'', checksum = ? WHERE id = ?", (checksum, number))
            self._seal(change, person)
            change.tell("crops deleted", person.row, person.id)
