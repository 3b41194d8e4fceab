"""Views of aligned crops: moved as by inexact landmarks, and degraded as by a camera. Training uses them too."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

SHIFT, SCALE, ROTATION = 0.03, 0.06, 3.0
"""Largest shift as a share of the side, relative change of scale, and rotation in degrees, of inexact landmarks."""


def moved(
    crop: Image, shift: float, scale: float, rotation: float, rng: np.random.Generator, mirror: bool = True
) -> Image:
    """A square crop uint8 [side, side, 3], shifted, scaled and rotated at random; half of them are mirrored.

    Args:
        crop: The crop.
        shift: Largest shift, as a share of the side.
        scale: Largest relative change of scale.
        rotation: Largest, in degrees.
        rng: Chooses.
        mirror: Whether any are mirrored.
    """
    size = crop.shape[0]
    matrix = cv2.getRotationMatrix2D(
        (size / 2, size / 2), rng.uniform(-rotation, rotation), 1 + rng.uniform(-scale, scale)
    )
    matrix[:, 2] += rng.uniform(-shift, shift, 2) * size
    if rng.random() < 0.5 and mirror:
        matrix[0] *= -1
        matrix[0, 2] += size - 1
    warped = cv2.warpAffine(crop, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(warped, np.uint8)


def camera_view(crop: Image, width: int, rng: np.random.Generator) -> Image:
    """A canonical crop, moved and with camera degradation of ``width`` pixels, at full size."""
    view = moved(crop, SHIFT, SCALE, ROTATION, rng)
    rng.random()  # training draws here whether a view is degraded: the same seed gives the same views
    return camera_degradation(view, width, rng)


def camera_degradation(view: Image, width: int, rng: np.random.Generator) -> Image:
    """A crop as a camera gives it at about ``width`` pixels: shrunk by some filter, blurred, noisy, JPEG; at full size.

    Args:
        view: uint8 [side, side, 3], BGR.
        width: In pixels; the camera's picture has .8 to 1.7 times as many.
        rng: Chooses.
    """
    side = max(6, round(width * rng.uniform(0.8, 1.7)))
    if side < view.shape[0]:
        filters = (cv2.INTER_AREA, cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
        small = cv2.resize(view, (side, side), interpolation=filters[rng.integers(len(filters))])
    else:
        small = view
    if rng.random() < 0.5:
        small = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.3, 0.9))
    if rng.random() < 0.5:
        noise = rng.normal(0, rng.uniform(1, 8), small.shape)
        small = np.clip(small + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.6:
        encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))])[1]
        small = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(cv2.resize(small, view.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
