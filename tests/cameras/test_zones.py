from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrface.cameras.zones import Zone, detections_that_count, faces_that_count
from lrface.types import Detections

LEFT = Zone("left", ((0, 0), (0.5, 0), (0.5, 1), (0, 1)))
TOP = Zone("top", ((0, 0), (1, 0), (1, 0.5), (0, 0.5)))
L_SHAPE = Zone("l", ((0, 0), (1, 0), (1, 0.2), (0.2, 0.2), (0.2, 1), (0, 1)))
BOXES = np.array([(10, 10, 30, 34), (70, 10, 90, 30), (10, 60, 20, 70), (70, 60, 100, 99)], np.float32)


@pytest.mark.parametrize(
    ("zones", "masks", "min_face", "kept"),
    [
        ([], [], 0, [0, 1, 2, 3]),
        ([LEFT], [], 0, [0, 2]),
        ([LEFT, TOP], [], 0, [0, 1, 2]),
        ([], [LEFT], 0, [1, 3]),
        ([TOP], [LEFT], 0, [1]),
        ([], [], 24, [0, 3]),
        ([Zone("near", LEFT.polygon, 20), TOP], [], 0, [0, 1]),
        ([Zone("near", LEFT.polygon, 30), Zone("far", TOP.polygon, 22)], [], 0, [0]),  # one zone that takes it suffices
        ([L_SHAPE], [], 0, [2]),
    ],
)
def test_which_faces_count(zones, masks, min_face, kept):
    assert np.flatnonzero(faces_that_count(BOXES, (100, 100), zones, masks, min_face)).tolist() == kept
    wide = BOXES * (2, 1, 2, 1)  # polygons are relative
    assert np.flatnonzero(faces_that_count(wide, (100, 200), zones, masks, min_face)).tolist() == kept


def test_detections_keep_their_fields():
    found = Detections.from_arrays(BOXES, [0.9, 0.8, 0.7, 0.6], np.zeros((4, 5, 2)))
    left = detections_that_count(found, (100, 100), [], [LEFT])
    assert left.boxes.tolist() == BOXES[[1, 3]].tolist()
    assert left.scores == pytest.approx([0.8, 0.6])
    assert detections_that_count(found, (100, 100), [], []) is found


corner = st.tuples(st.integers(0, 100), st.integers(0, 100))


@given(st.lists(corner, min_size=3, max_size=3), st.lists(corner, min_size=1, max_size=20))
def test_inside_a_triangle_is_what_opencv_says(triangle, points):
    zone = Zone("t", tuple((x / 100, y / 100) for x, y in triangle))
    inside = zone.contains(np.array(points) / 100)
    contour = np.array(triangle, np.float32)
    for point, got in zip(points, inside, strict=True):
        expected = cv2.pointPolygonTest(contour, [float(v) for v in point], True)
        if abs(expected) > 1e-3:  # on an edge either will do
            assert got == (expected > 0)
