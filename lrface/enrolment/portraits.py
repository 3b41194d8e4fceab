"""Photos for enrolment: one person's face in each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from lrface.alignment import Alignment
from lrface.errors import EnrolmentError
from lrface.inputs.images import Source, read_image
from lrface.inputs.sources import read_source
from lrface.types import Array, Detections, FloatArray, ImageArray

if TYPE_CHECKING:
    from lrface.detection import FaceDetector

DOMINANT = 2.0
"""A photo with several faces is taken if the widest is at least so many times as wide as the next."""

CLEAR = 0.7
"""Of several detections one counts only if its score is at least this share of the best one's."""

MIN_ENROL_PX = 16.0
"""A face to enrol must be at least so wide (source pixels of the canonical crop): the smallest network's input."""

MIN_ENROL_SCORE = 0.65
"""A face to enrol needs this detection score: search may use a doubtful detection, but an enrolled one would stay. Of
validation faces of 24 px and more 1 % score less; what the detector finds in galaxies and textures mostly does."""

UPRIGHT_SCORE, TURNED_SCORE, TURNED_MARGIN = 0.88, 0.8, 0.05
"""A detection that scores less than the first may lie on its side or upside down: the photo is searched turned, and a
turned one is taken if it scores the second, and the third more than the photo as it is. Upright portraits score .88 and
more, the same upside down .87 and less."""


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """A face to enrol.

    Attributes:
        sha256: Of the photo's bytes (of an array: of its shape and pixels).
        crop: uint8 [112, 112, 3], BGR, aligned.
        native_px: How large the face was.
    """

    sha256: str
    crop: ImageArray
    native_px: float

    def png(self) -> bytes:
        """The crop as a file, without loss."""
        return cv2.imencode(".png", self.crop)[1].tobytes()


def fingerprint(source: Source) -> tuple[bytes | Array, str]:
    """Reads a photo's bytes, once, and hashes them; nothing is decoded yet.

    Returns:
        What `read_image` takes, and the SHA-256.

    Raises:
        ImageError: The file cannot be read, or the array is no picture.
    """
    content = read_source(source)
    if isinstance(content, bytes):
        return content, hashlib.sha256(content).hexdigest()
    picture = read_image(content)
    return picture, hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).hexdigest()


def cut_portrait(photo: bytes | Array, sha256: str, detector: FaceDetector) -> Portrait:
    """Finds the one face of a photo; one that lies on its side or upside down is turned.

    Raises:
        ImageError: The picture cannot be used.
        EnrolmentError: It shows no face, several, an uncertain one, or one that is too small.
    """
    picture = read_image(photo)
    picture, detections = _turned_upright(picture, detector)
    row = choose_face(detections)
    if isinstance(row, str):
        raise EnrolmentError(row)
    if detections.scores[row] < MIN_ENROL_SCORE:
        raise EnrolmentError(
            f"it is not certain that this is a face (score {detections.scores[row]:.2f}, at least {MIN_ENROL_SCORE} is "
            "needed): use a photo in which the face is upright, sharp and not cut off"
        )
    alignment = Alignment.of(detections.landmarks[row])
    if alignment.native_px < MIN_ENROL_PX:
        raise EnrolmentError(
            f"the face is {alignment.native_px:.0f} px wide, below {MIN_ENROL_PX:.0f}: use a closer photo"
        )
    return Portrait(sha256, alignment.crop(picture), alignment.native_px)


def _turned_upright(picture: ImageArray, detector: FaceDetector) -> tuple[ImageArray, Detections]:
    """A photo, turned so that its face is upright, and what was detected in it."""
    found = suppress_duplicates(detector.detect(picture))
    best = float(found.scores.max()) if len(found) else 0.0
    if best >= UPRIGHT_SCORE:
        return picture, found
    taken, needed = (picture, found), max(TURNED_SCORE, best + TURNED_MARGIN)
    for quarters in (1, 2, 3):
        turned = np.ascontiguousarray(np.rot90(picture, quarters))
        detections = suppress_duplicates(detector.detect(turned))
        if len(detections) and detections.scores.max() >= needed:
            taken, needed = (turned, detections), float(detections.scores.max())
    return taken


def suppress_duplicates(detections: Detections) -> Detections:
    """Of several boxes on one face the surest: seen too large, half a face looks like a whole one."""
    kept: list[int] = []
    for i in range(len(detections)):
        if not any(_same_face(detections.boxes[i], detections.boxes[j]) for j in kept):
            kept.append(i)
    return detections[kept]


def _same_face(a: FloatArray, b: FloatArray) -> bool:
    """Whether the centre of either box lies in the other."""
    for inner, outer in ((a, b), (b, a)):
        x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
        if outer[0] <= x <= outer[2] and outer[1] <= y <= outer[3]:
            return True
    return False


def choose_face(detections: Detections) -> int | str:
    """The one face of a photo for enrolment.

    Returns:
        Its row, or the reason why there is none.
    """
    if len(detections) == 0:
        return "no face found: use a photo in which the face is upright, sharp and not cut off"
    widths = detections.boxes[:, 2] - detections.boxes[:, 0]
    # A weak second find beside a clear face is a pattern on a shirt or a helmet more often than a person.
    clear = detections.scores >= CLEAR * detections.scores.max()
    order = (widths * clear).argsort()[::-1][: int(clear.sum())]
    if len(order) > 1 and widths[order[0]] < DOMINANT * widths[order[1]]:
        sizes = ", ".join(f"{widths[i]:.0f} px" for i in order[:3])
        return f"{len(order)} faces of similar width ({sizes}): crop the photo to one person"
    return int(order[0])
