"""The public face of lrface: enrol people, identify them in pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike, fspath
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from lrface.decisions.calibration import Calibration, Population
from lrface.decisions.rates import DEFAULT_FPIR, check_fpir
from lrface.embedding.embedders import Embedder, embed_faces, open_embedders
from lrface.embedding.levels import MIN_NATIVE_PX
from lrface.enrolment.enroller import Enroller
from lrface.enrolment.reports import EnrolmentReport
from lrface.gallery import Contract, Gallery, Match, Person
from lrface.inputs.images import Source, read_image
from lrface.inputs.sources import is_picture
from lrface.models.manifest import Manifest
from lrface.types import Candidate, Detections, Face, Identification, ImageArray

if TYPE_CHECKING:
    from lrface.detection import FaceDetector

CANDIDATES = 5


class FaceMatcher:
    """Enrols people and identifies them. Safe to use from several threads.

    Attributes:
        gallery: Who is enrolled.
        detector: Finds the faces.
        embedders: By level.
        calibration: The thresholds of these embedders.
        fpir: Share of strangers that may be named.
    """

    def __init__(
        self,
        gallery: Gallery,
        detector: FaceDetector,
        embedders: Mapping[int, Embedder],
        calibration: Calibration,
        fpir: float = DEFAULT_FPIR,
    ) -> None:
        check_fpir(fpir)
        self.gallery, self.detector, self.embedders = gallery, detector, embedders
        self.calibration, self.fpir = calibration, fpir

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
    ) -> FaceMatcher:
        """Opens a gallery with its models.

        Args:
            gallery: The file; created where there is none. ":memory:" for one that is not kept.
            models: A folder with manifest.json, models and calibration.json; None for the bundled one.
            detector: An object with `detect`, what `open_detector` takes, or None for the bundled one.
            device: "cpu", "cuda", "cuda:<n>", "coreml"; never a silent fall-back.
            threads: Of the CPU, for one network.
            fpir: False-positive identification rate: the share of strangers that may be given a name, 0..1. None for
                the one chosen for this gallery (`lrface thresholds`), else 0.01.
            min_face: Height in pixels of the smallest face to be found, see `open_detector`; without effect on an
                object.

        Raises:
            ModelError: A model is missing, altered or unfit.
            CalibrationError: The thresholds are missing or belong to other models, or fpir is out of range.
            ProviderError: The device's provider is not in use.
            ContractError: The gallery was made with other models.
            GalleryError: The gallery cannot be opened.
        """
        if fpir is not None:
            check_fpir(fpir)
        manifest = Manifest.load(None if models is None else fspath(models))
        contract, calibration = Contract.of(manifest), Calibration.of(manifest)
        embedders = open_embedders(manifest, device, threads)
        if detector is None or isinstance(detector, (str, PathLike)):
            from lrface.detection import open_detector

            detector = open_detector(
                None if detector is None else fspath(detector),
                device=device,
                threads=threads,
                manifest=manifest,
                min_face=min_face,
            )
        opened = Gallery.open(gallery, contract)
        rate = fpir if fpir is not None else opened.fpir
        return cls(opened, detector, embedders, calibration, DEFAULT_FPIR if rate is None else rate)

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
        return sorted(found, key=lambda face: face.box[0] + face.box[2])

    def identify_faces(self, image: ImageArray, detections: Detections) -> list[Identification]:
        """Says who the faces are that a detector found.

        Args:
            image: uint8 [h, w, 3], BGR.
            detections: Of this picture.

        Returns:
            In the order of the detections.
        """
        faces = embed_faces(image, detections, self.embedders)
        matches: list[list[Match]] = [[] for _ in faces]
        for level in self.embedders:
            rows = [i for i, face in enumerate(faces) if face.level == level and len(face.embedding)]
            if rows:
                probes = np.stack([faces[i].embedding for i in rows])
                found = self.gallery.search(probes, self.calibration.compare_at(level), CANDIDATES)
                for i, matched in zip(rows, found, strict=True):
                    matches[i] = matched
        population = self.gallery.projection().population if faces else Population(0, {}, {})
        return [self.decide(face, found, population) for face, found in zip(faces, matches, strict=True)]

    def decide(self, face: Face, matches: Sequence[Match], population: Population) -> Identification:
        """Says who a face is. Templates of more photos draw strangers closer too, so people are ranked by false match.

        Args:
            face: Embedded at its level.
            matches: The people closest to it (`Gallery.search`).
            population: The enrolled people (`Gallery.projection().population`).
        """
        name = similarity = threshold = None
        candidates: list[Candidate] = []
        basis = ""
        if len(face.embedding) == 0:
            reason = "too small" if 0 < face.native_px < MIN_NATIVE_PX else "landmarks form no face"
        elif not matches:
            reason = "gallery is empty"
        else:
            ranked = sorted(
                (
                    (self.calibration.false_match(m.similarity, face.level, m.gallery_level, m.photos, population), m)
                    for m in matches
                ),
                key=lambda pair: (pair[0], -pair[1].similarity),
            )
            candidates = [Candidate(match.name, match.similarity, share) for share, match in ranked]
            best = ranked[0][1]
            how = face.level, best.gallery_level, best.photos, population, self.fpir
            similarity, threshold = best.similarity, self.calibration.threshold(*how)
            basis = self.calibration.basis(*how)
            # Quality explains an unknown and never overrules a match: thresholds hold for poor faces too, and a gate
            # in front of them lost matches without naming fewer strangers (benchmarks/open_set.py).
            if similarity >= threshold:
                name, reason = best.name, "match"
            elif face.quality is not None and face.quality < self.calibration.min_quality.get(face.level, 0.0):
                reason = "too poor"
            else:
                reason = "below threshold"
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
            quality=face.quality,
        )

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
        self, folder: str | PathLike[str], progress: bool = False, *, force: bool = False
    ) -> EnrolmentReport:
        """Enrols people/<name>/*.jpg, one transaction a person; a second run adds only what is new.

        A photo that cannot be used is reported with the reason and stops nothing. Ctrl-C leaves every finished person
        enrolled.

        Args:
            folder: Holds one folder a person.
            progress: Whether to show a bar on stderr.
            force: As for `enroll`.

        Raises:
            EnrolmentError: No folder, no person in it, or not one usable photo.
            GalleryError: The gallery cannot be written (a full disk); finished people stay enrolled.
        """
        return self._enroller(force).enroll_folder(folder, progress)

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

    def _enroller(self, force: bool) -> Enroller:
        return Enroller(self.gallery, self.detector, self.embedders, self.calibration, force)
