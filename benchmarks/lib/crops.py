"""From the pictures of a data set to aligned crops.

A face is aligned by its given landmarks, else by those of the detection that overlaps its given box or, in a picture of
one face, lies nearest to the middle. Where the detector finds nothing, an upright face is assumed to fill the box, so
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
"""Pictures of one face with a shorter longer side than this are enlarged to it for the detector."""

MATCHED = 0.3
"""Least intersection over union at which a detection's landmarks are used for a given box."""


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """An aligned face: uint8 crop ``[112, 112, 3]``, its width in source pixels, whether it was detected."""

    crop: ImageArray
    native_px: float
    found: bool


def shrink_and_enlarge(crop: ImageArray, size: int) -> ImageArray:
    """A crop shrunk by area to size x size pixels and enlarged again, bilinear, as alignment samples a small face."""
    small = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (CROP, CROP), interpolation=cv2.INTER_LINEAR), np.uint8)


def crop_pictures(records: Sequence[FaceRecord], detector: FaceDetector) -> Iterator[tuple[list[int], list[FaceCrop]]]:
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
            seen = detect_single_face(image, detector) if alone else detector.detect(image)
        yield here, [crop_face(image, records[i], seen) for i in here]


def detect_single_face(image: ImageArray, detector: FaceDetector) -> Detections:
    """Detections in a picture filled by one face: with a margin, and enlarged if it is tiny."""
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


def landmarks_from_box(box: FloatArray | Sequence[float]) -> FloatArray:
    """The landmarks, float32 ``[5, 2]``, of an upright face with this box of the detector."""
    x1, y1, x2, y2 = box
    scale = ((x2 - x1) / (FACE_BOX[2] - FACE_BOX[0]) + (y2 - y1) / (FACE_BOX[3] - FACE_BOX[1])) / 2
    middle = np.array([FACE_BOX[0] + FACE_BOX[2], FACE_BOX[1] + FACE_BOX[3]]) / 2
    return np.asarray((TEMPLATE - middle) * scale + [(x1 + x2) / 2, (y1 + y2) / 2], np.float32)


def crop_face(image: ImageArray, record: FaceRecord, seen: Detections) -> FaceCrop:
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
        return FaceCrop(image, float(CROP), True)
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
    return _aligned(image, landmarks_from_box(box[0]), False)


def _aligned(image: ImageArray, landmarks: FloatArray, found: bool, box: FloatArray | None = None) -> FaceCrop:
    try:
        return FaceCrop(align(image, landmarks), native_crop_px(landmarks), found)
    except ImageError:
        if box is None:
            raise
        return _aligned(image, landmarks_from_box(box), False)  # the detector's landmarks form no face
