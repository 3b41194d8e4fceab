"""Enrolment: photos -> portraits -> templates -> the gallery, one transaction a person."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from lrface.decisions.calibration import Calibration
from lrface.embedding.embedders import Embedder
from lrface.embedding.templates import fuse
from lrface.enrolment.preparing import PreparedPhoto, Preparer, of_somebody_else
from lrface.enrolment.reports import ALREADY, ENROLLED, REFUSED, SKIPPED, EnrolmentReport, PhotoReport, nothing_enrolled
from lrface.enrolment.screening import EnrolmentGate
from lrface.errors import EnrolmentError, GalleryError, GalleryInUseError
from lrface.gallery import Gallery, PhotoTemplate, normalise_name
from lrface.gallery.refusals import Refusal
from lrface.inputs.folders import HIDDEN, SYSTEM, reason_to_leave_out
from lrface.inputs.images import Source
from lrface.types import FloatArray, ImageArray

if TYPE_CHECKING:
    from lrface.detection import FaceDetector

COPY = 0.95
"""A photo counts as a copy of another one of its person if the cosine is so high, as it is or mirrored. On validation
people all faces shrunk to half and 94 % of those saved again as JPEG of quality 40 reach it, and 9 of 10,483 pairs of
photos of one person."""

LATE = 200
"""After so many people the gate goes on with the gallery's index: what a photo costs does not grow with the folder."""
_COPY_REASON = "a copy of another photo: it counts once"


