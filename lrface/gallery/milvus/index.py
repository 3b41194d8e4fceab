"""Searches in Milvus: whoever may be among the closest is found there, and compared in float32 here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np

from lrface.decisions.calibration import Population
from lrface.decisions.expectation import Enrolled
from lrface.errors import GalleryError
from lrface.gallery.index import EQUAL, Match
from lrface.gallery.milvus.connection import MOST, Connection, Row
from lrface.gallery.milvus.rows import group_mark
from lrface.gallery.milvus.state import State
from lrface.gallery.names import name_fault
from lrface.gallery.records import Damage, Details
from lrface.gallery.rules import usable_fpir
from lrface.gallery.settings import Settings
from lrface.types import FloatArray

_SPARE = 2  # times as many are asked for as are wanted: an approximate index ranks by rounded numbers
_THREADS = 4  # searches at once, one for each number of photos
_PROBES = 64  # of one request


class MilvusIndex:
    """The people as searched, with what was known of all of them at one moment.

    Whoever is enrolled later is not found, whoever is removed later is not found any more.

    Attributes:
        state: Of the gallery.
        today: The day for which groups and retention are looked at.
    """

    def __init__(self, connection: Connection, state: State, dim: int, today: dt.date) -> None:
        self.state, self.today = state, today
        self._connection, self._dim = connection, dim
        self._sizes: dict[str, int] = {}
        self._fields = ["person", "name", "negatives", "vector"]
        if any(group.fpir is not None for group in state.settings.groups.values()):
            self._fields += ["groups", "text"]
        valid = [name for name, group in state.settings.groups.items() if group.is_valid(today)]
        over = [name for name in state.settings.groups if name not in valid]
        marks = ", ".join(f'"{group_mark(name)}"' for name in valid)
        kept, left = [], []
        if state.dated:
            kept.append(f'(until == "" or until >= "{today.isoformat()}")')
            left.append(f'(until != "" and until < "{today.isoformat()}")')
        if over and valid:
            kept.append(f"(array_length(groups) == 0 or array_contains_any(groups, [{marks}]))")
            left.append(f"(array_length(groups) > 0 and not array_contains_any(groups, [{marks}]))")
        elif over:
            kept.append("array_length(groups) == 0")
            left.append("array_length(groups) > 0")
        there = f"row < {state.next_row}"
        self._searched = " and ".join([there, *kept])
        self._left_out = f"photos > 0 and {there} and ({' or '.join(left)})" if left else ""

    @property
    def settings(self) -> Settings:
        """The gallery's groups and the rest."""
        return self.state.settings

    @property
    def people(self) -> int:
        """How many people there are, also those who are not searched today."""
        return self.state.people

    @property
    def fpir(self) -> float | None:
        """The share of strangers that may be named, as chosen for this gallery; None where nobody chose.

        Raises:
            GalleryError: What is stored is not a rate.
        """
        return usable_fpir(self.state.fpir)

    @property
    def names(self) -> list[str]:
        """Of the people who are searched, in the order of enrolment."""
        if not self.state.people:
            return []
        parts = self._connection.all(f"photos > 0 and {self._searched}", ["row", "name"])
        rows = sorted((row for part in parts for row in part), key=lambda row: int(row["row"]))
        return [str(row["name"]) for row in rows]

    @property
    def population(self) -> Population:
        """What the thresholds need to know of the people who are searched."""
        return self._known[0]

    @property
    def enrolled(self) -> Enrolled:
        """The people and how many photos they have, for what is expected of them."""
        return Enrolled(self.population, dict(self._known[1]))

    def __len__(self) -> int:
        """How many people are searched."""
        return self.population.size

    @cached_property
    def _known(self) -> tuple[Population, dict[int, int]]:
        """Of the people who are searched: all less those who are left out today."""
        state, counts = self.state, dict(self.state.counts)
        sums, squares = state.sums.copy(), state.squares
        if self._left_out and state.people:
            for part in self._connection.all(self._left_out, ["photos", "length", "vector"]):
                for row in part:
                    mean = np.array(row["vector"], np.float64) * float(row["length"])
                    sums, squares = sums - mean, squares - float(np.square(mean).sum())
                    photos = int(row["photos"])
                    counts[photos] = max(0, counts.get(photos, 0) - 1)  # it may have changed since this moment
        size = sum(counts.values())
        if size < 2:
            return Population(size), counts
        mean_cosine = float((np.square(sums).sum() - squares) / (size * (size - 1)))
        return Population(size, mean_cosine), {photos: count for photos, count in counts.items() if count}

    def candidates(
        self, embeddings: FloatArray, k: int, least: Callable[[int], FloatArray] | None = None
    ) -> list[list[Match]]:
        """For each probe, float32 [n, dim] of unit length, the k closest people of each number of photos.

        Whoever is less like the probe than one of the own negative examples is, is left out.
        """
        found: list[list[Match]] = [[] for _ in range(len(embeddings))]
        numbers = sorted(self.state.counts)
        if not len(embeddings) or not numbers:
            return found
        parts = [(photos, start) for photos in numbers for start in range(0, len(embeddings), _PROBES)]

        def search(part: tuple[int, int]) -> list[list[Match]]:
            photos, start = part
            return self._closest(photos, embeddings[start : start + _PROBES], k)

        if len(parts) == 1:
            results = [search(parts[0])]
        else:
            with ThreadPoolExecutor(min(_THREADS, len(parts)), "lrface-milvus") as pool:
                results = list(pool.map(search, parts))
        for (_, start), matches in zip(parts, results, strict=True):
            for number, each in enumerate(matches, start):
                found[number] += each
        return found

    def search(self, embeddings: FloatArray, k: int) -> list[list[Match]]:
        """See `Gallery.search`."""
        return [sorted(found, key=lambda match: -match.similarity)[:k] for found in self.candidates(embeddings, k)]

    def reaching(self, embeddings: FloatArray, limit: Callable[[int], FloatArray], share: float = 0.0) -> list[int]:
        """See `SearchedPeople.reaching`. More than 16,384 of one number of photos are not counted."""
        counts = [0] * len(embeddings)
        for photos in self.state.counts:
            limits = limit(photos)
            for number, vector in enumerate(embeddings):
                above = float(np.nextafter(np.float32(limits[number]), np.float32(-1)))
                where = f"photos == {photos} and {self._searched}"
                counts[number] += len(self._connection.search(where, [vector], MOST, ["key"], above)[0])
        return counts

    def _closest(self, photos: int, probes: FloatArray, k: int) -> list[list[Match]]:
        """For each probe the k closest people of one number of photos."""
        found: list[list[Match]] = [[] for _ in probes]
        left, asked = list(range(len(probes))), k
        where = f"photos == {photos} and {self._searched}"
        while left:
            hits = self._connection.search(where, [probes[number] for number in left], _SPARE * asked, self._fields)
            short = []
            for number, rows in zip(left, hits, strict=True):
                nearest = self._compared(rows, probes[number])[:asked]
                allowed = self._allowed(nearest, photos, probes[number])[:k]
                if len(allowed) < k and len(nearest) == asked and _SPARE * asked < MOST:
                    short.append(number)  # negative examples kept some out: ask for more
                else:
                    found[number] = allowed
            left, asked = short, asked + 4 * k
        return found

    def _compared(self, rows: list[Row], probe: FloatArray) -> list[tuple[float, Row]]:
        """The rows by their exact cosine with the probe, closest first."""
        if not rows:
            return []
        templates = np.array([row["vector"] for row in rows], np.float32)
        if not (np.abs(np.linalg.norm(templates, axis=1) - 1) < 1e-3).all():
            raise self._damaged("a template is not of unit length")
        cosines = templates @ probe
        order = np.argsort(-cosines, kind="stable").tolist()
        return [(float(cosines[place]), rows[place]) for place in order]

    def _allowed(self, nearest: list[tuple[float, Row]], photos: int, probe: FloatArray) -> list[Match]:
        """Without those of whom a negative example is more like the probe."""
        negatives = self._negatives([str(row["person"]) for _, row in nearest if row["negatives"]])
        matches = []
        for similarity, row in nearest:
            identity, name = str(row["person"]), str(row["name"])
            if fault := name_fault(name):
                raise self._damaged(f"the name of {identity} {fault}")
            if identity in negatives and float((negatives[identity] @ probe).max()) > similarity + EQUAL:
                continue
            fpir, among = self._rate(row)
            matches.append(Match(name, similarity, photos, identity, fpir, among))
        return matches

    def _negatives(self, ids: list[str]) -> dict[str, FloatArray]:
        """float32 [n, dim], the negative examples of some people."""
        if not ids:
            return {}
        listed = ", ".join(f'"{identity}"' for identity in ids)
        rows = self._connection.query(f'kind == "negative" and person in [{listed}]', ["person", "vector"])
        found: dict[str, list[FloatArray]] = {}
        for row in rows:
            found.setdefault(str(row["person"]), []).append(np.array(row["vector"], np.float32))
        return {identity: np.stack(vectors) for identity, vectors in found.items()}

    def _rate(self, row: Row) -> tuple[float | None, int]:
        """The rate of the person's groups, and of how many people; of several the strictest."""
        if not row.get("groups"):
            return None, 0
        try:
            groups = Details.from_json(str(row["text"]).encode()).groups
        except Damage as error:
            raise self._damaged(str(error)) from error
        return self.settings.strictest(groups, self.today, self._size)

    def _damaged(self, what: str) -> GalleryError:
        return GalleryError(
            f"gallery {self._connection.address} is damaged ({what}): `lrface gallery verify` tells who is, and with "
            "--remove-damaged deletes them"
        )

    def _size(self, group: str) -> int:
        """How many people of a group are searched."""
        if group not in self._sizes:
            where = f'photos > 0 and {self._searched} and array_contains(groups, "{group_mark(group)}")'
            self._sizes[group] = self._connection.count(where)
        return self._sizes[group]
