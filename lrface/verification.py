"""Two pictures of one face each: do they show the same person?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lrface.alignment import Alignment
from lrface.decisions.calibration import Calibration, Population
from lrface.embedding.embedders import Embedder, Networks, embed_faces
from lrface.enrolment.portraits import MIN_ENROL_PX, choose_face, suppress_duplicates
from lrface.errors import ArgumentError, ImageError
from lrface.inputs.images import Source, read_image
from lrface.types import Detections, FloatArray, ImageArray, Verification

if TYPE_CHECKING:
    from lrface.detection import FaceDetector

_ONE_PERSON = Population(1)


def verify_pictures(
    a: Source, b: Source, detector: FaceDetector, networks: Networks, calibration: Calibration, max_rate: float
) -> Verification:
    """See `FaceMatcher.verify`.

    The wider face takes the part of an enrolled photo, and is embedded by the network of enrolment; the other one that
    of a face in a picture. The curves of `calibration.json` were measured so.
    """
    if not 0.0 < max_rate < 1.0:
        raise ArgumentError(f"max_false_match_rate is {max_rate}: give a share above 0 and below 1, like 0.001")
    pictures = [_one_face(source, which, detector) for source, which in ((a, "first"), (b, "second"))]
    faces = [embed_faces(image, found, networks, calibration.alignment_penalty)[0] for image, found in pictures]
    for face, which in zip(faces, ("first", "second"), strict=True):
        if not len(face.embedding):
            what = f"is only {face.native_px:.0f} px wide" if face.native_px else "has landmarks that form no face"
            raise ImageError(f"the face of the {which} picture {what}: use a closer photo")
    wider, narrower = (0, 1) if faces[0].native_px >= faces[1].native_px else (1, 0)
    probe = faces[narrower]
    if faces[wider].native_px < MIN_ENROL_PX:
        raise ImageError(
            f"both faces are narrower than {MIN_ENROL_PX:.0f} px, for which no false-match rate was measured: use a "
            "closer photo for one of them"
        )
    similarity = float(probe.embedding @ _embedded(*pictures[wider], networks.enrolment))
    how = probe.network, probe.native_px, 1, _ONE_PERSON
    threshold = calibration.threshold(*how, max_rate)
    return Verification(
        similarity >= threshold,
        similarity,
        threshold,
        calibration.false_match_rate(similarity, *how),
        (faces[0], faces[1]),
        max_rate,
    )


def _one_face(source: Source, which: str, detector: FaceDetector) -> tuple[ImageArray, Detections]:
    """A picture, and the detection of its one face (or of one twice as wide as any other)."""
    picture = read_image(source)
    found = suppress_duplicates(detector.detect(picture))
    row = choose_face(found)
    if isinstance(row, str):
        raise ImageError(f"the {which} picture: {row}")
    return picture, found[[row]]


def _embedded(image: ImageArray, detections: Detections, network: Embedder) -> FloatArray:
    crop = Alignment.of(detections.landmarks[0]).crop(image)
    vector: FloatArray = network.embed(crop[np.newaxis])[0]
    return vector