class Enroller:
    """Brings people into a gallery.

    Attributes:
        gallery: Where to.
        detector: Finds the faces.
        embedder: The network of enrolment, which embeds every photo.
        calibration: What similarities and qualities mean.
        force: Enrols also photos that `EnrolmentGate` rejects.
        told: Called for each photo, with its face if one was cut, once its person is stored; None for nothing.
        judge: Of what detector, networks and rules are: photos of a folder that the same judge refused at an earlier
            run are not looked at again. Empty to remember nothing.
    """

    def __init__(
        self,
        gallery: Gallery,
        detector: FaceDetector,
        embedder: Embedder,
        calibration: Calibration,
        force: bool = False,
        told: Callable[[PhotoReport, ImageArray | None], None] | None = None,
        judge: str = "",
    ) -> None:
        self.gallery, self.detector, self.embedder = gallery, detector, embedder
        self.calibration, self.force, self.told = calibration, force, told
        self._judge = "" if force else judge  # with force, whatever was refused may be taken
        self._refused: dict[str, Refusal] = {}

    def enroll(self, name: str, sources: Sequence[Source]) -> EnrolmentReport:
        """See `FaceMatcher.enroll`."""
        clean = normalise_name(name)
        preparer = Preparer(self.gallery, self.detector, self.embedder)
        with closing(preparer.prepare_all((clean, source) for source in sources)) as prepared:
            photos = self._person(clean, sources, prepared, self._gate())
        if not any(photo.status in (ENROLLED, ALREADY) for photo in photos):
            raise nothing_enrolled(photos, f"for {name}")
        return EnrolmentReport(tuple(photos))

    def enroll_folder(self, folder: str | PathLike[str], progress: bool) -> EnrolmentReport:
        """See `FaceMatcher.enroll_folder`."""
        folders, reports = people_folders(folder)
        names: list[str] = []
        listed: list[tuple[str, list[Path | PhotoReport]]] = []
        for path in folders:
            try:
                name = normalise_name(path.name)
            except EnrolmentError as error:
                reports.append(PhotoReport(ascii(str(path)), "", REFUSED, str(error)))
                continue
            names.append(name)
            listed.append((name, list(photos_in(path, name))))
        gate = self._gate()
        self._tell(reports)
        everything = ((name, photo) for name, photos in listed for photo in photos if isinstance(photo, Path))
        total = sum(len(photos) for _, photos in listed)
        preparer = Preparer(self.gallery, self.detector, self.embedder, self._judge)
        try:
            with _bar(total, progress) as bar, closing(preparer.prepare_all(everything)) as prepared:
                for name, photos in listed:
                    bar.set_postfix_str(name)
                    skipped = [photo for photo in photos if isinstance(photo, PhotoReport)]
                    self._tell(skipped)
                    bar.update(len(skipped))
                    sources = [photo for photo in photos if isinstance(photo, Path)]
                    reports += [*skipped, *self._person(name, sources, prepared, gate, bar)]
        finally:  # also after Ctrl-C
            self._remember()
        report = EnrolmentReport(tuple(reports), tuple(dict.fromkeys(names)))
        if not any(person.usable for person in report.people):
            raise nothing_enrolled(reports, f"in {folder}")
        return report

    def _gate(self) -> EnrolmentGate:
        return EnrolmentGate(self.gallery.search_index(), self.calibration)

    def _person(
        self,
        name: str,
        sources: Sequence[Source],
        prepared: Iterator[PreparedPhoto],
        gate: EnrolmentGate,
        bar: Any = None,
    ) -> list[PhotoReport]:
        """Stores all photos of a person, which come prepared, in one transaction."""
        reports: list[PhotoReport] = []
        ready: dict[int, PreparedPhoto] = {}
        copies: dict[int, str] = {}
        for number, source in enumerate(sources, 1):
            label = str(source) if isinstance(source, (str, PathLike)) else f"photo {number}"
            photo = next(prepared)
            reason = photo.reason
            if photo.remembered is not None:
                said = photo.remembered
                status = ALREADY if said.copy_of else REFUSED
                reports.append(PhotoReport(label, name, status, reason, said.native_px, said.quality))
                if bar is not None:
                    bar.update()
                continue
            if photo.by_itself:
                self._refused[photo.sha256] = Refusal(reason)
            if photo.portrait is not None and photo.sha256 in {known.sha256 for known in ready.values()}:
                copies[len(reports)] = photo.sha256
            elif photo.portrait is not None:
                owner = self.gallery.owner(photo.sha256)  # it may have been stored since it was prepared
                if owner is None:
                    ready[len(reports)] = photo
                elif owner != name:
                    reason = of_somebody_else(owner)
            reports.append(PhotoReport(label, name, REFUSED if reason else ALREADY, reason))
            if bar is not None:
                bar.update()
        taken: list[PhotoTemplate] = []
        keep = bool(ready) and self.gallery.settings.keep_crops
        known = self._vectors(name) if ready else []
        hashes = [sha256 for sha256, _ in known]
        vectors = [vector for _, vector in known]
        waiting, more = list(ready), True
        while waiting and more:  # a photo that looks like somebody else may look more like those that were taken
            again, more = [], False
            own = fuse(np.sum([photo.embedding for photo in taken], axis=0)[None])[0] if taken else None
            for row in waiting:
                photo = ready[row]
                if photo.portrait is None or photo.vector is None or photo.mirrored is None:
                    continue
                both = np.stack([photo.vector, photo.mirrored])
                likeness = (np.stack(vectors) @ both.T).max(axis=1) if vectors else []
                if len(likeness) and float(np.max(likeness)) >= COPY:
                    reports[row] = PhotoReport(reports[row].photo, name, ALREADY, _COPY_REASON)
                    self._refused[photo.sha256] = Refusal(_COPY_REASON, copy_of=hashes[int(np.argmax(likeness))])
                    continue
                px, vector, quality = photo.portrait.native_px, photo.vector, photo.quality
                refused = None if self.force else gate.rejection_reason(name, px, vector, quality, own)
                seen = PhotoReport(reports[row].photo, name, ENROLLED, "", px, quality)
                if refused is not None:
                    reports[row] = replace(seen, status=REFUSED, reason=refused)
                    if refused == gate.too_poor(px, quality):
                        self._refused[photo.sha256] = Refusal(refused, px, quality)
                    else:
                        again.append(row)
                    continue
                reports[row], more = seen, True
                crop = photo.portrait.png() if keep else b""
                taken.append(PhotoTemplate(photo.sha256, px, vector, quality, crop=crop))
                hashes.append(self.gallery.stored_hash(photo.sha256))
                vectors.append(vector)
            waiting = again
        stored = {photo.sha256 for photo in taken}
        for row, sha256 in copies.items():  # a copy shares the fate of the photo that it is a copy of
            if sha256 not in stored:
                original = next(reports[i] for i, photo in ready.items() if photo.sha256 == sha256)
                reports[row] = replace(original, photo=reports[row].photo)
        if taken:
            self.gallery.add(name, taken)
            gate.add(name, [photo.embedding for photo in taken])
            if gate.late >= LATE:
                gate.renew(self.gallery.search_index())
        self._tell(reports, {row: photo.portrait.crop for row, photo in ready.items() if photo.portrait is not None})
        return reports

    def _remember(self) -> None:
        """Keeps which photos were refused, so that the next run need not look at them."""
        if self._judge and self._refused:
            with contextlib.suppress(GalleryError):  # without it the next run takes longer, and that is all
                self.gallery.remember_refusals(self._judge, self._refused)
            self._refused = {}

    def _vectors(self, name: str) -> list[tuple[str, FloatArray]]:
        """Stored hash and embedding of the photos that a person has already."""
        try:
            return [(photo.sha256, photo.embedding) for photo in self.gallery.photos(name)]
        except GalleryInUseError:
            raise
        except GalleryError:  # nobody of this name; who is damaged is an error as soon as something is added
            return []

    def _tell(self, reports: Sequence[PhotoReport], crops: Mapping[int, ImageArray] = MappingProxyType({})) -> None:
        if self.told is not None:
            for row, report in enumerate(reports):
                self.told(report, crops.get(row))


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
