"""Which faces of a frame count: polygons in relative coordinates, and the least size of a face in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrface.types import Array, Detections


@dataclass(frozen=True, slots=True)
class Zone:
    """A part of a camera's picture.

    Attributes:
        name: For people.
        polygon: Three or more corners (x, y), from 0, 0 at the upper left to 1, 1 at the lower right of the picture as
            it is seen (after `rotate` and `aspect`).
        min_face: Height in pixels of the smallest face that counts here; 0: every face.
    """

    name: str
    polygon: tuple[tuple[float, float], ...]
    min_face: float = 0.0

    def contains(self, points: Array) -> Array:
        """Which points lie inside, by the even-odd rule.

        Args:
            points: float [n, 2], x, y, relative.

        Returns:
            bool [n].
        """
        corners = np.array(self.polygon, np.float64)
        x, y = points[:, 0, None], points[:, 1, None]
        (x1, y1), (x2, y2) = corners.T, np.roll(corners, -1, axis=0).T
        crosses = (y1 > y) != (y2 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            at = x1 + (y - y1) * (x2 - x1) / (y2 - y1)
        inside: Array = (crosses & (x < at)).sum(axis=1) % 2 == 1
        return inside


def faces_that_count(
    boxes: Array, size: tuple[int, int], zones: Sequence[Zone], masks: Sequence[Zone], min_face: float = 0.0
) -> Array:
    """Which faces are followed and embedded.

    A face counts where its middle lies in a zone (or there are no zones), in no mask, and it is at least as high as the
    `min_face` of the camera and of that zone.

    Args:
        boxes: float [n, 4], x1, y1, x2, y2 in pixels.
        size: Height and width of the picture in pixels.
        zones: Where faces count; empty: everywhere.
        masks: Where no face counts.
        min_face: Height in pixels of the smallest face of this camera.

    Returns:
        bool [n].
    """
    height, width = size
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2 / (width, height)
    high = boxes[:, 3] - boxes[:, 1]
    counts = np.full(len(boxes), not zones)
    for zone in zones:
        counts |= zone.contains(middles) & (high >= zone.min_face)
    for mask in masks:
        counts &= ~mask.contains(middles)
    counts &= high >= min_face
    return counts


def detections_that_count(
    found: Detections, size: tuple[int, int], zones: Sequence[Zone], masks: Sequence[Zone], min_face: float = 0.0
) -> Detections:
    """The detections that `faces_that_count` keeps."""
    if not len(found) or not (zones or masks or min_face):
        return found
    return found[faces_that_count(found.boxes, size, zones, masks, min_face)]
