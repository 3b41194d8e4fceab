"""A gallery on one machine: SQLite is the truth, a FAISS index in memory answers searches."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from types import TracebackType

from lrface.decisions.rates import check_fpir
from lrface.errors import ContractError, GalleryError, GalleryInUseError
from lrface.gallery.contract import Contract
from lrface.gallery.index import Match, PersonTemplates, SearchIndex
from lrface.gallery.names import normalise_name
from lrface.gallery.reading import DamagedEntry, Snapshot
from lrface.gallery.records import PhotoTemplates, usable_photo
from lrface.gallery.schema import State
from lrface.gallery.store import Store
from lrface.types import FloatArray

PATIENCE_S = 0.05  # how long a search waits for another process when it has an index already
GRACE_S = 10.0  # how long a search goes on with its index while the file is missing or cannot be read
_QUIET_S = 1.0  # commits of others take less: nothing is said of them

_log = logging.getLogger("lrface.gallery")


@dataclass(frozen=True, slots=True)
class Person:
    """An enrolled person.

    Attributes:
        id: UUID, never used again, also if somebody of the same name is enrolled after a removal.
        name: Normalised.
        photos: How many photos are enrolled.
    """

    id: str
    name: str
    photos: int

    def __str__(self) -> str:
        return self.name


class Gallery:
    """People and their templates. Thread-safe; several processes may share the file.

    Attributes:
        contract: The models that the templates were made with.
    """

    def __init__(self, store: Store) -> None:
        self.contract = store.contract
        try:
            _ = self.contract.level
        except ContractError:
            store.close()
            raise
        self._store = store
        self._lock = threading.RLock()
        self._index: SearchIndex | None = None
        self._snapshot: Snapshot[PersonTemplates] = Snapshot(State(), {}, (), -1)
        self._unread_since: float | None = None
        self._said = False

    @classmethod
    def open(cls, path: str | PathLike[str], contract: Contract | None = None, *, create: bool = True) -> Gallery:
        """Opens a gallery.

        Args:
            path: The file, or ":memory:".
            contract: The loaded models' (`Contract.of(manifest)`); None to open an existing gallery as it is.
            create: Whether to make the file where there is none; without a contract it is never made.

        Raises:
            GalleryError: Not a gallery, damaged, of an older or newer lrface, or not accessible; or there is no file,
                and none is to be made.
            ContractError: Made with other models.
        """
        return cls(Store(path, contract, create))

    def add(self, name: str, photos: Sequence[PhotoTemplates]) -> int:
        """Enrols photos of a person, all of them or none; when it returns, they are on the disk.

        A photo belongs to one person: under two names, either would be found with the same similarity.

        Args:
            name: Normalised by `normalise_name`.
            photos: At least one; those that the person has already are passed over.

        Returns:
            How many were new.

        Raises:
            EnrolmentError: The name is not usable.
            ContractError: A template has another dimension or level than the gallery's.
            GalleryError: Nothing to add, a photo of somebody else, or the file cannot be written (a full disk);
                nothing is stored then.
        """
        clean = normalise_name(name)
        if not photos:
            raise GalleryError(f"no photo of {clean} to enrol: pass at least one")
        for photo in photos:
            self._check(photo)
        with self._lock:
            added = self._store.add(clean, photos)
            self._index = None
        return added

    def remove(self, name: str) -> int:
        """Deletes a person and every template; the bytes in the file are overwritten with zeros.

        Copies that SQLite made of them while it moved rows may be left: `compact` leaves none.

        Returns:
            How many photos were enrolled.

        Raises:
            GalleryError: There is no such person, or the file cannot be written.
        """
        clean = normalise_name(name)
        with self._lock:
            photos = self._store.remove(clean)
            self._index = None
        return photos

    def compact(self) -> None:
        """Rewrites the file without the space of deleted people (the disk must have room for a copy).

        Raises:
            GalleryError: The file cannot be written.
        """
        self._store.compact()

    def verify(self) -> list[DamagedEntry]:
        """Compares every row with its checksum, and gives what is damaged; empty for a whole gallery.

        Raises:
            GalleryError: The file cannot be read at all.
        """
        return self._store.verify()

    def remove_damaged(self) -> list[DamagedEntry]:
        """Deletes the people whose rows are damaged, so that all others can be used again; gives what was damaged.

        Raises:
            GalleryError: The file cannot be written.
        """
        with self._lock:
            damaged = self._store.remove_damaged()
            self._index = None
        return damaged

    def people(self) -> list[Person]:
        """Everybody, by name.

        Raises:
            GalleryError: The file cannot be read.
        """
        with self._lock:
            self.search_index()
            found = self._snapshot.people.values()
        people = [Person(p.id, p.name, p.photos) for p in found]
        return sorted(people, key=lambda person: person.name)

    def owner(self, sha256: str) -> str | None:
        """The person for whom a photo is enrolled; None for a photo that is not.

        Raises:
            GalleryError: The file cannot be read.
        """
        return self._store.owner(sha256)

    @property
    def fpir(self) -> float | None:
        """The share of strangers that may be named, as chosen for this gallery; None where nobody chose.

        Raises:
            GalleryError: The file cannot be read, or holds something else.
        """
        return self.search_index().fpir

    def set_fpir(self, fpir: float) -> None:
        """Keeps the share of strangers that may be named; thresholds follow from it, and from the people of the moment.

        Raises:
            ArgumentError: It is not above 0 and below 1.
            GalleryError: The file cannot be written.
        """
        check_fpir(fpir)
        with self._lock:
            self._store.set_fpir(fpir)
            self._index = None

    def search(self, embeddings: FloatArray, k: int = 5) -> list[list[Match]]:
        """The people closest to each probe, by cosine.

        Args:
            embeddings: float32 [n, dim], unit length.
            k: How many people at most.

        Returns:
            For each probe its matches, closest first; empty where nobody is enrolled.

        Raises:
            ContractError: Another dimension.
            GalleryError: The file cannot be read, or a template is damaged.
        """
        if embeddings.shape[1:] != (self.contract.dim,):
            raise ContractError(
                f"probes {embeddings.shape} do not fit a gallery of dimension {self.contract.dim}: embed them with the "
                "gallery's models"
            )
        return self.search_index().search(embeddings, k)

    def search_index(self) -> SearchIndex:
        """The people of this moment, as searched; made anew if this or another process has written since.

        While another process holds the file, or while it is missing or half copied (for `GRACE_S` seconds), the last
        one is used; a warning is logged.
        """
        with self._lock:
            last = self._index
            if last is None:
                return self._refresh(None)
            try:
                current = self._refresh(PATIENCE_S) if self._store.changed(PATIENCE_S) else last
            except GalleryError as error:
                if isinstance(error, ContractError) or not self._may_wait(error):
                    raise
                return last
            if self._said:
                _log.warning("gallery %s can be read again", self._store.path)
            self._unread_since, self._said = None, False
            return current

    def __len__(self) -> int:
        """How many people are enrolled."""
        return len(self.search_index())

    def close(self) -> None:
        """Closes the file; a closed gallery cannot be used again."""
        with self._lock:
            self._index = None
            self._store.close()

    def __enter__(self) -> Gallery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _refresh(self, wait_s: float | None) -> SearchIndex:
        snapshot = self._store.read(PersonTemplates.of, self._snapshot.people, wait_s)
        index = SearchIndex(snapshot.people.values(), self.contract, snapshot.state.fpir)
        self._snapshot, self._index = snapshot, index
        return index

    def _may_wait(self, error: GalleryError) -> bool:
        """Whether the last index is still good enough after a reading that failed."""
        now, in_use = time.monotonic(), isinstance(error, GalleryInUseError)
        if self._unread_since is None:
            self._unread_since = now
        waited = now - self._unread_since
        if waited > _QUIET_S and not self._said:
            reason = f"gallery {self._store.path} is held by another process" if in_use else str(error)
            _log.warning("%s; going on with the people as last read, and trying again", reason)
            self._said = True
        return in_use or waited < GRACE_S

    def _check(self, photo: PhotoTemplates) -> None:
        if not photo.embeddings:
            raise GalleryError("a photo without a template cannot be enrolled: embed it first")
        for level, vector in photo.embeddings.items():
            if level != self.contract.level or len(photo.embeddings) > 1 or vector.shape != (self.contract.dim,):
                raise ContractError(
                    f"a template of shape {vector.shape} at level {level} does not fit this gallery (dimension "
                    f"{self.contract.dim}, level {self.contract.level}): embed with the gallery's models"
                )
        if fault := usable_photo(photo, self.contract.levels, self.contract.dim):
            raise GalleryError(f"a photo cannot be enrolled, {fault}: embed the photo again")
