"""From the pictures of a data set to aligned crops.

A face is aligned by its given landmarks, else by those of the detection that overlaps its given box or, in a picture of
one face, lies nearest to the middle. Where the detector finds nothing, an upright face is taken to fill the box, so
that every method is measured on every face.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from benchmarks.lib.datasets.records import FaceRecord
from lrface.alignment import CROP, TEMPLATE, align, native_crop_px
from lrface.detection import FaceDetector
from lrface.errors import ImageError
from lrface.geometry import box_iou
from lrface.inputs.images import read_image
from lrface.types import Detections, FloatArray, ImageArray

FACE_BOX = (20.0, 13.0, 97.0, 115.0)
"""The bundled detector's median box of a face, in pixels of its 112x112 crop (112 validation crops)."""

SMALL = 64
"""Pictures of one face whose longer side is below are enlarged to it for the detector, which then sees a margin too."""

MATCHED = 0.3
"""Least intersection over union of a detection that lends its landmarks to a given box."""


@dataclass(frozen=True, eq=False)
class Cut:
    """A face ready to embed: uint8 crop ``[112, 112, 3]``, its width in source pixels, whether it was detected."""

    crop: ImageArray
    native_px: float
    found: bool


def through(crop: ImageArray, size: int) -> ImageArray:
    """A crop shrunk by area to size x size pixels and brought back, bilinear, as alignment samples a small face."""
    small = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (CROP, CROP), interpolation=cv2.INTER_LINEAR), np.uint8)


def cut_pictures(records: Sequence[FaceRecord], detector: FaceDetector) -> Iterator[tuple[list[int], list[Cut]]]:
    """Picture by picture: rows of the records in it, and their faces.

    Raises:
        ImageError: a picture cannot be read.
    """
    rows = defaultdict(list)
    for i, record in enumerate(records):
        rows[record.picture].append(i)
    for picture, here in rows.items():
        image = read_image(picture)
        alone = [i for i in here if records[i].box is None]
        seen = Detections.empty()
        if any(records[i].landmarks is None and not records[i].aligned for i in here):
            seen = detect_alone(image, detector) if alone else detector.detect(image)
        yield here, [cut_face(image, records[i], seen) for i in here]


def detect_alone(image: ImageArray, detector: FaceDetector) -> Detections:
    """Detections in a picture that is hardly more than a face: with a margin, and enlarged where it is tiny."""
    height, width = image.shape[:2]
    scale = max(1.0, SMALL / max(height, width))
    size = (round(width * scale), round(height * scale))
    large = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR) if scale > 1 else image
    margin = max(size) // 2
    framed = cv2.copyMakeBorder(large, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    found = detector.detect(np.asarray(framed, np.uint8))
    # Pixel centres: x of the enlarged picture is (x + .5) / scale - .5 of the picture.
    shift = np.float32(0.5 / scale - 0.5)
    ratio = np.float32(1 / scale)
    return Detections(
        (found.boxes - margin) * ratio, found.scores, (found.landmarks - np.float32(margin)) * ratio + shift
    )


def landmarks_in(box: FloatArray | Sequence[float]) -> FloatArray:
    """Where the landmarks would be, float32 ``[5, 2]``, if an upright face had this detector's box."""
    x1, y1, x2, y2 = box
    scale = ((x2 - x1) / (FACE_BOX[2] - FACE_BOX[0]) + (y2 - y1) / (FACE_BOX[3] - FACE_BOX[1])) / 2
    middle = np.array([FACE_BOX[0] + FACE_BOX[2], FACE_BOX[1] + FACE_BOX[3]]) / 2
    return np.asarray((TEMPLATE - middle) * scale + [(x1 + x2) / 2, (y1 + y2) / 2], np.float32)


def cut_face(image: ImageArray, record: FaceRecord, seen: Detections) -> Cut:
    """One face of a picture.

    Args:
        image: uint8 ``[h, w, 3]``, BGR.
        record: which face.
        seen: what a detector found in the picture.

    Raises:
        ImageError: a picture that should be an aligned crop is not, or the given landmarks form no face.
    """
    if record.aligned:
        if image.shape[:2] != (CROP, CROP):
            raise ImageError(f"{record.picture} is {image.shape[1]}x{image.shape[0]}, not an aligned 112x112 crop")
        return Cut(image, float(CROP), True)
    if record.landmarks is not None:
        return _aligned(image, record.landmarks, True)
    height, width = image.shape[:2]
    box = np.array([record.box or (0, 0, width, height)], np.float32)
    if record.box is None and len(seen):
        offset = (seen.boxes[:, :2] + seen.boxes[:, 2:] - box[:, :2] - box[:, 2:]) / 2
        best = int(np.linalg.norm(offset, axis=1).argmin())
        return _aligned(image, seen.landmarks[best], True, box[0])
    overlap = box_iou(box, seen.boxes)[0]
    if len(seen) and overlap.max() >= MATCHED:
        return _aligned(image, seen.landmarks[int(overlap.argmax())], True, box[0])
    return _aligned(image, landmarks_in(box[0]), False)


def _aligned(image: ImageArray, landmarks: FloatArray, found: bool, box: FloatArray | None = None) -> Cut:
    try:
        return Cut(align(image, landmarks), native_crop_px(landmarks), found)
    except ImageError:
        if box is None:
            raise
        return _aligned(image, landmarks_in(box), False)  # a detector's slip
