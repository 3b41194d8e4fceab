"""Boxes and points in the plane."""

from __future__ import annotations

import numpy as np

from lrface.types import Array, FloatArray


def box_iou(a: Array, b: Array) -> FloatArray:
    """Intersection over union of every pair: [n, 4], [m, 4] to float32 [n, m]."""
    # column by column: numpy is slow on an axis of two
    wide = np.minimum(a[:, None, 2], b[:, 2]) - np.maximum(a[:, None, 0], b[:, 0])
    tall = np.minimum(a[:, None, 3], b[:, 3]) - np.maximum(a[:, None, 1], b[:, 1])
    inner = np.maximum(wide, 0) * np.maximum(tall, 0)
    area_a, area_b = ((x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1]) for x in (a, b))
    union = area_a[:, None] + area_b - inner
    return np.asarray(inner / np.maximum(union, 1e-9), np.float32)


def transform_points(points: Array, matrix: Array) -> FloatArray:
    """Points [..., 2] under an affine transform [2, 3]: float32 [..., 2]."""
    moved: FloatArray = (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    return moved


def inverse_transform_points(points: Array, matrix: Array) -> FloatArray:
    """Points [..., m, 2] under the inverse of an affine transform [2, 3], or of one for each group [..., 2, 3].

    Returns:
        float32, in the shape of the points.
    """
    back = np.linalg.inv(matrix[..., :2]).swapaxes(-1, -2)
    moved: FloatArray = ((points - matrix[..., None, :, 2]) @ back).astype(np.float32)
    return moved.reshape(points.shape)
