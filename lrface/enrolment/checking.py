"""Looks for mistakes among those who are enrolled: wrong photos, one person under two names, photos of no use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from lrface.decisions.calibration import Calibration, WidthBand
from lrface.decisions.rates import DEFAULT_FPIR, fmr_for
from lrface.embedding.templates import fuse
from lrface.enrolment.screening import HUBNESS, HUBNESS_FMR, HUBNESS_PEOPLE
from lrface.gallery import Gallery, Match, PhotoTemplate
from lrface.gallery.protocol import SearchedPeople
from lrface.gallery.reading import StoredPerson
from lrface.types import FloatArray, one_in

_NEAREST = 3  # of each number of photos: the person itself and who resembles the photo most
_BATCH = 256  # photos


class FindingKind(StrEnum):
    """What may be wrong; each is equal to its text."""

    UNLIKE = "unlike the rest"
    """A photo that resembles the person's other photos no more than strangers do."""
    ALIKE = "alike"
    """Two people, one of whom may be named as the other."""
    HUB = "hub"
    """A photo that resembles many people."""
    POOR = "poor"
    """A photo too poor to be recognised by."""


UNLIKE, ALIKE, HUB, POOR = FindingKind
_ORDER = {kind: number for number, kind in enumerate(FindingKind)}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that may be wrong in a gallery.

    Attributes:
        kind: What it is.
        person_id: Whose entry.
        name: Of that person.
        photo: Its hash, as `Gallery.photos` lists it; empty if no single photo is meant.
        other: The name of somebody who resembles the photo or the person; empty without.
        similarity: The cosine that tells; None without.
        suggestion: What was found and what to do, in words.
        removable: Whether `fix` removes the photo.
    """

    kind: FindingKind
    person_id: str
    name: str
    photo: str
    other: str
    similarity: float | None
    suggestion: str
    removable: bool


def check_gallery(gallery: Gallery, calibration: Calibration, progress: bool = False) -> list[Finding]:
    """Lists what may be wrong with everybody's photos; changes nothing.

    Each is compared with all people who are searched today, so the time grows with the square of their number. In a
    gallery's file that is done in 8 bits first; whether a photo is like a tenth of all, is looked at in a sample first.

    Args:
        gallery: Read only.
        calibration: What similarities and qualities mean, of the gallery's models.
        progress: Shows a progress bar on stderr.

    Returns:
        By kind; the most striking of each kind first.

    Raises:
        GalleryError: The gallery cannot be read.
    """
    from tqdm import tqdm

    people = gallery.everybody()
    checker = _Checker(gallery.search_index(), calibration, gallery.fpir or DEFAULT_FPIR)
    owned = [(person, photo) for person in people for photo in person.photos]
    findings: list[Finding] = []
    with tqdm(total=len(owned), unit="photo", disable=not progress) as bar:
        for batch in _batches(owned, _BATCH):
            findings += checker.compared(batch)
            bar.update(len(batch))
    for person in people:
        findings += checker.inside(person)
    return _settled(findings, {person.id: len(person.photos) for person in people})


def fix(gallery: Gallery, findings: Sequence[Finding]) -> int:
    """Removes the photos of the findings that are `removable`; returns how many were removed.

    Raises:
        GalleryError: The gallery cannot be written, or a photo is gone meanwhile; those before it are removed.
    """
    gone: set[tuple[str, str]] = set()
    for finding in findings:
        key = finding.person_id, finding.photo
        if finding.removable and key not in gone:
            gallery.remove_photo(*key)
            gone.add(key)
    return len(gone)


class _Checker:
    def __init__(self, index: SearchedPeople, calibration: Calibration, fpir: float) -> None:
        self.index, self._calibration, self._fpir = index, calibration, fpir
        self._population = index.population
        self._people = len(index)
        self._shift = calibration.shift(self._population)
        # A group's rate is shared by its people, at least one: no comparison in it may err more often.
        groups = [fmr_for(group.fpir, 1) for group in index.settings.groups.values() if group.fpir is not None]
        self._largest_fmr = max([fmr_for(fpir, self._population.size), *groups])
        self._thresholds: dict[tuple[int, int, float], float] = {}

    def compared(self, batch: Sequence[tuple[StoredPerson, PhotoTemplate]]) -> Iterator[Finding]:
        """Photos compared with everybody else, and with the quality that is needed."""
        vectors = np.stack([photo.embedding for _, photo in batch])
        bands = [self._band(photo) for _, photo in batch]
        nearest = self.index.candidates(vectors, _NEAREST, lambda photos: self._each(bands, photos, self._largest_fmr))
        near = self._near(batch, bands, vectors)
        for (person, photo), band, matches, count in zip(batch, bands, nearest, near, strict=True):
            least = band.min_quality
            if photo.quality is not None and photo.quality < least:
                said = f"quality {photo.quality:.2f}, at least {least:.2f} is needed: replace it with a sharper photo"
                yield _finding(POOR, person, photo, said, None)
            others = self._people - 1
            if others >= HUBNESS_PEOPLE and count > HUBNESS * others:
                said = f"it looks like {count} of {others} people: replace it with another photo"
                yield _finding(HUB, person, photo, said, None)
            closest = self._closest(photo, [match for match in matches if match.person_id != person.id])
            if closest is not None:
                yield self._alike(person, photo, closest)

    def inside(self, person: StoredPerson) -> Iterator[Finding]:
        """Photos unlike the rest of their person: the most different first, compared with those that are left."""
        left = list(person.photos)
        odd: list[tuple[PhotoTemplate, float]] = []
        while len(left) > 1:
            total = np.sum([photo.embedding for photo in left], axis=0)
            rest = fuse(np.stack([total - photo.embedding for photo in left]))
            margins = [
                float(mean @ photo.embedding) - self._threshold(self._band(photo), len(left) - 1, HUBNESS_FMR)
                for mean, photo in zip(rest, left, strict=True)
            ]
            worst = int(np.argmin(margins))
            if margins[worst] >= 0:
                break
            odd.append((left[worst], float(rest[worst] @ left[worst].embedding)))
            del left[worst]
        if not odd:
            return
        if len(odd) >= len(left):
            said = (
                f"the {len(person.photos)} photos do not resemble each other: look at them, and remove those of "
                "somebody else with `lrface gallery remove-photo`"
            )
            yield Finding(UNLIKE, person.id, person.name, "", "", odd[0][1], said, False)
            return
        for photo, similarity in odd:
            said = (
                f"similarity {similarity:.2f} to the other photos, as strangers have: it may show somebody else; "
                "remove it unless it is right"
            )
            yield _finding(UNLIKE, person, photo, said, similarity)

    def _alike(self, person: StoredPerson, photo: PhotoTemplate, match: Match) -> Finding:
        share = self._calibration.false_match_rate(
            match.similarity, self._calibration.enrolment, photo.native_px, match.photos, self._population
        )
        said = (
            f"a photo looks like {match.name} (similarity {match.similarity:.2f}, {one_in(share)} does): if they are "
            "one person, `lrface gallery merge`; if the photo is of the other one, remove it here"
        )
        return Finding(ALIKE, person.id, person.name, photo.sha256, match.name, match.similarity, said, False)

    def _closest(self, photo: PhotoTemplate, others: Sequence[Match]) -> Match | None:
        """Who the photo would be named as, if its own person were not enrolled."""
        margins = []
        for match in others:
            rate, among = match.rate(self._fpir, self._population.size)
            network = self._calibration.enrolment
            how = network, photo.native_px, match.photos, self._population, rate, among
            margins.append(match.similarity - self._calibration.threshold(*how))
        best = int(np.argmax(margins)) if margins else -1
        return others[best] if best >= 0 and margins[best] >= 0 else None

    def _near(
        self, batch: Sequence[tuple[StoredPerson, PhotoTemplate]], bands: Sequence[WidthBand], vectors: FloatArray
    ) -> list[int]:
        """How many other people reach the threshold that one stranger in a hundred reaches; 0 if far from a tenth."""
        if self._people <= HUBNESS_PEOPLE:
            return [0] * len(batch)
        near = self.index.reaching(vectors, lambda photos: self._each(bands, photos, HUBNESS_FMR), HUBNESS)
        for place in np.flatnonzero(near).tolist():
            person, photo = batch[place]
            total = np.sum([each.embedding for each in person.photos], axis=0)[None]
            limit = self._threshold(bands[place], len(person.photos), HUBNESS_FMR)
            near[place] -= float(fuse(total)[0] @ photo.embedding) >= limit
        return near

    def _each(self, bands: Sequence[WidthBand], photos: int, fmr: float) -> FloatArray:
        """See `_threshold`: float32 [bands]."""
        return np.array([self._threshold(band, photos, fmr) for band in bands], np.float32)

    def _threshold(self, band: WidthBand, photos: int, fmr: float) -> float:
        """The similarity to a person of so many photos that a share `fmr` of strangers reaches."""
        key = id(band), photos, fmr
        if key not in self._thresholds:
            self._thresholds[key] = float(band.curve(photos).threshold(fmr) + self._shift)
        return self._thresholds[key]

    def _band(self, photo: PhotoTemplate) -> WidthBand:
        return self._calibration.band(self._calibration.enrolment, photo.native_px)


def _finding(
    kind: FindingKind, person: StoredPerson, photo: PhotoTemplate, said: str, similarity: float | None
) -> Finding:
    """About a photo that may be removed."""
    return Finding(kind, person.id, person.name, photo.sha256, "", similarity, said, True)


def _batches(
    owned: Sequence[tuple[StoredPerson, PhotoTemplate]], size: int
) -> Iterator[Sequence[tuple[StoredPerson, PhotoTemplate]]]:
    for start in range(0, len(owned), size):
        yield owned[start : start + size]


def _settled(findings: Sequence[Finding], photos: dict[str, int]) -> list[Finding]:
    """In order; of two people the closer photo only, and nobody loses the last photo."""
    pairs: dict[frozenset[str], Finding] = {}
    rest = []
    for finding in findings:
        if finding.kind is not ALIKE:
            rest.append(finding)
            continue
        pair = frozenset((finding.name, finding.other))
        if pair not in pairs or (pairs[pair].similarity or 0) < (finding.similarity or 0):
            pairs[pair] = finding
    left, gone, kept = dict(photos), set(), []
    for finding in sorted([*rest, *pairs.values()], key=_rank):
        key = finding.person_id, finding.photo
        if finding.removable and key not in gone:
            if left[finding.person_id] <= 1:
                finding = replace(finding, removable=False)
            else:
                left[finding.person_id] -= 1
                gone.add(key)
        kept.append(finding)
    return kept


def _rank(finding: Finding) -> tuple[int, float, str]:
    similarity = finding.similarity or 0.0
    return _ORDER[finding.kind], -similarity if finding.kind is ALIKE else similarity, finding.name
