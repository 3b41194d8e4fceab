"""The gallery's projection: FAISS indexes in memory, rebuilt from SQLite, never read from a file."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from lrface.decisions.calibration import Population
from lrface.errors import GalleryError
from lrface.gallery.contract import Contract
from lrface.gallery.reading import StoredPerson
from lrface.types import FloatArray


@dataclass(frozen=True, slots=True)
class Match:
    """One person found for a probe.

    Attributes:
        name: The person.
        similarity: Cosine of the probe and the mean of the person's templates.
        gallery_level: The level of these templates.
        photos: How many there are.
    """

    name: str
    similarity: float
    gallery_level: int
    photos: int


@dataclass(frozen=True, slots=True, eq=False)
class PersonTemplates:
    """What a search needs of a person.

    Attributes:
        id: UUID, never used again.
        name: The person.
        photos: How many are enrolled.
        sums: The sum of the templates, float32 [dim], by level.
        counts: How many templates there are, by level.
    """

    id: str
    name: str
    photos: int
    sums: Mapping[int, FloatArray]
    counts: Mapping[int, int]

    @classmethod
    def of(cls, person: StoredPerson) -> PersonTemplates:
        """Of a person as stored."""
        levels = {level for photo in person.photos for level in photo.embeddings}
        at = {level: [p.embeddings[level] for p in person.photos if level in p.embeddings] for level in levels}
        sums: dict[int, FloatArray] = {level: np.stack(v).sum(axis=0) for level, v in at.items()}
        return cls(person.id, person.name, len(person.photos), sums, {level: len(v) for level, v in at.items()})


@dataclass(frozen=True, slots=True)
class _Level:
    index: Any  # faiss.IndexFlatIP, one row a person
    used: NDArray[np.int64]  # [people], the level of the templates in each row
    photos: NDArray[np.int64]  # [people], how many templates are behind each row


class Projection:
    """All people of one moment. Immutable: a search needs no lock while a newer one is being built.

    For each level there is one vector a person, the normalised mean of the person's templates at that level or, where
    there are none (small photos), at the largest level that there is.

    Attributes:
        names: Of the people, in the order of their rows.
        population: What the thresholds need to know of them.
    """

    def __init__(self, names: list[str], levels: dict[int, _Level], population: Population) -> None:
        self.names, self._levels, self.population = names, levels, population

    @classmethod
    def build(cls, people: Collection[PersonTemplates], contract: Contract) -> Projection:
        """Of all people, in the order of enrolment.

        Raises:
            GalleryError: Somebody has no usable template.
        """
        sums = {level: np.zeros((len(people), contract.dim), np.float32) for level in contract.levels}
        counts = {level: np.zeros(len(people), np.int64) for level in contract.levels}
        for row, person in enumerate(people):
            for level, total in person.sums.items():
                sums[level][row], counts[level][row] = total, person.counts[level]
        levels = _levels(sums, counts, len(people))
        return cls([person.name for person in people], levels, _population(sums, counts, len(people)))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def levels(self) -> list[int]:
        """Rising."""
        return sorted(self._levels)

    def templates(self, level: int) -> tuple[list[str], FloatArray, NDArray[np.int64]]:
        """Who has photos of this very level: names, vectors float32 [n, dim] of unit length, photos behind each [n]."""
        built = self._levels[level]
        rows = np.flatnonzero(built.used == level)
        vectors = built.index.reconstruct_n(0, len(self.names)) if len(rows) else np.zeros((0, built.index.d))
        return [self.names[row] for row in rows], vectors[rows].astype(np.float32, copy=False), built.photos[rows]

    def search(self, embeddings: FloatArray, gallery_level: int, k: int) -> list[list[Match]]:
        """See `Gallery.search`."""
        if not self.names or not len(embeddings):
            return [[] for _ in range(len(embeddings))]
        level = self._levels[gallery_level]
        faiss.omp_set_num_threads(1)  # the setting is each thread's own; more threads are slower at these sizes
        similarities, rows = level.index.search(np.ascontiguousarray(embeddings, np.float32), min(k, len(self.names)))
        return [
            [
                Match(self.names[row], float(s), int(level.used[row]), int(level.photos[row]))
                for s, row in zip(found, where, strict=True)
            ]
            for found, where in zip(similarities.tolist(), rows.tolist(), strict=True)
        ]


def _population(sums: dict[int, FloatArray], counts: dict[int, NDArray[np.int64]], size: int) -> Population:
    """With m the mean of a person's photos, the mean of m_p . m_q for p != q is (|sum m|^2 - sum |m|^2) / n(n-1)."""
    people = {level: int(np.count_nonzero(number)) for level, number in counts.items()}
    means = {}
    for level, n in people.items():
        if n > 1:
            rows = counts[level] > 0
            each = sums[level][rows].astype(np.float64) / counts[level][rows, None]
            mean = float((np.square(each.sum(axis=0)).sum() - np.square(each).sum()) / (n * (n - 1)))
            means[level] = mean if np.isfinite(mean) else np.inf  # damage: nobody is named then
    return Population(size, people, means)


def _levels(sums: dict[int, FloatArray], counts: dict[int, NDArray[np.int64]], people: int) -> dict[int, _Level]:
    means = {level: _normalised(values) for level, values in sums.items()}
    there = {level: np.linalg.norm(values, axis=1) > 0 for level, values in means.items()}
    if people and not np.logical_or.reduce(list(there.values())).all():
        raise GalleryError("the gallery holds a person without a usable template: restore a copy, or enrol anew")
    built = {}
    for wanted in sums:
        vectors, used, photos = np.zeros_like(means[wanted]), np.zeros(people, np.int64), np.zeros(people, np.int64)
        for level in _preference(wanted, sums):
            take = (used == 0) & there[level]
            vectors[take], used[take], photos[take] = means[level][take], level, counts[level][take]
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        built[wanted] = _Level(index, used, photos)
    return built


def _preference(wanted: int, levels: Iterable[int]) -> list[int]:
    return [wanted, *sorted((level for level in levels if level != wanted), reverse=True)]


def _normalised(values: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # damage is found by the caller
        norms = np.linalg.norm(values, axis=1, keepdims=True)
        unit = np.where(np.isfinite(norms) & (norms > 1e-6), values / norms, np.float32(0))
    return unit.astype(np.float32, copy=False)
