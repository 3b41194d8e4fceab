"""What an enrolment says: which photos of which people were taken, and why the others were not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from lrface.errors import EnrolmentError
from lrface.redaction import escape


class PhotoStatus(StrEnum):
    """What became of a photo; each is equal to its text."""

    ENROLLED = "enrolled"
    ALREADY = "already enrolled"
    REFUSED = "refused"
    """There is no usable face or picture, or one that would cause mistakes."""
    SKIPPED = "skipped"
    """It is not a picture."""


ENROLLED, ALREADY, REFUSED, SKIPPED = PhotoStatus


@dataclass(frozen=True, slots=True)
class PhotoReport:
    """What became of one photo.

    Attributes:
        photo: Its path, or "photo 1" for bytes and arrays.
        name: The person.
        status: What became of it.
        reason: Why it was refused or skipped, with the fix, or that it is a copy; empty otherwise.
        native_px: How large the face is; 0 where it was not measured.
        quality: The network's estimate, 0..1; None without one.
    """

    photo: str
    name: str
    status: PhotoStatus
    reason: str = ""
    native_px: float = 0.0
    quality: float | None = None


@dataclass(frozen=True, slots=True)
class PersonReport:
    """One person's photos, counted by status. Nothing is stored of a person of whom none is usable."""

    name: str
    enrolled: int
    already: int
    refused: int
    skipped: int

    @property
    def usable(self) -> bool:
        """Whether the person is in the gallery now."""
        return self.enrolled + self.already > 0


@dataclass(frozen=True, slots=True)
class EnrolmentReport:
    """What became of every photo and person; `print` it for a table.

    Attributes:
        photos: In the order in which they were read.
        folders: People whose folder was read, also those without a single photo.
    """

    photos: tuple[PhotoReport, ...]
    folders: tuple[str, ...] = ()

    @property
    def people(self) -> tuple[PersonReport, ...]:
        """Per person, in the order in which they were read."""
        by_name: dict[str, list[PhotoStatus]] = {name: [] for name in self.folders}
        for photo in self.photos:
            if photo.name:
                by_name.setdefault(photo.name, []).append(photo.status)
        return tuple(
            PersonReport(name, *(statuses.count(s) for s in (ENROLLED, ALREADY, REFUSED, SKIPPED)))
            for name, statuses in by_name.items()
        )

    @property
    def refusals(self) -> tuple[PhotoReport, ...]:
        """The photos that were refused or skipped."""
        return tuple(photo for photo in self.photos if photo.status in (REFUSED, SKIPPED))

    @property
    def without_photo(self) -> tuple[str, ...]:
        """People of whom no photo was usable; nothing of them is in the gallery."""
        return tuple(person.name for person in self.people if not person.usable)

    def __str__(self) -> str:
        people = self.people
        width = max([len("person"), *(len(p.name) for p in people)])
        lines = [f"{'person':<{width}}  enrolled  already  refused  skipped"]
        for p in people:
            mark = "" if p.usable else "  <- no usable photo, not in the gallery"
            lines.append(f"{p.name:<{width}}  {p.enrolled:>8}  {p.already:>7}  {p.refused:>7}  {p.skipped:>7}{mark}")
        lines += [f"{photo.status}: {photo.photo}: {photo.reason}" for photo in self.refusals]
        there = sum(p.usable for p in people)
        new = sum(p.enrolled for p in people)
        lines.append(f"{there} of {len(people)} people in the gallery, {new} new photos")
        return "\n".join(map(escape, lines))


def nothing_enrolled(photos: Iterable[PhotoReport], what: str) -> EnrolmentError:
    """The error for photos of which none was usable, with the reason for each (at most ten)."""
    photos = tuple(photos)
    reasons = [f"{photo.photo}: {photo.reason}" for photo in photos if photo.reason]
    more = [f"and {len(reasons) - 10} more"] if len(reasons) > 10 else []
    if not reasons:
        return EnrolmentError(f"no photo to enrol {what}: give JPEG, PNG or WebP pictures, in people/<name>/*.jpg")
    error = EnrolmentError(f"nothing could be enrolled {what}: " + "; ".join([*reasons[:10], *more]))
    error.photos = photos
    return error
