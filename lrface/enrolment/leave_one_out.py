"""How many photos of the enrolled people would be recognised, each as if it alone were not enrolled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from lrface.decisions.calibration import Calibration, Population
from lrface.embedding.templates import fuse
from lrface.gallery import Gallery, Match, PhotoTemplate
from lrface.gallery.protocol import SearchedPeople

T = TypeVar("T")
PEOPLE, PHOTOS = 200, 5
"""Of so many people, evenly chosen by name, so many photos are compared: more would say little new, and take longer."""

RATES = (1 / 10, 1 / 30, 1 / 100, 1 / 300, 1 / 1000)
"""Shares of strangers that may be named, between which a user may want to choose."""

_NEAREST = 3  # of each number of photos: the person itself and who resembles the photo most


@dataclass(frozen=True, slots=True)
class Recognition:
    """What became of photos at one share of strangers that may be named.

    Attributes:
        fpir: That share.
        photos: How many were compared; 0 where nobody has a second photo.
        people: How many people they show.
        named: How many would have the right name.
        mistaken: How many would have somebody else's name.
    """

    fpir: float
    photos: int
    people: int
    named: int
    mistaken: int

    @property
    def unknown(self) -> int:
        """How many would have no name."""
        return self.photos - self.named - self.mistaken

    def __str__(self) -> str:
        """In words, for a user."""
        one_in = f"one stranger in {1 / self.fpir:,.0f} named"
        if not self.photos:
            return f"{one_in}: nobody has a second photo, so nothing can be said of who is recognised"
        wrong = f", {self.mistaken} as somebody else" if self.mistaken else ""
        return (
            f"{one_in}: {self.named} of {self.photos} photos of {self.people} people recognised "
            f"({100 * self.named / self.photos:.0f} %){wrong}"
        )


def leave_one_out(gallery: Gallery, calibration: Calibration, rates: Sequence[float]) -> list[Recognition]:
    """Compares photos with everybody, each with its own person's other photos only, and decides as for a picture.

    Photos are what was enrolled: large faces, by the network of enrolment. Small faces of cameras are recognised less
    often, tracks of many views more often than one view. With all photos a person has one more than is compared here.

    Args:
        gallery: Read only. People with one photo, and those who are not searched today, are left out.
        calibration: Of the gallery's models.
        rates: Shares of strangers that may be named.

    Returns:
        One for each rate, in their order.

    Raises:
        GalleryError: The gallery cannot be read.
        ArgumentError: A rate is out of range.
    """
    index = gallery.search_index()
    named, mistaken, photos, people = [0] * len(rates), [0] * len(rates), 0, set[str]()
    for photo, own, matches in _compared(gallery, index):
        photos += 1
        people.add(own)
        best = _likeliest(photo, matches, calibration, index.population)
        if best is None:
            continue
        for place, rate in enumerate(rates):
            fpir, among = best.rate(rate, index.population.size)
            how = calibration.enrolment, photo.native_px, best.photos, index.population, fpir, among
            if best.similarity >= calibration.threshold(*how):
                named[place] += best.person_id == own
                mistaken[place] += best.person_id != own
    return [
        Recognition(rate, photos, len(people), right, wrong)
        for rate, right, wrong in zip(rates, named, mistaken, strict=True)
    ]


def _compared(gallery: Gallery, index: SearchedPeople) -> Iterator[tuple[PhotoTemplate, str, list[Match]]]:
    """Photos, whose they are, and the people closest to them; one's own as similar as without that photo."""
    for person, photos in people_with_more_photos(gallery, index, 1):
        total = np.sum([photo.embedding for photo in photos], axis=0)
        chosen = photos[:PHOTOS]
        rest = fuse(np.stack([total - photo.embedding for photo in chosen]))
        found = index.candidates(np.stack([photo.embedding for photo in chosen]), _NEAREST)
        for photo, without, matches in zip(chosen, rest, found, strict=True):
            yield photo, person, own_replaced(matches, person, float(without @ photo.embedding), len(photos) - 1)


def _likeliest(
    photo: PhotoTemplate, matches: Sequence[Match], calibration: Calibration, population: Population
) -> Match | None:
    """Whom the photo resembles as strangers rarely do; of equal ones the more similar one."""
    band, shift = calibration.band(calibration.enrolment, photo.native_px), calibration.shift(population)
    ranked = [(band.curve(each.photos).log_fmr_at(each.similarity - shift), -each.similarity) for each in matches]
    return matches[min(range(len(matches)), key=ranked.__getitem__)] if matches else None


def people_with_more_photos(
    gallery: Gallery, index: SearchedPeople, count: int
) -> Iterator[tuple[str, tuple[PhotoTemplate, ...]]]:
    """Ids and photos of people with more than so many photos who are searched today; `PEOPLE` at most, evenly chosen.

    Raises:
        GalleryError: The gallery cannot be read.
    """
    searched = set(index.names)
    able = [each for each in gallery.people() if each.photos > count and each.name in searched]
    for person in evenly(able, PEOPLE):
        photos = gallery.photos(person.id)
        if len(photos) > count:  # else some were removed meanwhile
            yield person.id, photos


def own_replaced(matches: Sequence[Match], person: str, similarity: float, photos: int) -> list[Match]:
    """The matches of a probe as if the person had fewer photos: their own ones first, so similar to so many photos.

    Without an own one, the probe is like a face that somebody said is not this person.
    """
    own = [replace(match, similarity=similarity, photos=photos) for match in matches if match.person_id == person]
    return own + [match for match in matches if match.person_id != person]


def evenly(items: Sequence[T], most: int) -> list[T]:
    """So many of the items at most, evenly chosen by their places."""
    rows = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[row] for row in rows]
