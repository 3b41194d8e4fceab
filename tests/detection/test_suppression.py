"""From candidates to faces: suppression against a slow form, box voting."""

from __future__ import annotations

import numpy as np
import pytest

from lrface.detection.suppression import VOTE_BATCH, suppress, vote_boxes
from lrface.geometry import box_iou

RANDOM = np.random.default_rng(7)


def test_suppression_is_the_slow_greedy_one() -> None:
    corners = RANDOM.uniform(0, 60, (200, 2))
    boxes = np.concatenate([corners, corners + RANDOM.uniform(5, 30, (200, 2))], axis=1).astype(np.float32)
    scores = RANDOM.permutation(200).astype(np.float32) / 200
    overlap = box_iou(boxes, boxes)
    slow: list[int] = []
    for i in np.argsort(-scores):
        if all(overlap[i, k] <= 0.45 for k in slow):
            slow.append(int(i))
    assert [i for i in suppress(boxes, scores, 0.45).tolist() if scores[i] > 0] == [i for i in slow if scores[i] > 0]


def test_suppression_of_nothing() -> None:
    assert len(suppress(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5)) == 0


def test_candidates_of_a_face_vote_by_their_squared_scores() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 11, 10], [6, 0, 16, 10], [50, 50, 60, 60]], np.float32)
    scores = np.array([0.8, 0.4, 0.7, 0.9], np.float32)
    landmarks = boxes[:, None, :2] + np.arange(10, dtype=np.float32).reshape(5, 2)
    landmarks[1] += 5
    box, points = vote_boxes(np.array([3, 0]), boxes, scores, landmarks)
    np.testing.assert_allclose(box, [[50, 50, 60, 60], [0, 0, 10.2, 10]], rtol=1e-5)  # a fifth of the say is 1's
    np.testing.assert_allclose(points, [landmarks[3], landmarks[0] + 1], rtol=1e-5)


def test_the_vote_of_many_is_that_of_each() -> None:
    corners = RANDOM.uniform(0, 200, (3 * VOTE_BATCH, 2))
    boxes = np.concatenate([corners, corners + RANDOM.uniform(5, 30, (3 * VOTE_BATCH, 2))], axis=1).astype(np.float32)
    scores = RANDOM.uniform(0, 1, 3 * VOTE_BATCH).astype(np.float32)
    landmarks = RANDOM.normal(0, 1, (3 * VOTE_BATCH, 5, 2)).astype(np.float32)
    kept = RANDOM.permutation(3 * VOTE_BATCH)[: 2 * VOTE_BATCH + 7]
    box, points = vote_boxes(kept, boxes, scores, landmarks)
    for i, k in enumerate(kept):
        alone = vote_boxes(np.array([k]), boxes, scores, landmarks)
        np.testing.assert_allclose(box[i], alone[0][0], rtol=1e-4)
        np.testing.assert_allclose(points[i], alone[1][0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kept", [[], [0]])
def test_box_voting_without_other_candidates(kept: list[int]) -> None:
    boxes, scores = np.array([[3, 3, 3, 9]], np.float32), np.zeros(1, np.float32)  # no width, no score
    box, points = vote_boxes(np.array(kept, np.intp), boxes, scores, np.ones((1, 5, 2), np.float32))
    np.testing.assert_array_equal(box, boxes[kept])
    assert points.shape == (len(kept), 5, 2)
