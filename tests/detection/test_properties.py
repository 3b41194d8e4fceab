"""Properties that hold for any detections, candidates and picture sizes (hypothesis)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lrface.detection.pyramid import (
    LARGEST_IN_TILE,
    LONG_SIDE,
    PANORAMA,
    STEP,
    View,
    plan_pyramid,
    working_scale,
    working_size,
)
from lrface.detection.suppression import nested_false_positives, suppress, vote_boxes
from lrface.geometry import box_iou, inverse_transform_points, transform_points
from lrface.models.manifest import PyramidSettings
from lrface.types import Detections

SIDES = st.integers(1, 9000)
SETTINGS = st.none() | st.builds(
    PyramidSettings, largest_face=st.floats(160, 400), coarsest_side=st.floats(64, 600), early_exit=st.none()
)


@st.composite
def candidates(draw: st.DrawFn, most: int = 25) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes float32 [n, 4] of some pixels and more, scores [n], landmarks [n, 5, 2] inside of them."""
    count = draw(st.integers(0, most))
    corners = draw(hnp.arrays(np.float32, (count, 2), elements=st.integers(0, 60)))
    sides = draw(hnp.arrays(np.float32, (count, 2), elements=st.integers(4, 300)))
    scores = draw(hnp.arrays(np.float32, count, elements=st.integers(1, 100))) / np.float32(100)
    landmarks = corners[:, None] + sides[:, None] * np.linspace(0.2, 0.8, 10).reshape(5, 2)
    return np.concatenate([corners, corners + sides], axis=1), scores, landmarks.astype(np.float32)


