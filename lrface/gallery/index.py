"""The gallery's search index: templates in memory, brought up to date by what has changed, never read from a file."""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from lrface.decisions.calibration import Population
from lrface.decisions.expectation import Enrolled
from lrface.embedding.templates import fuse
from lrface.errors import GalleryError
from lrface.gallery.blocks import Block, Entries, append, found_places, take_out
from lrface.gallery.bulk import Shelf
from lrface.gallery.extras import Extra, Extras
from lrface.gallery.reading import StoredPerson
from lrface.gallery.rules import usable_fpir
from lrface.gallery.scan import closest
from lrface.gallery.settings import Settings
from lrface.types import FloatArray

EQUAL = 1e-6  # cosines of one and the same vector, summed up in another order
_SAMPLE = 4096  # people: a probe like a tenth of all is like fewer than half as many of these once in 10**20 times


@dataclass(frozen=True, slots=True)
class Match:
    """One person found for a probe.

    Attributes:
        name: The person.
        similarity: Cosine of the probe and the person's template.
        photos: How many photos the template was made of.
        person_id: The person's UUID.
        fpir: Share of strangers that may be named as anybody of the person's group; None for the gallery's.
        among: How many people that rate is shared by; 0 for all.
    """

    name: str
    similarity: float
    photos: int
    person_id: str = ""
    fpir: float | None = None
    among: int = 0

    def rate(self, fpir: float, people: int) -> tuple[float, int]:
        """The share of strangers that may be named as this person, and how many people it is shared by.

        Args:
            fpir: The gallery's.
            people: In the gallery.
        """
        return (fpir, people) if self.fpir is None else (self.fpir, self.among)


@dataclass(frozen=True, slots=True, eq=False)
class PersonTemplates:
    """What a search needs of a person.

    Attributes:
        row: In the table of people.
        id: UUID, never used again.
        name: The person.
        photos: How many are enrolled.
        total: The sum of the photos' embeddings, float32 [dim].
        checksum: Of the table's row.
        groups: The person's.
        retain_until: The last day on which the person may be searched; None without.
        negatives: float32 [n, dim], faces that are not this person's; None without.
    """

    row: int
    id: str
    name: str
    photos: int
    total: FloatArray
    checksum: bytes
    groups: tuple[str, ...] = ()
    retain_until: str | None = None
    negatives: FloatArray | None = None

    @classmethod
    def of(cls, person: StoredPerson) -> PersonTemplates:
        """Of a person as stored."""
        photos = person.photos
        total = photos[0].embedding if len(photos) == 1 else np.stack([p.embedding for p in photos]).sum(axis=0)
        negatives = np.stack(person.negatives) if person.negatives else None
        details = person.details
        return cls(
            person.row,
            person.id,
            person.name,
            len(photos),
            total,
            person.checksum,
            details.groups,
            details.retain_until,
            negatives,
        )

    def is_searched(self, settings: Settings, today: dt.date) -> bool:
        """Whether the person is looked for on a day: kept so long, and of no group or of one that is valid."""
        if self.retain_until is not None and self.retain_until < today.isoformat():
            return False
        groups = [settings.groups[name] for name in self.groups if name in settings.groups]
        return not groups or any(group.is_valid(today) for group in groups)


