"""Canonical crops: five landmarks -> one `Alignment` -> 112x112 pixels -> the level's size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lrface.errors import ImageError
from lrface.types import Array, FloatArray, ImageArray

CROP = 112
"""Side in pixels of the canonical crop."""

TEMPLATE: FloatArray = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
"""The ArcFace template, float32 [5, 2], pixels of the 112x112 crop."""

_MEAN = complex(*TEMPLATE.mean(axis=0).astype(float))
_CENTRED = (TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1]).astype(complex) - _MEAN


def estimate_similarity(landmarks: Array) -> FloatArray:
    """The similarity transform that takes the landmarks to the template with the least squared error (Umeyama, 1991).

    In the plane a similarity without reflection is z -> a z + b over the complex numbers, so the least squares have a
    closed form: a = sum(conj(z - mean z) (t - mean t)) / sum |z - mean z|^2.

    Args:
        landmarks: [5, 2], x, y in pixels of the picture.

    Returns:
        float32 [2, 3], picture pixels -> crop pixels.

    Raises:
        ImageError: The landmarks are not finite or (nearly) one point.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise ImageError(f"cannot align: landmarks {points.shape} must be 5 finite points; check the detector")
    z = points[:, 0] + 1j * points[:, 1]
    centre = z.mean()
    z = z - centre
    spread = float((z.real**2 + z.imag**2).sum())
    a = complex(np.vdot(z, _CENTRED) / spread) if spread > 1e-6 else 0j
    if not abs(a) >= 1e-6:  # all points in one place, or without a common orientation
        raise ImageError("cannot align: the five landmarks do not form a face; check the detector")
    b = _MEAN - a * centre
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """Where the canonical crop of one face lies in its picture. Computed once a face, then passed on.

    Attributes:
        matrix: float32 [2, 3], a similarity: pixels of the picture -> pixels of the 112x112 crop.
        native_px: Width of the crop in pixels of the picture: how large the face really is.
    """

    matrix: FloatArray
    native_px: float

    @classmethod
    def of(cls, landmarks: Array) -> Alignment:
        """The alignment of one face.

        Args:
            landmarks: [5, 2], x, y in pixels of the picture, in the order of the template.

        Raises:
            ImageError: The landmarks do not form a face.
        """
        matrix = estimate_similarity(landmarks)
        return cls(matrix, float(CROP / np.hypot(matrix[0, 0], matrix[1, 0])))

    def crop(self, image: ImageArray) -> ImageArray:
        """The canonical crop, uint8 [112, 112, 3], of the picture, uint8 [h, w, 3]; black outside of the picture."""
        return warp_crop(image, self.matrix, CROP)


def align_faces(landmarks: Array) -> list[Alignment | None]:
    """The alignment of each face, None where the landmarks do not form a face.

    Args:
        landmarks: [n, 5, 2], pixels of the picture.
    """
    found: list[Alignment | None] = []
    for points in landmarks:
        try:
            found.append(Alignment.of(points))
        except ImageError:  # one bad detection must not lose the other faces of the picture
            found.append(None)
    return found


def native_crop_px(landmarks: Array) -> float:
    """Width, in source pixels, of the canonical crop of [5, 2] landmarks; see `Alignment.native_px`.

    Raises:
        ImageError: The landmarks do not form a face.
    """
    return Alignment.of(landmarks).native_px


def align(image: ImageArray, landmarks: Array) -> ImageArray:
    """The canonical crop of one face; see `Alignment.crop`.

    Args:
        image: uint8 [h, w, 3].
        landmarks: [5, 2], pixels of the picture.

    Returns:
        uint8 [112, 112, 3], channels as in the picture.

    Raises:
        ImageError: The landmarks do not form a face.
    """
    return Alignment.of(landmarks).crop(image)


def warp_crop(image: ImageArray, matrix: Array, side: int) -> ImageArray:
    """Warps a square out of a picture by a similarity; black outside of the picture.

    Args:
        image: uint8 [h, w, 3].
        matrix: [2, 3], picture pixels -> pixels of the square.
        side: Of the square, pixels.

    Returns:
        uint8 [side, side, 3], channels as in the picture.
    """
    matrix = np.asarray(matrix, np.float64)
    # A large face is averaged in whole blocks first (bilinear sampling alone would alias); any face is cut out of its
    # picture first (OpenCV warps no picture wider than 32,767 pixels).
    factor = max(1, int(1.0 / np.hypot(matrix[0, 0], matrix[1, 0])))
    part, moved = _part_under_square(image, matrix, side, factor)
    if part.size == 0:
        return np.zeros((side, side, image.shape[2]), np.uint8)
    square: ImageArray = cv2.warpAffine(part, moved, (side, side), flags=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
    return square


def shrink(crop: ImageArray, level: int) -> ImageArray:
    """The canonical crop shrunk by area.

    Args:
        crop: uint8 [112, 112, 3].
        level: The side wanted, 1..112 pixels.

    Returns:
        uint8 [level, level, 3].
    """
    if level == crop.shape[0]:
        return crop
    small: ImageArray = cv2.resize(crop, (level, level), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return small


def _part_under_square(image: ImageArray, matrix: Array, side: int, factor: int) -> tuple[ImageArray, Array]:
    """The part of the picture under the square, shrunk by a whole factor, and the transform that goes with it."""
    height, width = image.shape[:2]
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0], [side, 0], [0, side], [side, side]], np.float64) @ inverse[:, :2].T + inverse[:, 2]
    x1, y1 = np.clip(np.floor(corners.min(axis=0)) - 2 * factor, 0, (width, height)).astype(int)
    x2, y2 = np.clip(np.ceil(corners.max(axis=0)) + 2 * factor, 0, (width, height)).astype(int)
    x2, y2 = x2 - (x2 - x1) % factor, y2 - (y2 - y1) % factor  # whole blocks only, so that the scale is exact
    part = image[y1:y2, x1:x2]
    if factor > 1 and part.size:
        size = ((x2 - x1) // factor, (y2 - y1) // factor)
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    # a pixel of the part is the mean of `factor` source pixels, so its centre lies (factor - 1) / 2 further
    offset = np.array([x1, y1], np.float64) + (factor - 1) / 2
    return part, np.column_stack([matrix[:, :2] * factor, matrix[:, 2] + matrix[:, :2] @ offset])