@given(candidates())
def test_detections_are_a_sequence_by_falling_score(found: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    detections = Detections.from_arrays(*found)
    assert (np.diff(detections.scores) <= 0).all()
    assert sorted(map(tuple, detections.boxes.tolist())) == sorted(map(tuple, found[0].tolist()))
    listed = list(detections)
    assert len(listed) == len(detections)
    for i, one in enumerate(listed):
        assert list(one.box) == detections.boxes[i].tolist() == list(detections[i - len(listed)].box)
        assert one.score == detections.scores[i]


@given(candidates(), st.slices(25), st.data())
def test_a_part_of_detections_is_the_same_part_of_each_array(
    found: tuple[np.ndarray, np.ndarray, np.ndarray], where: slice, data: st.DataObject
) -> None:
    detections = Detections.from_arrays(*found)
    mask = data.draw(hnp.arrays(np.bool_, len(detections)))
    for index in (where, mask, np.flatnonzero(mask), np.flatnonzero(mask).tolist()):
        part = detections[index]
        assert isinstance(part, Detections)
        rows = np.arange(len(detections))[where if index is where else mask]
        np.testing.assert_array_equal(part.boxes, detections.boxes[rows])
        np.testing.assert_array_equal(part.scores, detections.scores[rows])
        np.testing.assert_array_equal(part.landmarks, detections.landmarks[rows])


@given(candidates(), st.sampled_from([0.3, 0.45, 0.5, 0.7]))
def test_suppression_keeps_the_best_of_each_face(
    found: tuple[np.ndarray, np.ndarray, np.ndarray], limit: float
) -> None:
    boxes, scores, _ = found
    kept = suppress(boxes, scores, limit)
    assert len(set(kept.tolist())) == len(kept)
    overlap = box_iou(boxes, boxes)
    among = overlap[np.ix_(kept, kept)]
    assert (among[~np.eye(len(kept), dtype=bool)] <= limit + 1e-5).all()
    for dropped in sorted({*range(len(boxes))} - {*kept.tolist()}):
        better = kept[scores[kept] >= scores[dropped]]
        assert overlap[dropped, better].max(initial=0) > limit - 1e-5, "nothing is dropped without a better box"


@given(candidates())
def test_a_vote_stays_within_the_candidates(found: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    boxes, scores, landmarks = found
    kept = suppress(boxes, scores, 0.5)
    voted, points = vote_boxes(kept, boxes, scores, landmarks)
    overlap = box_iou(boxes, boxes)
    for k, box, marks in zip(kept, voted, points, strict=True):
        voters = np.flatnonzero((overlap[k] >= 0.6 - 1e-5) | (np.arange(len(boxes)) == k))
        assert (box >= boxes[voters].min(axis=0) - 1e-2).all()
        assert (box <= boxes[voters].max(axis=0) + 1e-2).all()
        assert (marks >= landmarks[voters].min(axis=0) - 1e-2).all()
        assert (marks <= landmarks[voters].max(axis=0) + 1e-2).all()


@given(candidates())
def test_the_best_box_is_never_a_nested_false_positive(found: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    boxes, scores, _ = found
    nested = nested_false_positives(boxes, scores)
    assert nested.shape == (len(boxes),)
    if len(boxes):
        assert not nested[scores == scores.max()].any()
        tallest = (boxes[:, 3] - boxes[:, 1]).max()
        assert tallest >= 128 or not nested.any()


def cores_of(level: list[View], x: float, y: float) -> list[View]:
    return [v for v in level if v.core[0] <= x < v.core[2] and v.core[1] <= y < v.core[3]]


@given(SIDES, SIDES, st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([448, 640, 2048]), SETTINGS, st.data())
@settings(max_examples=150)
def test_every_face_belongs_to_one_tile_and_is_whole_there(
    height: int, width: int, scale: float, tile: int, pyramid: PyramidSettings | None, data: st.DataObject
) -> None:
    levels = plan_pyramid(height, width, scale, tile, 32, pyramid)
    for finer, coarser in pairwise(levels):
        assert coarser[0].scale == pytest.approx(finer[0].scale / STEP)
    for level in levels:
        tall, wide = working_size(height, width, level[0].scale)
        assert len({(view.width, view.height) for view in level}) == 1
        assert len(level) == 1 or max(level[0].width, level[0].height) <= tile
        x, y = data.draw(st.floats(0, wide, exclude_max=True)), data.draw(st.floats(0, tall, exclude_max=True))
        (own,) = cores_of(level, x, y)
        half = data.draw(st.floats(0, LARGEST_IN_TILE / 2))
        for centre, low, high, length in ((x, own.x, own.x + own.width, wide), (y, own.y, own.y + own.height, tall)):
            assert low <= max(0, centre - half) + 1e-6, "the face begins in its tile"
            assert min(length, centre + half) <= high + 1e-6, "and ends there"


@given(SIDES, SIDES, st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([448, 640, 2048]), SETTINGS, st.floats(8, 9000))
def test_every_height_of_face_is_left_to_some_level(
    height: int, width: int, scale: float, tile: int, pyramid: PyramidSettings | None, face: float
) -> None:
    levels = plan_pyramid(height, width, scale, tile, 32, pyramid)
    views = [level[0] for level in levels]
    assert any(view.min_height <= face * view.scale < view.max_height for view in views)
    assert views[-1].max_height == np.inf


@given(SIDES, SIDES, st.none() | st.floats(4, 500), st.none() | st.sampled_from([320, 640]))
def test_the_working_scale_does_not_depend_on_the_orientation(
    height: int, width: int, min_face: float | None, fixed: int | None
) -> None:
    scale = working_scale(height, width, min_face, fixed)
    assert scale == working_scale(width, height, min_face, fixed) > 0
    if min_face is None and fixed is None:
        short, long = sorted((height, width))
        assert scale <= 2
        assert scale * min(long, PANORAMA * short) <= LONG_SIDE + 1e-6
        assert scale >= min(1, LONG_SIDE / long)


@given(
    hnp.arrays(np.float32, (7, 2), elements=st.floats(-1000, 1000, width=32)),
    st.floats(-3.2, 3.2),
    st.floats(0.05, 20),
    hnp.arrays(np.float32, 2, elements=st.floats(-500, 500, width=32)),
)
def test_points_come_back_through_the_inverse(points: np.ndarray, turn: float, scale: float, shift: np.ndarray) -> None:
    c, s = scale * np.cos(turn), scale * np.sin(turn)
    matrix = np.array([[c, -s, shift[0]], [s, c, shift[1]]])
    back = inverse_transform_points(transform_points(points, matrix), matrix)
    np.testing.assert_allclose(back, points, atol=0.05)