@dataclass(frozen=True)
class SearchIndex:
    """All people of one moment, one template a person. Immutable: a search needs no lock while a newer one is made.

    Attributes:
        dim: Length of a template.
        settings: The gallery's groups and the rest.
        stored_fpir: The gallery's; see `fpir`.
        today: The day for which groups and retention were looked at.
    """

    dim: int
    settings: Settings = field(default_factory=Settings)
    stored_fpir: float | None = None
    today: dt.date = field(default_factory=dt.date.today)
    _shelves: Mapping[int, tuple[tuple[Block, int], ...]] = field(default_factory=dict)
    _extras: Extras = field(default_factory=Extras)
    _means: tuple[NDArray[np.float64], float] = (np.zeros(0), 0.0)
    _group_sizes: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many people are searched."""
        return sum(count for blocks in self._shelves.values() for _, count in blocks)

    @property
    def people(self) -> int:
        """How many people there are, also those who are not searched today."""
        return len(self) + self._extras.left_out

    @property
    def names(self) -> list[str]:
        """Of the people who are searched, in the order of enrolment."""
        names = list(chain.from_iterable(block.names[:count] for block, count in self._blocks()))
        return [names[place] for place in self._order()]

    @property
    def photos(self) -> NDArray[np.int64]:
        """Int [people], behind each template, in the order of enrolment."""
        counts = [np.full(count, photos) for photos, blocks in self._shelves.items() for _, count in blocks]
        return np.concatenate([np.zeros(0, np.int64), *counts])[self._order()]

    @property
    def templates(self) -> FloatArray:
        """float32 [people, dim], of unit length, in the order of enrolment."""
        found = [block.templates[:count] for block, count in self._blocks()]
        return np.concatenate([np.zeros((0, self.dim), np.float32), *found])[self._order()]

    @property
    def fpir(self) -> float | None:
        """The share of strangers that may be named, as chosen for this gallery; None where nobody chose.

        Raises:
            GalleryError: What is stored is not a rate.
        """
        return usable_fpir(self.stored_fpir)

    @property
    def population(self) -> Population:
        """What the thresholds need to know of the people."""
        size, (total, squares) = len(self), self._means
        if size < 2:
            return Population(size)
        # With m the mean of a person's photos: the mean of m_p . m_q for p != q is (|sum m|^2 - sum |m|^2) / n(n-1).
        return Population(size, float((np.square(total).sum() - squares) / (size * (size - 1))))

    @property
    def enrolled(self) -> Enrolled:
        """The people and how many photos they have, for what is expected of them."""
        counts = {photos: sum(count for _, count in blocks) for photos, blocks in self._shelves.items()}
        return Enrolled(self.population, counts)

    def depends_on_day(self) -> bool:
        """Whether another day may change who is searched."""
        dated = any(group.valid_from or group.valid_until for group in self.settings.groups.values())
        return dated or self._extras.dated > 0

    def checksums(self, rows: Iterable[int]) -> list[bytes]:
        """Of the people who are known, by their rows in the table of people."""
        found = []
        for row in rows:
            extra = self._extras.get(row)
            if extra is not None and extra.checksum is not None:
                found.append(extra.checksum)
                continue
            for blocks in self._shelves.values():
                found += [block.checksums[places[0]].tobytes() for block, places in found_places(blocks, [row])]
        return found

    def changed(
        self,
        people: Mapping[int, PersonTemplates | None],
        settings: Settings,
        stored_fpir: float | None,
        new: deque[Shelf] | None = None,
    ) -> SearchIndex:
        """The index of a later moment. What it costs depends on who has changed, not on how many people there are.

        Args:
            people: Who is new or changed; None for who is gone. By row in the table of people.
            settings: The gallery's; groups are those of this index.
            stored_fpir: The gallery's.
            new: More people, who are in no group and have no last day; taken out one by one, so that their templates
                are not in memory twice.

        Raises:
            GalleryError: Somebody has no usable template.
        """
        shelves, sizes = dict(self._shelves), dict(self._group_sizes)
        extras: dict[int, Extra] = {}
        total, squares = (self._means[0].copy(), self._means[1]) if len(self) else (np.zeros(self.dim), 0.0)
        for photos, blocks in self._shelves.items() if people else ():
            gone = list(found_places(blocks, people))
            if gone:
                for block, at in gone:
                    means = _sums_of_means(block.templates[at], block.lengths[at])
                    total, squares = total - means[0], squares - means[1]
                shelves[photos] = take_out(blocks, {row for block, at in gone for row in block.rows[at].tolist()})
        for row in people:
            old = self._extras.get(row)
            if old is not None and old.checksum is None:
                for group in old.groups:
                    sizes[group] -= 1
        by_photos: dict[int, list[PersonTemplates]] = {}
        for row, person in people.items():
            if person is None:
                continue
            searched = person.is_searched(settings, self.today)
            if searched:
                by_photos.setdefault(person.photos, []).append(person)
                for group in person.groups:
                    sizes[group] = sizes.get(group, 0) + 1
            if person.groups or person.retain_until is not None or person.negatives is not None or not searched:
                checksum = None if searched else person.checksum
                extras[row] = Extra(person.groups, person.retain_until, person.negatives, checksum)
        shelved = deque() if new is None else new
        shelved.extend(Shelf(photos, _entries(added, photos)) for photos, added in by_photos.items())
        while shelved:
            shelf = shelved.popleft()
            shelves[shelf.photos] = append(shelves.get(shelf.photos, ()), shelf.entries)
            means = _sums_of_means(shelf.entries.templates, shelf.entries.lengths)
            total, squares = total + means[0], squares + means[1]
        kept = {photos: blocks for photos, blocks in shelves.items() if blocks}
        those = self._extras.changed(people, extras)
        return SearchIndex(self.dim, settings, stored_fpir, self.today, kept, those, (total, squares), sizes)

    def candidates(
        self, embeddings: FloatArray, k: int, least: Callable[[int], FloatArray] | None = None
    ) -> list[list[Match]]:
        """For each probe the k closest people of each number of photos.

        Among people with as many photos the closer one is always the likelier, so the k likeliest of all are among
        these, whatever the thresholds. Whoever is less like the probe than one of the own negative examples is, is left
        out.

        Args:
            embeddings: float32 [n, dim], unit length.
            k: At least 1.
            least: Gives for people with so many photos float32 [n]: whoever is less like the probe may be left out.
        """
        found: list[list[Match]] = [[] for _ in range(len(embeddings))]
        if not len(embeddings) or not self._shelves:
            return found
        for photos, blocks in self._shelves.items():
            left, asked = np.arange(len(embeddings)), k
            limits = None if least is None else least(photos)
            while len(left):
                short = []
                own = None if limits is None else limits[left]
                for number, nearest in zip(left.tolist(), closest(blocks, embeddings[left], asked, own), strict=True):
                    matches = (self._match(*each, photos, embeddings[number]) for each in nearest)
                    allowed = list(islice((match for match in matches if match is not None), k))
                    if len(allowed) < k and len(nearest) == asked:
                        short.append(number)  # negative examples kept some out: ask for more
                    else:
                        found[number] += allowed
                left, asked = np.array(short, np.intp), asked + 4 * k
        return found

    def search(self, embeddings: FloatArray, k: int) -> list[list[Match]]:
        """See `Gallery.search`."""
        return [sorted(found, key=lambda match: -match.similarity)[:k] for found in self.candidates(embeddings, k)]

    def reaching(self, embeddings: FloatArray, limit: Callable[[int], FloatArray], share: float = 0.0) -> list[int]:
        """See `SearchedPeople.reaching`. A sample tells who may reach the share."""
        counts, asked = np.zeros(len(embeddings), np.int64), np.arange(len(embeddings))
        limits = {photos: limit(photos) for photos in self._shelves}
        if share and len(self) > 2 * _SAMPLE:
            near = np.zeros(len(embeddings), np.int64)
            for photos, some in self._sample.items():
                near += np.count_nonzero(some @ embeddings.T >= limits[photos], axis=0)
            asked = np.flatnonzero(near > share / 2 * _SAMPLE)
        for photos, blocks in self._shelves.items() if len(asked) else ():
            for block, count in blocks:
                found = block.templates[:count] @ embeddings[asked].T >= limits[photos][asked]
                counts[asked] += np.count_nonzero(found, axis=0)
        return [int(count) for count in counts]

    @cached_property
    def _sample(self) -> dict[int, FloatArray]:
        """Templates of people drawn by chance, always the same: float32 [n, dim] by number of photos."""
        drawn = np.sort(np.random.default_rng(0).choice(len(self), _SAMPLE, replace=False))
        found: dict[int, list[FloatArray]] = {}
        start = 0
        for photos, blocks in self._shelves.items():
            for block, count in blocks:
                first, end = np.searchsorted(drawn, (start, start + count))
                found.setdefault(photos, []).append(block.templates[drawn[first:end] - start])
                start += count
        return {photos: np.concatenate(parts) for photos, parts in found.items()}

    def _match(self, block: Block, place: int, similarity: float, photos: int, probe: FloatArray) -> Match | None:
        fpir, among = None, 0
        extra = self._extras.get(int(block.rows[place])) if self._extras else None
        if extra is not None:
            if extra.negatives is not None and float((extra.negatives @ probe).max()) > similarity + EQUAL:
                return None
            fpir, among = self._rate(extra.groups)
        digits = block.ids[place].tobytes().hex()  # five people a face: uuid.UUID takes several times as long
        identity = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
        return Match(block.names[place], similarity, photos, identity, fpir, among)

    def _rate(self, groups: Sequence[str]) -> tuple[float | None, int]:
        return self.settings.strictest(groups, self.today, lambda name: self._group_sizes.get(name, 1))

    def _blocks(self) -> Iterable[tuple[Block, int]]:
        return chain.from_iterable(self._shelves.values())

    def _order(self) -> NDArray[np.intp]:
        rows = np.concatenate([np.zeros(0, np.int64), *(block.rows[:count] for block, count in self._blocks())])
        return np.argsort(rows, kind="stable")


def _sums_of_means(templates: FloatArray, lengths: FloatArray) -> tuple[NDArray[np.float64], float]:
    """The sum of the means of people's embeddings, float64 [dim], and of the squares of all their numbers."""
    return (lengths @ templates).astype(np.float64), float(np.square(lengths, dtype=np.float64).sum())


def _entries(people: Sequence[PersonTemplates], photos: int) -> Entries:
    sums = np.stack([person.total for person in people]).astype(np.float32, copy=False)
    templates = fuse(sums)
    if not (np.abs(np.linalg.norm(templates, axis=1) - 1) < 1e-3).all():
        raise GalleryError("the gallery holds a person without a usable template: restore a copy, or enrol anew")
    ids = "".join(person.id for person in people).replace("-", "")
    return Entries(
        [person.name for person in people],
        np.array([person.row for person in people], np.int64),
        np.frombuffer(bytes.fromhex(ids), np.uint8).reshape(-1, 16),
        np.frombuffer(b"".join(person.checksum for person in people), np.uint8).reshape(-1, 16),
        np.linalg.norm(sums, axis=1) / np.float32(photos),
        templates,
    )
