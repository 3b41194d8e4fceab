"""Average precision of a detector by the size of the faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrface.geometry import box_iou
from lrface.types import Array, FloatArray


@dataclass(frozen=True)
class PictureResult:
    """What a detector found in one picture, and what is there; all in the same pixels.

    Attributes:
        boxes: float32 [n, 4], x1, y1, x2, y2.
        scores: float32 [n].
        truth: float32 [t, 4].
        ignored: bool [t], regions that count neither way.
    """

    boxes: FloatArray
    scores: FloatArray
    truth: FloatArray
    ignored: Array


def average_precision(
    results: Sequence[PictureResult], heights: tuple[float, float] = (0.0, np.inf), iou: float = 0.5
) -> float:
    """Area under the precision-recall curve (every point, precision made monotone) for faces of a range of heights.

    By falling score each detection takes the free face that it overlaps most, if by `iou` or more. Faces of other
    heights and ignored regions count neither way, nor do detections that take one of them, nor unmatched detections
    whose own height lies outside of the range.

    Args:
        results: One for each picture.
        heights: Pixels, from (inclusive) and to (exclusive).
        iou: Least intersection over union of a match.

    Returns:
        0..1; nan where no face lies in the range.
    """
    score, hit, faces = match_all(results, heights, iou)
    if faces == 0:
        return float("nan")
    hit = hit[np.argsort(-score, kind="stable")]
    found = np.cumsum(hit)
    precision = found / np.arange(1, len(hit) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((precision * hit).sum() / faces)


def match_all(
    results: Sequence[PictureResult], heights: tuple[float, float] = (0.0, np.inf), iou: float = 0.5
) -> tuple[FloatArray, Array, int]:
    """The matching of `average_precision`.

    Returns:
        Scores float32 [m] of the detections that count, bool [m] whether each is right, and how many faces count.
    """
    scores, hits, faces = [np.zeros(0, np.float32)], [np.zeros(0, bool)], 0
    for result in results:
        height = result.truth[:, 3] - result.truth[:, 1]
        counted = ~result.ignored.astype(bool) & (height >= heights[0]) & (height < heights[1])
        faces += int(counted.sum())
        score, hit = _match(result, counted, heights, iou)
        scores.append(score)
        hits.append(hit)
    return np.concatenate(scores), np.concatenate(hits), faces


def _match(result: PictureResult, counted: Array, heights: tuple[float, float], iou: float) -> tuple[Array, Array]:
    """Scores of the detections that count, and whether each is right."""
    order = np.argsort(-result.scores, kind="stable")
    overlap = box_iou(result.boxes[order], result.truth)
    free = counted.copy()
    keep, hit = np.ones(len(order), bool), np.zeros(len(order), bool)
    for i, row in enumerate(overlap):
        takes = np.where(free, row, 0.0)
        if len(row) and takes.max() >= iou:
            hit[i] = True
            free[takes.argmax()] = False
        elif len(row) and np.where(counted, 0.0, row).max() >= iou:
            keep[i] = False
        else:
            own = result.boxes[order[i], 3] - result.boxes[order[i], 1]
            keep[i] = heights[0] <= own < heights[1]
    return result.scores[order][keep], hit[keep]
