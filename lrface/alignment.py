"""Canonical crops: five landmarks -> one `Alignment` -> 112x112 pixels -> the level's size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

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


def estimate_similarities(landmarks: Array) -> tuple[FloatArray, NDArray[np.bool_]]:
    """The similarity transforms that take the landmarks of faces to the template with the least squared error.

    See Umeyama, 1991. In the plane a similarity without reflection is z -> a z + b over the complex numbers, so the
    least squares have a closed form: a = sum(conj(z - mean z) (t - mean t)) / sum |z - mean z|^2.

    Args:
        landmarks: [n, 5, 2], x, y in pixels of the picture.

    Returns:
        float32 [n, 2, 3], picture pixels -> crop pixels; and whether the landmarks form a face, bool [n]: they are
        finite, not (nearly) one point, and have a common orientation. The matrix of those that form none is 0.
    """
    points = np.asarray(landmarks, np.float64)
    finite = np.asarray(np.isfinite(points).all(axis=(1, 2)))
    z = np.where(finite[:, None], points[..., 0] + 1j * points[..., 1], 0.0)
    centre = z.mean(axis=1)
    z -= centre[:, None]
    spread = (z.real**2 + z.imag**2).sum(axis=1)
    a = (z.conj() * _CENTRED).sum(axis=1) / np.maximum(spread, 1e-6)
    formed: NDArray[np.bool_] = finite & (spread > 1e-6) & (np.abs(a) >= 1e-6)
    b = _MEAN - a * centre
    matrices: FloatArray = np.empty((len(points), 2, 3), np.float32)
    matrices[:, 0, 0] = matrices[:, 1, 1] = a.real
    matrices[:, 1, 0] = a.imag
    matrices[:, 0, 1] = -a.imag
    matrices[:, :, 2] = np.stack([b.real, b.imag], axis=1)
    matrices[~formed] = 0
    return matrices, formed


def estimate_similarity(landmarks: Array) -> FloatArray:
    """The same for the landmarks of one face.

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
    matrices, formed = estimate_similarities(points[None])
    if not formed[0]:
        raise ImageError("cannot align: the five landmarks do not form a face; check the detector")
    matrix: FloatArray = matrices[0]
    return matrix


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
        return cls.by(estimate_similarity(landmarks))

    @classmethod
    def by(cls, matrix: FloatArray) -> Alignment:
        """The alignment with this matrix."""
        return cls(matrix, float(CROP / np.hypot(matrix[0, 0], matrix[1, 0])))

    def crop(self, image: ImageArray) -> ImageArray:
        """The canonical crop, uint8 [112, 112, 3], of the picture, uint8 [h, w, 3]; black outside of the picture."""
        return warp_crop(image, self.matrix, CROP)


def align_faces(landmarks: Array) -> list[Alignment | None]:
    """The alignment of each face, None where the landmarks do not form a face.

    Args:
        landmarks: [n, 5, 2], pixels of the picture.
    """
    matrices, formed = estimate_similarities(landmarks)
    return [Alignment.by(matrix) if good else None for matrix, good in zip(matrices, formed.tolist(), strict=True)]


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
    part, moved = _part_under_square(image, matrix, side)
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


def _part_under_square(image: ImageArray, matrix: Array, side: int) -> tuple[ImageArray, Array]:
    """The part of the picture under the square, and the transform that goes with it.

    A large face is averaged in whole blocks first (bilinear sampling alone would alias); any face is cut out of its
    picture first (OpenCV warps no picture wider than 32,767 pixels).
    """
    # Python's own numbers: this runs four times for each face, and numpy takes ten times as long for so few
    (a, b, c), (d, e, f) = np.asarray(matrix, np.float64).tolist()
    factor = max(1, int(1.0 / math.hypot(a, d)))
    height, width = image.shape[:2]
    scale = 1.0 / (a * e - b * d)
    xx, xy, yx, yy = e * scale, -b * scale, -d * scale, a * scale  # of the inverse
    left, top = -xx * c - xy * f, -yx * c - yy * f
    x1, x2 = _covered(left, xx * side, xy * side, factor, width)
    y1, y2 = _covered(top, yx * side, yy * side, factor, height)
    part = image[y1:y2, x1:x2]
    if factor > 1 and part.size:
        size = ((x2 - x1) // factor, (y2 - y1) // factor)
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    # a pixel of the part is the mean of `factor` source pixels, so its centre lies (factor - 1) / 2 further
    x, y = x1 + (factor - 1) / 2, y1 + (factor - 1) / 2
    return part, np.array([[a * factor, b * factor, c + a * x + b * y], [d * factor, e * factor, f + d * x + e * y]])


def _covered(start: float, across: float, down: float, factor: int, length: int) -> tuple[int, int]:
    """What a square covers of one axis of a picture, with a margin of two blocks: whole blocks, for an exact scale.

    Args:
        start: Where its first corner lies, pixels.
        across: From there to the next corner along the square's upper side.
        down: From there to the next corner along its left side.
        factor: Side of a block, pixels.
        length: Of the axis, pixels.
    """
    corners = start, start + across, start + down, start + across + down
    first = math.floor(min(max(min(corners) - 2 * factor, 0), length))
    last = math.ceil(min(max(max(corners) + 2 * factor, 0), length))
    return first, last - (last - first) % factor
