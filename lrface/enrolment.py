"""Enrolment: which photos of which people were taken, and why the others were not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from lrface.errors import EnrolmentError
from lrface.images import SUFFIXES
from lrface.types import Detections, ImageArray

if TYPE_CHECKING:
    from lrface.detection import FaceDetector

DOMINANT = 2.0
"""A photo with several faces is taken if the widest is at least so many times as wide as the next."""

MIN_ENROL_PX = 16.0
"""A face to enrol must be at least so wide (source pixels of the canonical crop): the smallest network's input."""

SMALLEST_SIDE = 64
"""Photos are searched for faces down to this long side in pixels."""

SAME_FACE_IOU = 0.4
"""Two boxes found at different sizes of a photo are one face if they overlap by more."""

ENROLLED, ALREADY, REFUSED, SKIPPED = "enrolled", "already enrolled", "refused", "skipped"


@dataclass(frozen=True, slots=True)
class PhotoReport:
    """What became of one photo.

    Attributes:
        photo: Its path, or "photo 1" for bytes and arrays.
        name: The person.
        status: "enrolled", "already enrolled", "refused" (no usable face or picture) or "skipped" (not a picture).
        reason: Why it was refused or skipped, with the mend; empty otherwise.
        native_px: How large the face is; 0 where it was not measured.
        levels: At which templates were stored.
    """

    photo: str
    name: str
    status: str
    reason: str = ""
    native_px: float = 0.0
    levels: tuple[int, ...] = ()


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
        by_name: dict[str, list[str]] = {name: [] for name in self.folders}
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
        return "\n".join(lines)


def find_faces(detector: FaceDetector, picture: ImageArray) -> Detections:
    """Finds faces of any size: at the photo's own size, at a half, a quarter, ... merged.

    Detectors made for small faces miss one that fills a portrait.

    Args:
        detector: Finds faces at one size.
        picture: uint8 [h, w, 3], BGR.

    Returns:
        Detections in pixels of the picture.
    """
    from lrface.detection.onnx_detector import suppress

    found, factor = [detector.detect(picture)], 2
    while max(picture.shape[:2]) // factor >= SMALLEST_SIDE and min(picture.shape[:2]) >= factor:
        size = (picture.shape[1] // factor, picture.shape[0] // factor)
        part = detector.detect(cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False))
        ratio = np.array([picture.shape[1] / size[0], picture.shape[0] / size[1]], np.float32)
        found.append(Detections(part.boxes * np.tile(ratio, 2), part.scores, part.landmarks * ratio))
        factor *= 2
    merged = Detections.from_arrays(
        np.concatenate([part.boxes for part in found]),
        np.concatenate([part.scores for part in found]),
        np.concatenate([part.landmarks for part in found]),
    )
    return merged[np.sort(suppress(merged.boxes, merged.scores, SAME_FACE_IOU))]


def choose_face(detections: Detections) -> int | str:
    """The one face of a photo for enrolment.

    Returns:
        Its row, or the reason why there is none.
    """
    if len(detections) == 0:
        return "no face found: use a photo in which the face is upright, sharp and not cut off"
    widths = detections.boxes[:, 2] - detections.boxes[:, 0]
    order = widths.argsort()[::-1]
    if len(order) > 1 and widths[order[0]] < DOMINANT * widths[order[1]]:
        sizes = ", ".join(f"{widths[i]:.0f} px" for i in order[:3])
        return f"{len(order)} faces of similar width ({sizes}): crop the photo to one person"
    return int(order[0])


def people_folders(folder: str | PathLike[str]) -> tuple[list[Path], list[PhotoReport]]:
    """The people/<name> folders, by name, and what else lies beside them.

    Raises:
        EnrolmentError: No such folder, or no person's folder in it.
    """
    root = Path(folder)
    try:
        entries = sorted(root.iterdir())
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = getattr(error, "strerror", None) or error
        raise EnrolmentError(f"cannot read the folder {root} ({why}): pass a folder people/<name>/*.jpg") from error
    people = [entry for entry in entries if entry.is_dir() and not _hidden(entry)]
    if not people:
        found = f"{len(entries)} files but no folder" if entries else "nothing"
        raise EnrolmentError(f"{root} holds {found}: make one folder a person in it, people/<name>/*.jpg")
    loose = [
        PhotoReport(str(entry), "", SKIPPED, "not in a person's folder: move it to people/<name>/")
        for entry in entries
        if entry not in people and not _hidden(entry)
    ]
    return people, loose


def photos_in(folder: Path, name: str) -> Iterator[Path | PhotoReport]:
    """A person's pictures, by file name; a report instead for whatever is none."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        yield PhotoReport(str(folder), name, REFUSED, f"cannot be read ({error.strerror}): check its permissions")
        return
    for entry in entries:
        if _hidden(entry):
            yield PhotoReport(str(entry), name, SKIPPED, "hidden file")
        elif entry.is_dir():
            yield PhotoReport(str(entry), name, SKIPPED, "a folder inside a person's folder: move its pictures up")
        elif entry.suffix.lower() not in SUFFIXES:
            yield PhotoReport(str(entry), name, SKIPPED, "not a picture: save it as JPEG, PNG or WebP")
        else:
            yield entry


def nothing_enrolled(photos: Iterable[PhotoReport], what: str) -> EnrolmentError:
    """The error for photos of which none was usable, with the reason for each (at most ten)."""
    reasons = [f"{photo.photo}: {photo.reason}" for photo in photos if photo.reason]
    more = [f"and {len(reasons) - 10} more"] if len(reasons) > 10 else []
    if not reasons:
        return EnrolmentError(f"no photo to enrol {what}: give JPEG, PNG or WebP pictures, in people/<name>/*.jpg")
    return EnrolmentError(f"nothing could be enrolled {what}: " + "; ".join([*reasons[:10], *more]))


def _hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in ("thumbs.db", "desktop.ini")
