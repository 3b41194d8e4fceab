"""Enrolment: photos -> portraits -> templates -> the gallery, one transaction a person."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lrface.decisions.calibration import Calibration
from lrface.embedding.embedders import Embedder
from lrface.enrolment.portraits import Portrait, cut_portrait, fingerprint
from lrface.enrolment.reports import ALREADY, ENROLLED, REFUSED, SKIPPED, EnrolmentReport, PhotoReport, nothing_enrolled
from lrface.enrolment.screening import EnrolmentGate
from lrface.errors import EnrolmentError, ImageError
from lrface.gallery import Gallery, PhotoTemplate, normalise_name
from lrface.inputs.folders import HIDDEN, SYSTEM, reason_to_leave_out
from lrface.inputs.images import Source
from lrface.types import FloatArray

if TYPE_CHECKING:
    from lrface.detection import FaceDetector


class Enroller:
    """Brings people into a gallery.

    Attributes:
        gallery: Where to.
        detector: Finds the faces.
        embedder: The network of enrolment, which embeds every photo.
        calibration: What similarities and qualities mean.
        force: Enrols also photos that `EnrolmentGate` rejects.
    """

    def __init__(
        self,
        gallery: Gallery,
        detector: FaceDetector,
        embedder: Embedder,
        calibration: Calibration,
        force: bool = False,
    ) -> None:
        self.gallery, self.detector, self.embedder = gallery, detector, embedder
        self.calibration, self.force = calibration, force

    def enroll(self, name: str, sources: Sequence[Source]) -> EnrolmentReport:
        """See `FaceMatcher.enroll`."""
        photos = self._person(normalise_name(name), sources, self._gate())
        if not any(photo.status in (ENROLLED, ALREADY) for photo in photos):
            raise nothing_enrolled(photos, f"for {name}")
        return EnrolmentReport(tuple(photos))

    def enroll_folder(self, folder: str | PathLike[str], progress: bool) -> EnrolmentReport:
        """See `FaceMatcher.enroll_folder`."""
        folders, reports = people_folders(folder)
        names: list[str] = []
        listed: list[tuple[Path, str, list[Path | PhotoReport]]] = []
        for path in folders:
            try:
                name = normalise_name(path.name)
            except EnrolmentError as error:
                reports.append(PhotoReport(ascii(str(path)), "", REFUSED, str(error)))
                continue
            names.append(name)
            listed.append((path, name, list(photos_in(path, name))))
        gate = self._gate()
        with _bar(sum(len(photos) for _, _, photos in listed), progress) as bar:
            for _, name, photos in listed:
                bar.set_postfix_str(name)
                reports += [photo for photo in photos if isinstance(photo, PhotoReport)]
                bar.update(sum(isinstance(photo, PhotoReport) for photo in photos))
                sources = [photo for photo in photos if isinstance(photo, Path)]
                reports += self._person(name, sources, gate, bar)
        report = EnrolmentReport(tuple(reports), tuple(dict.fromkeys(names)))
        if not any(person.usable for person in report.people):
            raise nothing_enrolled(reports, f"in {folder}")
        return report

    def _gate(self) -> EnrolmentGate:
        return EnrolmentGate(self.gallery.search_index(), self.calibration)

    def _person(self, name: str, sources: Sequence[Source], gate: EnrolmentGate, bar: Any = None) -> list[PhotoReport]:
        """Embeds all photos of a person in one batch and stores them in one transaction."""
        reports: list[PhotoReport] = []
        ready: dict[int, Portrait] = {}
        copies: dict[int, str] = {}
        for number, source in enumerate(sources, 1):
            label = str(source) if isinstance(source, (str, PathLike)) else f"photo {number}"
            try:
                portrait = self._portrait(name, source, {photo.sha256 for photo in ready.values()})
            except (ImageError, EnrolmentError) as error:
                reports.append(PhotoReport(label, name, REFUSED, str(error)))
            else:
                if isinstance(portrait, Portrait):
                    ready[len(reports)] = portrait
                elif portrait is not None:
                    copies[len(reports)] = portrait
                reports.append(PhotoReport(label, name, ALREADY))
            if bar is not None:
                bar.update()
        taken: list[PhotoTemplate] = []
        keep = bool(ready) and self.gallery.settings.keep_crops
        for (row, portrait), (vector, quality) in zip(ready.items(), self._embed(list(ready.values())), strict=True):
            px = portrait.native_px
            reason = None if self.force else gate.rejection_reason(name, px, vector, quality)
            seen = replace(reports[row], native_px=px, quality=quality)
            if reason is not None:
                reports[row] = replace(seen, status=REFUSED, reason=reason)
                continue
            reports[row] = replace(seen, status=ENROLLED)
            taken.append(PhotoTemplate(portrait.sha256, px, vector, quality, crop=portrait.png() if keep else b""))
        stored = {photo.sha256 for photo in taken}
        for row, sha256 in copies.items():  # a copy shares the fate of the photo that it is a copy of
            if sha256 not in stored:
                refused = next(reports[i] for i, photo in ready.items() if photo.sha256 == sha256)
                reports[row] = replace(refused, photo=reports[row].photo)
        if taken:
            self.gallery.add(name, taken)
            gate.add(name, [photo.embedding for photo in taken])
        return reports

    def _portrait(self, name: str, source: Source, ready: Collection[str]) -> Portrait | str | None:
        """Reads a photo and cuts its face; None if the photo is enrolled already, its hash if it was read just now."""
        photo, sha256 = fingerprint(source)
        if sha256 in ready:
            return sha256
        owner = self.gallery.owner(sha256)
        if owner == name:
            return None
        if owner is not None:
            raise EnrolmentError(f"this photo is enrolled as {owner!r}: keep it in one person's folder")
        return cut_portrait(photo, sha256, self.detector)

    def _embed(self, ready: Sequence[Portrait]) -> list[tuple[FloatArray, float | None]]:
        """For each portrait its vector and quality."""
        if not ready:
            return []
        vectors, qualities = self.embedder.embed_with_quality(np.stack([portrait.crop for portrait in ready]))
        return list(zip(vectors, qualities, strict=True))


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
    people = [entry for entry in entries if entry.is_dir() and reason_to_leave_out(entry) is None]
    if not people:
        found = f"{len(entries)} files but no folder" if entries else "nothing"
        raise EnrolmentError(f"{root} holds {found}: make one folder a person in it, people/<name>/*.jpg")
    loose = [
        PhotoReport(str(entry), "", SKIPPED, "not in a person's folder: move it to people/<name>/")
        for entry in entries
        if not entry.is_dir() and reason_to_leave_out(entry) not in (HIDDEN, SYSTEM)
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
        reason = reason_to_leave_out(entry)
        if reason is not None:
            yield PhotoReport(str(entry), name, SKIPPED, reason)
        elif entry.is_dir():
            yield PhotoReport(str(entry), name, SKIPPED, "a folder inside a person's folder: move its pictures up")
        else:
            yield entry


def _bar(total: int, progress: bool) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, unit="photo", disable=not progress)
