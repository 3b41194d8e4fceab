"""From overlapping candidates to faces: suppression, box voting, false positives inside large faces."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from lrface.geometry import box_iou
from lrface.types import FloatArray

NMS_IOU = 0.45
"""Of two candidates that overlap by more, the weaker is dropped."""
VOTED_NMS_IOU = 0.5
"""The same with box voting, so that two faces that touch stay two."""
VOTING_IOU = 0.6
"""Candidates vote on a kept box that they overlap by at least this."""
VOTE_BATCH = 256
"""Kept boxes whose candidates are compared at a time, to bound the memory."""
LARGE = 128.0
"""Height in source pixels from which on a face can have false positives inside, its eyes or mouth: of the 39,218 faces
of the training scenes only 1 really lies inside such a large face."""
INSIDE, NESTED_AREA = 0.8, VOTED_NMS_IOU
"""Share of the smaller box that lies in the larger one, at least, and its share of the larger one's area, at most:
suppression drops larger boxes inside."""


def suppress(boxes: FloatArray, scores: FloatArray, iou: float) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Greedy non-maximum suppression.

    Args:
        boxes: float32 [n, 4], x1, y1, x2, y2.
        scores: float32 [n].
        iou: Of two boxes with a larger intersection over union, the one with the lower score is dropped.

    Returns:
        Indices [k] of the kept boxes.
    """
    if len(boxes) == 0:
        return np.zeros(0, np.intp)
    sized = boxes.astype(np.float64)
    sized[:, 2:] -= sized[:, :2]
    kept = cv2.dnn.NMSBoxes(sized.tolist(), scores.astype(np.float64).tolist(), 0.0, iou)
    return np.asarray(kept, np.intp).reshape(-1)


def vote_boxes(
    kept: npt.NDArray[np.intp], boxes: FloatArray, scores: FloatArray, landmarks: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Box voting (Gidaris & Komodakis, ICCV 2015, eq. 4), which is more accurate than the best candidate alone.

    Boxes and landmarks are the mean of the candidates that overlap a kept one by `VOTING_IOU` or more, weighted by
    their squared scores.

    Args:
        kept: Indices [k] of `suppress`.
        boxes: float32 [n, 4], x1, y1, x2, y2.
        scores: float32 [n], 0..1.
        landmarks: float32 [n, 5, 2].

    Returns:
        float32 [k, 4], float32 [k, 5, 2].
    """
    every = np.concatenate([boxes, landmarks.reshape(-1, 10)], axis=1)
    mean: FloatArray = np.empty((len(kept), 14), np.float32)
    weight = np.square(np.maximum(scores, np.float32(1e-6)))
    for first in range(0, len(kept), VOTE_BATCH):
        some = kept[first : first + VOTE_BATCH]
        weights: FloatArray = np.where(box_iou(boxes[some], boxes) >= VOTING_IOU, weight, np.float32(0))
        weights[np.arange(len(some)), some] = weight[some]
        weights /= weights.sum(axis=1, keepdims=True)
        mean[first : first + VOTE_BATCH] = weights @ every
    return mean[:, :4], mean[:, 4:].reshape(-1, 5, 2)


def nested_false_positives(boxes: FloatArray, scores: FloatArray) -> npt.NDArray[np.bool_]:
    """Which boxes are only a part of a large face that has a higher score.

    Args:
        boxes: float32 [n, 4], x1, y1, x2, y2.
        scores: float32 [n].

    Returns:
        bool [n].
    """
    large = boxes[:, 3] - boxes[:, 1] >= LARGE
    if not large.any():
        return np.zeros(len(boxes), np.bool_)
    whole = boxes[large]
    area, whole_area = (np.prod(b[:, 2:] - b[:, :2], axis=1) for b in (boxes, whole))
    shared = np.minimum(boxes[:, None, 2:], whole[:, 2:]) - np.maximum(boxes[:, None, :2], whole[:, :2])
    inside = shared.clip(0).prod(axis=2) >= INSIDE * area[:, None]
    part = inside & (area[:, None] < NESTED_AREA * whole_area) & (scores[:, None] < scores[large])
    found: npt.NDArray[np.bool_] = np.any(part, axis=1)
    return found
