"""A gallery on one machine: SQLite is the truth, a FAISS projection in memory answers searches."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from types import TracebackType

import numpy as np

from lrface.decisions.rates import check_fpir
from lrface.errors import ContractError, GalleryError
from lrface.gallery.contract import Contract
from lrface.gallery.index import Match, Projection
from lrface.gallery.names import normalise_name
from lrface.gallery.store import gallery_errors, open_database, read_fpir, transaction, write_fpir
from lrface.types import FloatArray


@dataclass(frozen=True, slots=True)
class Person:
    """An enrolled person.

    Attributes:
        name: Normalised.
        photos: How many photos are enrolled.
        levels: Rising; those at which there are templates.
    """

    name: str
    photos: int
    levels: tuple[int, ...]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, eq=False)
class PhotoTemplates:
    """What is stored of one photo; the picture itself is not.

    Attributes:
        sha256: Of the photo's bytes.
        native_px: How large the face was.
        embeddings: float32 [dim] of unit length, by level.
    """

    sha256: str
    native_px: float
    embeddings: Mapping[int, FloatArray]


class Gallery:
    """People and their templates. Thread-safe; several processes may share the file.

    Attributes:
        contract: The models that the templates were made with.
    """

    def __init__(self, path: str, connection: sqlite3.Connection, contract: Contract) -> None:
        self.contract = contract
        self._path, self._connection = path, connection
        self._lock = threading.RLock()
        self._projection: Projection | None = None
        self._seen = -1  # PRAGMA data_version when the projection was built: it moves when another process commits

    @classmethod
    def open(cls, path: str | PathLike[str], contract: Contract | None = None) -> Gallery:
        """Opens a gallery, and creates it where there is none.

        Args:
            path: The file, or ":memory:".
            contract: The loaded models' (`Contract.of(manifest)`); None to open an existing gallery as it is.

        Raises:
            GalleryError: Not a gallery, damaged, newer than this lrface, or not accessible.
            ContractError: Made with other models.
        """
        connection, bound = open_database(path, contract)
        return cls(fspath(path), connection, bound)

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
        added = 0
        with self._lock, gallery_errors(self._path), transaction(self._connection):
            execute = self._connection.execute
            execute("INSERT INTO people (name) VALUES (?) ON CONFLICT DO NOTHING", (clean,))
            person = execute("SELECT id FROM people WHERE name = ?", (clean,)).fetchone()[0]
            for photo in photos:
                cursor = execute(
                    "INSERT INTO photos (person_id, sha256, native_px) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    (person, photo.sha256, float(photo.native_px)),
                )
                if cursor.rowcount == 0:
                    if (owner := self.owner(photo.sha256)) != clean:
                        raise GalleryError(f"a photo of {clean} is enrolled as {owner!r} already: keep it in one place")
                    continue
                added += 1
                self._connection.executemany(
                    "INSERT INTO templates (photo_id, level, embedding) VALUES (?, ?, ?)",
                    [(cursor.lastrowid, level, _blob(vector)) for level, vector in photo.embeddings.items()],
                )
            self._projection = None
        return added

    def remove(self, name: str) -> int:
        """Deletes a person and every template; the bytes in the file are overwritten with zeros.

        Returns:
            How many photos were enrolled.

        Raises:
            GalleryError: There is no such person, or the file cannot be written.
        """
        clean = normalise_name(name)
        with self._lock, gallery_errors(self._path), transaction(self._connection):
            row = self._connection.execute("SELECT id FROM people WHERE name = ?", (clean,)).fetchone()
            if row is None:
                raise GalleryError(f"nobody called {clean!r} is in {self._path}: see `lrface gallery list`")
            photos = self._connection.execute("SELECT count(*) FROM photos WHERE person_id = ?", row).fetchone()[0]
            self._connection.execute("DELETE FROM people WHERE id = ?", row)
            self._projection = None
        return int(photos)

    def compact(self) -> None:
        """Rewrites the file without the space of deleted people (the disk must have room for a copy).

        Raises:
            GalleryError: The file cannot be written.
        """
        with self._lock, gallery_errors(self._path):
            self._connection.execute("VACUUM")

    def people(self) -> list[Person]:
        """Everybody, by name.

        Raises:
            GalleryError: The file cannot be read.
        """
        query = (
            "SELECT name, count(DISTINCT photos.id), group_concat(DISTINCT level) FROM people "
            "JOIN photos ON person_id = people.id JOIN templates ON photo_id = photos.id "
            "GROUP BY people.id ORDER BY name"
        )
        with self._lock, gallery_errors(self._path):
            rows = self._connection.execute(query).fetchall()
        return [Person(name, photos, tuple(sorted(map(int, levels.split(","))))) for name, photos, levels in rows]

    def owner(self, sha256: str) -> str | None:
        """The person for whom a photo is enrolled; None for a photo that is not.

        Raises:
            GalleryError: The file cannot be read.
        """
        query = "SELECT name FROM photos JOIN people ON people.id = person_id WHERE sha256 = ?"
        with self._lock, gallery_errors(self._path):
            row = self._connection.execute(query, (sha256,)).fetchone()
        return None if row is None else str(row[0])

    @property
    def fpir(self) -> float | None:
        """The share of strangers that may be named, as chosen for this gallery; None where nobody chose.

        Raises:
            GalleryError: The file cannot be read, or holds something else.
        """
        with self._lock, gallery_errors(self._path):
            fpir = read_fpir(self._connection)
        if fpir is not None and not 0.0 < fpir < 1.0:
            raise GalleryError(f"gallery {self._path}: its fpir is {fpir}: choose one with `lrface thresholds`")
        return fpir

    def set_fpir(self, fpir: float) -> None:
        """Keeps the share of strangers that may be named; thresholds follow from it, and from the people of the moment.

        Raises:
            CalibrationError: It is not above 0 and below 1.
            GalleryError: The file cannot be written.
        """
        check_fpir(fpir)
        with self._lock, gallery_errors(self._path), transaction(self._connection):
            write_fpir(self._connection, fpir)

    def search(self, embeddings: FloatArray, gallery_level: int, k: int = 5) -> list[list[Match]]:
        """The people closest to each probe.

        Args:
            embeddings: float32 [n, dim], unit length.
            gallery_level: The level of the templates to compare with (`Calibration.compare_at` of the probes' level);
                people without one are compared by their largest.
            k: How many people at most.

        Returns:
            For each probe its matches, closest first; empty where nobody is enrolled.

        Raises:
            ContractError: Another dimension or an unknown level.
            GalleryError: The file cannot be read, or a template is damaged.
        """
        if embeddings.shape[1:] != (self.contract.dim,) or gallery_level not in self.contract.levels:
            raise ContractError(
                f"probes {embeddings.shape} at level {gallery_level} do not fit a gallery of dimension "
                f"{self.contract.dim} and levels {self.contract.levels}: embed them with the gallery's models"
            )
        return self.projection().search(embeddings, gallery_level, k)

    def projection(self) -> Projection:
        """The people of this moment, as searched; rebuilt if this or another process has written since."""
        with self._lock, gallery_errors(self._path):
            version = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
            if self._projection is None or version != self._seen:
                self._connection.execute("BEGIN")  # one moment for people and templates
                try:
                    self._projection = Projection.build(self._connection, self.contract)
                finally:
                    self._connection.execute("ROLLBACK")
                self._seen = version
            return self._projection

    def __len__(self) -> int:
        """How many people are enrolled."""
        return len(self.projection())

    def close(self) -> None:
        """Closes the file; a closed gallery cannot be used again."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Gallery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, photo: PhotoTemplates) -> None:
        if not photo.embeddings:
            raise GalleryError("a photo without a template cannot be enrolled: embed it first")
        for level, vector in photo.embeddings.items():
            if level not in self.contract.levels or vector.shape != (self.contract.dim,):
                raise ContractError(
                    f"a template of shape {vector.shape} at level {level} does not fit this gallery (dimension "
                    f"{self.contract.dim}, levels {self.contract.levels}): embed with the gallery's models"
                )
            if not abs(float(np.linalg.norm(vector)) - 1.0) < 1e-3:
                raise GalleryError("a template must be finite and of unit length: embed the photo again")


def _blob(vector: FloatArray) -> bytes:
    return np.ascontiguousarray(vector, "<f4").tobytes()
