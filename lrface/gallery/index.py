"""The gallery's search index: FAISS indexes in memory, rebuilt from SQLite, never read from a file."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from lrface.decisions.calibration import Population
from lrface.embedding.templates import fuse
from lrface.errors import GalleryError
from lrface.gallery.contract import Contract
from lrface.gallery.reading import StoredPerson
from lrface.types import FloatArray


@dataclass(frozen=True, slots=True)
class Match:
    """One person found for a probe.

    Attributes:
        name: The person.
        similarity: Cosine of the probe and the person's template.
        photos: How many photos the template was made of.
        person_id: The person's UUID.
    """

    name: str
    similarity: float
    photos: int
    person_id: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class PersonTemplates:
    """What a search needs of a person.

    Attributes:
        id: UUID, never used again.
        name: The person.
        photos: How many are enrolled.
        total: The sum of the photos' embeddings, float32 [dim].
    """

    id: str
    name: str
    photos: int
    total: FloatArray

    @classmethod
    def of(cls, person: StoredPerson) -> PersonTemplates:
        """Of a person as stored."""
        vectors = [vector for photo in person.photos for vector in photo.embeddings.values()]
        return cls(person.id, person.name, len(person.photos), np.stack(vectors).sum(axis=0))


class SearchIndex:
    """All people of one moment, one template a person. Immutable: a search needs no lock while a newer one is built.

    Attributes:
        names: Of the people, in the order of enrolment.
        ids: Their UUIDs.
        photos: int [people], behind each template.
        templates: float32 [people, dim], of unit length.
        population: What the thresholds need to know of them.
    """

    def __init__(
        self, people: Collection[PersonTemplates], contract: Contract, stored_fpir: float | None = None
    ) -> None:
        """Of all people, in the order of enrolment.

        Args:
            people: Who they are.
            contract: Of the gallery.
            stored_fpir: The gallery's; see `fpir`.

        Raises:
            GalleryError: Somebody has no usable template.
        """
        self.names, self.ids = [person.name for person in people], [person.id for person in people]
        self.photos = np.array([person.photos for person in people], np.int64)
        sums = np.stack([person.total for person in people]) if people else np.zeros((0, contract.dim), np.float32)
        self.templates = fuse(sums)
        if not (np.linalg.norm(self.templates, axis=1) > 0).all():
            raise GalleryError("the gallery holds a person without a usable template: restore a copy, or enrol anew")
        self._stored_fpir = stored_fpir
        self.population = Population(len(people), _impostor_mean(sums, self.photos))
        self._groups: dict[int, tuple[NDArray[np.int64], Any]] = {}
        for count in np.unique(self.photos).tolist():
            rows = np.flatnonzero(self.photos == count)
            index = faiss.IndexFlatIP(contract.dim)
            index.add(self.templates[rows])
            self._groups[count] = rows, index

    def __len__(self) -> int:
        return len(self.names)

    @property
    def fpir(self) -> float | None:
        """The share of strangers that may be named, as chosen for this gallery; None where nobody chose.

        Raises:
            GalleryError: What is stored is not a rate.
        """
        fpir = self._stored_fpir
        if fpir is not None and not 0.0 < fpir < 1.0:
            raise GalleryError(f"the gallery's fpir is {fpir}: choose one with `lrface thresholds GALLERY --fpir`")
        return fpir

    def candidates(self, embeddings: FloatArray, k: int) -> list[list[Match]]:
        """For each probe the k closest people of each number of photos.

        Among people with as many photos the closer one is always the likelier, so the k likeliest of all are among
        these, whatever the thresholds.

        Args:
            embeddings: float32 [n, dim], unit length.
            k: At least 1.
        """
        found: list[list[Match]] = [[] for _ in range(len(embeddings))]
        if not len(embeddings):
            return found
        faiss.omp_set_num_threads(1)  # the setting is each thread's own; more threads are slower at these sizes
        probes = np.ascontiguousarray(embeddings, np.float32)
        for count, (rows, index) in self._groups.items():
            similarities, places = index.search(probes, min(k, len(rows)))
            for matches, scores, people in zip(found, similarities.tolist(), rows[places].tolist(), strict=True):
                matches += [
                    Match(self.names[row], score, count, self.ids[row])
                    for score, row in zip(scores, people, strict=True)
                ]
        return found

    def search(self, embeddings: FloatArray, k: int) -> list[list[Match]]:
        """See `Gallery.search`."""
        closest = self.candidates(embeddings, k)
        return [sorted(matches, key=lambda match: -match.similarity)[:k] for matches in closest]


def _impostor_mean(sums: FloatArray, photos: NDArray[np.int64]) -> float | None:
    """With m the mean of a person's photos, the mean of m_p . m_q for p != q is (|sum m|^2 - sum |m|^2) / n(n-1)."""
    n = len(sums)
    if n < 2:
        return None
    each = sums.astype(np.float64) / photos[:, None]
    return float((np.square(each.sum(axis=0)).sum() - np.square(each).sum()) / (n * (n - 1)))
