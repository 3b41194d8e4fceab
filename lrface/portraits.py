"""Photos for enrolment: one person's face in each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

import cv2
import numpy as np

from lrface.align import align, native_crop_px
from lrface.errors import EnrolmentError
from lrface.images import Source, read_bytes, read_image
from lrface.types import Array, Detections, FloatArray, ImageArray

if TYPE_CHECKING:
    from lrface.detection import FaceDetector

DOMINANT = 2.0
"""A photo with several faces is taken if the widest is at least so many times as wide as the next."""

CLEAR = 0.7
"""A find counts beside others only with so much of the best one's score."""

MIN_ENROL_PX = 16.0
"""A face to enrol must be at least so wide (source pixels of the canonical crop): the smallest network's input."""

LARGEST_SIDE, SMALLEST_SIDE = 1280, 64
"""Photos are searched for faces at long sides between these, in pixels."""


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


def fingerprint(source: Source) -> tuple[bytes | Array, str]:
    """Reads a photo's bytes, once, and hashes them; nothing is decoded yet.

    Returns:
        What `read_image` takes, and the SHA-256.

    Raises:
        ImageError: The file cannot be read, or the array is no picture.
    """
    if isinstance(source, (str, PathLike)):
        source = read_bytes(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), hashlib.sha256(source).hexdigest()
    picture = read_image(source)
    return picture, hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).hexdigest()


def cut_portrait(photo: bytes | Array, sha256: str, detector: FaceDetector) -> Portrait:
    """Finds the one face of a photo.

    Raises:
        ImageError: The picture cannot be used.
        EnrolmentError: It shows no face, several, or one that is too small.
    """
    picture = read_image(photo)
    detections = find_faces(detector, picture)
    row = choose_face(detections)
    if isinstance(row, str):
        raise EnrolmentError(row)
    native_px = native_crop_px(detections.landmarks[row])
    if native_px < MIN_ENROL_PX:
        raise EnrolmentError(f"the face is {native_px:.0f} px wide, below {MIN_ENROL_PX:.0f}: use a closer photo")
    return Portrait(sha256, align(picture, detections.landmarks[row]), native_px)


def find_faces(detector: FaceDetector, picture: ImageArray) -> Detections:
    """Finds faces of any size: at the photo's own size (at most `LARGEST_SIDE`), at a half, a quarter, ... merged.

    Detectors made for small faces miss one that fills a portrait. Of several boxes on one face the surest is kept.

    Args:
        detector: Finds faces at one size.
        picture: uint8 [h, w, 3], BGR.

    Returns:
        Detections in pixels of the picture.
    """
    height, width = picture.shape[:2]
    found: list[Detections] = []
    side = min(max(height, width), LARGEST_SIDE)
    while not found or side >= SMALLEST_SIDE:
        size = (max(1, round(width * side / max(height, width))), max(1, round(height * side / max(height, width))))
        work = picture
        if size != (width, height):
            work = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        part = detector.detect(work)
        ratio = np.array([width / size[0], height / size[1]], np.float32)
        found.append(Detections(part.boxes * np.tile(ratio, 2), part.scores, part.landmarks * ratio))
        side //= 2
    merged = Detections.from_arrays(
        np.concatenate([part.boxes for part in found]),
        np.concatenate([part.scores for part in found]),
        np.concatenate([part.landmarks for part in found]),
    )
    kept: list[int] = []
    for i in range(len(merged)):
        if not any(_same_face(merged.boxes[i], merged.boxes[j]) for j in kept):
            kept.append(i)
    return merged[kept]


def _same_face(a: FloatArray, b: FloatArray) -> bool:
    """Whether the centre of either box lies in the other: seen too large, half a face looks like a whole one."""
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
