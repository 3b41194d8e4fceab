"""The public face of lrface: enrol people, identify them in pictures."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from lrface import __version__
from lrface.decisions.calibration import Calibration, Population
from lrface.decisions.rates import DEFAULT_FPIR, check_fpir
from lrface.embedding.embedders import Networks, embed_faces, open_networks
from lrface.enrolment.enroller import Enroller
from lrface.enrolment.reports import EnrolmentReport, PhotoReport
from lrface.errors import GalleryError
from lrface.gallery import Contract, Gallery, Match, Person
from lrface.gallery.protocol import SearchedPeople
from lrface.inputs.images import Source, read_image
from lrface.inputs.sources import is_picture
from lrface.models.manifest import Manifest
from lrface.models.serving import NetworkSet
from lrface.types import Candidate, Detections, Face, Identification, ImageArray, Reason, ThresholdBasis, Verification
from lrface.verification import verify_pictures

if TYPE_CHECKING:
    from lrface.detection import FaceDetector

CANDIDATES = 5
DEFAULT_FMR = 0.001


class FaceMatcher:
    """Enrols people and identifies them. Safe to use from several threads.

    Attributes:
        gallery: Who is enrolled.
        detector: Finds the faces.
        networks: Which embed the faces, and the one of enrolment.
        calibration: The thresholds of these embedders.
    """

    def __init__(
        self,
        gallery: Gallery,
        detector: FaceDetector,
        networks: Networks,
        calibration: Calibration,
        fpir: float | None = None,
        judge: str = "",
    ) -> None:
        if fpir is not None:
            check_fpir(fpir)
        self._judge = judge
        self.gallery, self.detector, self.networks = gallery, detector, networks
        self.calibration, self._fpir = calibration, fpir

    @classmethod
    def open(
        cls,
        gallery: str | PathLike[str],
        *,
        models: str | PathLike[str] | None = None,
        detector: FaceDetector | str | PathLike[str] | None = None,
        device: str = "cpu",
        threads: int = 1,
        fpir: float | None = None,
        min_face: float | None = None,
        networks: NetworkSet | str = NetworkSet.ACCURATE,
        create: bool = True,
    ) -> FaceMatcher:
        """Opens a gallery with its models.

        Args:
            gallery: The file, or the URL of a collection in Milvus, `milvus://host:19530/staff`. ":memory:" for one
                that is not kept.
            models: A folder with manifest.json, models and calibration.json; None for the bundled one.
            detector: An object with `detect`, what `open_detector` takes, or None for the bundled one.
            device: "cpu", "cuda", "cuda:<n>", "coreml", "openvino", "openvino:gpu", "openvino:npu"; never a silent
                fall-back. "auto" measures which of them runs each network fastest here; see `devices`.
            threads: Of the CPU, for one network.
            fpir: False-positive identification rate: the share of strangers that may be given a name, 0..1. None to
                follow the one chosen for this gallery (`lrface thresholds`), else 0.01.
            min_face: Height in pixels of the smallest face to be found, see `open_detector`; without effect on an
                object.
            networks: "accurate" or "fast" (for many faces a frame): which networks embed the faces of pictures. Photos
                of enrolment are always embedded by the same network, so a gallery serves both.
            create: Whether to make the gallery where there is none. With False, a mistyped name is an error.

        Raises:
            ArgumentError: fpir, min_face, networks or device is out of range or unknown.
            ModelError: A model is missing, altered or unfit.
            CalibrationError: The thresholds are missing or belong to other models.
            ProviderError: The device's provider is not in use.
            ContractError: The gallery was made with other models.
            GalleryError: The gallery cannot be opened, or there is none and `create` is False.
        """
        if fpir is not None:
            check_fpir(fpir)
        manifest = Manifest.load(None if models is None else fspath(models))
        contract, calibration = Contract.of(manifest), Calibration.of(manifest)
        opened_networks = open_networks(manifest, networks, device, threads)
        judge = _judge_of(manifest, detector, min_face)
        if detector is None or isinstance(detector, (str, PathLike)):
            from lrface.detection import open_detector

            detector = open_detector(
                None if detector is None else fspath(detector),
                device=device,
                threads=threads,
                manifest=manifest,
                min_face=min_face,
            )
        opened = Gallery.open(gallery, contract, create=create)
        matcher = cls(opened, detector, opened_networks, calibration, fpir, judge)
        try:
            _ = matcher.fpir  # a damaged one is an error now, not with the first picture
        except GalleryError:
            opened.close()
            raise
        return matcher

    @property
    def fpir(self) -> float:
        """Share of strangers that may be named: as given, else as chosen for the gallery by now, else 0.01.

        Raises:
            GalleryError: The gallery cannot be read, or holds something else.
        """
        return self._fpir if self._fpir is not None else self._rate(self.gallery.search_index())

    @property
    def devices(self) -> dict[str, str]:
        """What runs each network: its device and precision, as "openvino in bfloat16".

        A detector that is an object of your own is left out.
        """
        refiner = getattr(self.detector, "refiner", None)
        parts = {"detector": self.detector, "landmarks": refiner}
        parts |= {each.entry.name: each for _, each in sorted(self.networks.embedders.items())}
        found = {name: getattr(part, "runs_on", None) for name, part in parts.items()}
        return {name: each for name, each in found.items() if each is not None}

    def analyze(self, image: Source) -> list[Face]:
        """Finds and embeds every face of a picture; nobody needs to be enrolled.

        Args:
            image: As for `identify`.

        Returns:
            The faces from left to right.

        Raises:
            ImageError: The picture cannot be used.
        """
        picture = read_image(image)
        faces = self._embed(picture, self.detector.detect(picture))
        return sorted(faces, key=_centre)

    def verify(self, a: Source, b: Source, *, max_false_match_rate: float = DEFAULT_FMR) -> Verification:
        """Compares the faces of two pictures; nobody needs to be enrolled.

        Args:
            a: A picture of one upright face (or of one twice as wide as any other), as for `identify`.
            b: Another one.
            max_false_match_rate: Share of pairs of two different people that may be called the same person, above 0
                and below 1.

        Raises:
            ArgumentError: The rate is out of range.
            ImageError: A picture cannot be used, shows no face or several; or a face is too small.
        """
        return verify_pictures(a, b, self.detector, self.networks, self.calibration, max_false_match_rate)

    def identify(self, image: Source) -> list[Identification]:
        """Finds every face of a picture and says who it is, or that it is a stranger.

        Args:
            image: A path, the bytes of a picture file, a file object opened in binary mode, a PIL image, or a uint8
                BGR array as OpenCV reads it. A file of more than 40 megapixels is shrunk (see `read_image`).

        Returns:
            The faces from left to right.

        Raises:
            ImageError: The picture cannot be used.
            GalleryError: The gallery cannot be read.
        """
        picture = read_image(image)
        found = self.identify_faces(picture, self.detector.detect(picture))
        return sorted(found, key=_centre)

    def identify_faces(self, image: ImageArray, detections: Detections) -> list[Identification]:
        """Says who the faces are that a detector found.

        Args:
            image: uint8 [h, w, 3], BGR.
            detections: Of this picture.

        Returns:
            In the order of the detections.
        """
        faces = self._embed(image, detections)
        if not faces:
            return []
        index = self.gallery.search_index()
        rows = [i for i, face in enumerate(faces) if len(face.embedding)]
        matches: list[list[Match]] = [[] for _ in faces]
        if rows:
            found = index.candidates(np.stack([faces[i].embedding for i in rows]), CANDIDATES)
            for i, matched in zip(rows, found, strict=True):
                matches[i] = matched
        population, rate = index.population, self._rate(index)
        return [self.decide(face, found, population, rate) for face, found in zip(faces, matches, strict=True)]

    def decide(
        self, face: Face, matches: Sequence[Match], population: Population, fpir: float | None = None
    ) -> Identification:
        """Says who a face is. Templates of more photos are closer to strangers too: people rank by false-match rate.

        Args:
            face: Embedded by one of the networks.
            matches: The people closest to it, of each number of photos (`SearchedPeople.candidates`).
            population: The enrolled people (`SearchedPeople.population`).
            fpir: Share of strangers that may be named; None for the matcher's.
        """
        name = similarity = threshold = None
        basis: ThresholdBasis | str = ""
        candidates: list[Candidate] = []
        if len(face.embedding) == 0:
            reason = Reason.TOO_SMALL if face.native_px > 0 else Reason.NO_FACE
        elif not matches:
            reason = Reason.EMPTY_GALLERY
        else:
            ranked = self._ranked(face, matches, population)[:CANDIDATES]
            candidates = [Candidate(m.name, m.similarity, 10.0**log_rate, m.person_id) for log_rate, m in ranked]
            best = ranked[0][1]
            rate, among = best.rate(self.fpir if fpir is None else fpir, population.size)
            how = face.network, face.native_px, best.photos, population, rate, among
            similarity, threshold = best.similarity, self.calibration.threshold(*how)
            basis = self.calibration.basis(*how)
            # Quality explains an unknown and never overrules a match: thresholds hold for poor faces too, and a gate
            # in front of them lost matches without naming fewer strangers (benchmarks/open_set.py).
            least = self.calibration.band(face.network, face.native_px).min_quality
            if similarity >= threshold:
                name, reason = best.name, Reason.MATCH
            elif face.quality is not None and face.quality < least:
                reason = Reason.TOO_POOR
            else:
                reason = Reason.BELOW_THRESHOLD
        return Identification(
            face.box,
            face.score,
            face.landmarks,
            face.native_px,
            face.level,
            face.embedding,
            name=name,
            similarity=similarity,
            threshold=threshold,
            reason=reason,
            candidates=tuple(candidates),
            basis=basis,
            gallery_size=population.size,
            person=None if name is None else best.person_id,
            quality=face.quality,
            network=face.network,
        )

    def _ranked(self, face: Face, matches: Sequence[Match], population: Population) -> list[tuple[float, Match]]:
        """The matches by log10 of their false-match rate, the likeliest person first; equal ones by similarity."""
        band, shift = self.calibration.band(face.network, face.native_px), self.calibration.shift(population)
        ranked = [(band.curve(match.photos).log_fmr_at(match.similarity - shift), match) for match in matches]
        return sorted(ranked, key=lambda pair: (pair[0], -pair[1].similarity))

    def enroll(self, name: str, images: Source | Iterable[Source], *, force: bool = False) -> EnrolmentReport:
        """Enrols photos of one person, each with that one face (or one twice as wide as any other).

        Args:
            name: Of the person; a name already enrolled gets more photos.
            images: One photo or many: paths, bytes of picture files, file objects, PIL images, or uint8 BGR arrays.
            force: Enrols also a face too poor to be recognised by, or one that looks like somebody else or like many.

        Returns:
            What became of each photo. What it calls enrolled is on the disk.

        Raises:
            EnrolmentError: No photo was usable (nothing is stored), or the name is not.
            GalleryError: The gallery cannot be written; nothing of this call is stored.
        """
        many = not is_picture(images) and isinstance(images, Iterable)
        sources: Sequence[Source] = list(images) if many else [images]  # type: ignore[list-item,arg-type]
        return self._enroller(force).enroll(name, sources)

    def enroll_folder(
        self,
        folder: str | PathLike[str],
        progress: bool = False,
        *,
        force: bool = False,
        on_photo: Callable[[PhotoReport, ImageArray | None], None] | None = None,
    ) -> EnrolmentReport:
        """Enrols people/<name>/*.jpg, one transaction a person; a second run adds only what is new.

        Several photos are read, searched for a face and embedded simultaneously, on as many processors as there are;
        of photos that are enrolled already, or that the same models have refused for what they show, only the bytes are
        read. A photo that cannot be used is reported with the reason and stops nothing. Ctrl-C leaves every finished
        person enrolled.

        Args:
            folder: Holds one folder a person.
            progress: Whether to show a bar on stderr.
            force: As for `enroll`.
            on_photo: Called for each photo once its person is stored, with the aligned face, uint8 [112, 112, 3] BGR,
                or None where none was cut (`EnrolmentFiles.write` makes a table and contact sheets of them).

        Raises:
            EnrolmentError: No folder, no person in it, or not one usable photo.
            GalleryError: The gallery cannot be written (a full disk); finished people stay enrolled.
        """
        return self._enroller(force, on_photo).enroll_folder(folder, progress)

    def people(self) -> list[Person]:
        """Everybody enrolled, by name."""
        return self.gallery.people()

    def remove(self, name: str) -> int:
        """Deletes a person with every template; returns how many photos were enrolled.

        Raises:
            GalleryError: There is no such person, or the file cannot be written.
        """
        return self.gallery.remove(name)

    def close(self) -> None:
        """Closes the gallery."""
        self.gallery.close()

    def __enter__(self) -> FaceMatcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _embed(self, image: ImageArray, detections: Detections) -> list[Face]:
        return embed_faces(image, detections, self.networks, self.calibration.alignment_penalty)

    def _rate(self, index: SearchedPeople) -> float:
        """The share of strangers that may be named among these people."""
        if self._fpir is not None:
            return self._fpir
        return DEFAULT_FPIR if index.fpir is None else index.fpir

    def _enroller(self, force: bool, told: Callable[[PhotoReport, ImageArray | None], None] | None = None) -> Enroller:
        return Enroller(
            self.gallery, self.detector, self.networks.enrolment, self.calibration, force, told, self._judge
        )


def analyze(image: Source) -> list[Face]:
    """`FaceMatcher.analyze` with the bundled models, which stay in memory after the first call."""
    return _bundled().analyze(image)


def verify(a: Source, b: Source, *, max_false_match_rate: float = DEFAULT_FMR) -> Verification:
    """`FaceMatcher.verify` with the bundled models, which stay in memory after the first call."""
    return _bundled().verify(a, b, max_false_match_rate=max_false_match_rate)


@cache
def _bundled() -> FaceMatcher:
    return FaceMatcher.open(":memory:")


def _judge_of(manifest: Manifest, detector: FaceDetector | str | PathLike[str] | None, min_face: float | None) -> str:
    """Names all by which a photo is refused; empty where that cannot be told."""
    if detector is None and manifest.detectors:
        finder = "of the manifest"
    elif isinstance(detector, (str, PathLike)) and os.path.isfile(detector):
        finder = hashlib.sha256(Path(detector).read_bytes()).hexdigest()
    else:  # an object of the user's own, or another package's networks
        return ""
    parts = __version__, replace(manifest, folder=Path()), finder, min_face
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _centre(face: Face) -> float:
    """Twice the x of the middle of its box, to sort faces from left to right."""
    return face.box[0] + face.box[2]
