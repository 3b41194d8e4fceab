"""The gallery's projection: FAISS indexes in memory, rebuilt from SQLite, never read from a file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from lrface.errors import GalleryError
from lrface.gallery.contract import Contract
from lrface.types import FloatArray

_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Match:
    """One person found for a probe.

    Attributes:
        name: The person.
        similarity: Cosine of the probe and the mean of the person's templates.
        gallery_level: The level of these templates.
    """

    name: str
    similarity: float
    gallery_level: int


@dataclass(frozen=True, slots=True)
class _Level:
    index: Any  # faiss.IndexFlatIP, one row a person
    used: NDArray[np.int64]  # [people], the level of the templates in each row


class Projection:
    """All people of one moment. Immutable: a search needs no lock while a newer one is being built.

    For each level there is one vector a person, the normalised mean of the person's templates at that level or, where
    there are none (small photos), at the largest level that there is.
    """

    def __init__(self, names: list[str], levels: dict[int, _Level], dim: int) -> None:
        self.names, self._levels, self._dim = names, levels, dim

    @classmethod
    def build(cls, connection: sqlite3.Connection, contract: Contract) -> Projection:
        """Reads every template.

        Raises:
            GalleryError: A template is damaged.
        """
        people = connection.execute("SELECT id, name FROM people ORDER BY id").fetchall()
        row_of = {int(person): row for row, (person, _) in enumerate(people)}
        sums = {level: np.zeros((len(people), contract.dim), np.float32) for level in contract.levels}
        cursor = connection.execute(
            "SELECT photos.person_id, templates.level, templates.embedding FROM templates "
            "JOIN photos ON photos.id = templates.photo_id"
        )
        while rows := cursor.fetchmany(_ROWS):
            for person, level, blob in rows:
                fits = isinstance(blob, bytes) and len(blob) == 4 * contract.dim
                if not fits or level not in sums or person not in row_of:
                    raise GalleryError("the gallery holds a damaged template: restore a copy, or enrol anew")
                sums[level][row_of[person]] += np.frombuffer(blob, "<f4")
        return cls([str(name) for _, name in people], _levels(sums, len(people)), contract.dim)

    def __len__(self) -> int:
        return len(self.names)

    def search(self, embeddings: FloatArray, gallery_level: int, k: int) -> list[list[Match]]:
        """See `Gallery.search`."""
        if not self.names or not len(embeddings):
            return [[] for _ in range(len(embeddings))]
        level = self._levels[gallery_level]
        faiss.omp_set_num_threads(1)  # the setting is each thread's own; more threads are slower at these sizes
        similarities, rows = level.index.search(np.ascontiguousarray(embeddings, np.float32), min(k, len(self.names)))
        return [
            [Match(self.names[row], float(s), int(level.used[row])) for s, row in zip(found, where, strict=True)]
            for found, where in zip(similarities.tolist(), rows.tolist(), strict=True)
        ]


def _levels(sums: dict[int, FloatArray], people: int) -> dict[int, _Level]:
    means = {level: _normalised(values) for level, values in sums.items()}
    there = {level: np.linalg.norm(values, axis=1) > 0 for level, values in means.items()}
    if people and not np.logical_or.reduce(list(there.values())).all():
        raise GalleryError("the gallery holds a person without a usable template: restore a copy, or enrol anew")
    built = {}
    for wanted in sums:
        vectors, used = np.zeros_like(means[wanted]), np.zeros(people, np.int64)
        for level in _preference(wanted, sums):
            take = (used == 0) & there[level]
            vectors[take], used[take] = means[level][take], level
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        built[wanted] = _Level(index, used)
    return built


def _preference(wanted: int, levels: Iterable[int]) -> list[int]:
    return [wanted, *sorted((level for level in levels if level != wanted), reverse=True)]


def _normalised(values: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # damage is found by the caller
        norms = np.linalg.norm(values, axis=1, keepdims=True)
        unit = np.where(np.isfinite(norms) & (norms > 1e-6), values / norms, np.float32(0))
    return unit.astype(np.float32, copy=False)
