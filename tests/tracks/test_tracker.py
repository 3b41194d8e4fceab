from __future__ import annotations

import numpy as np
import pytest

from lrface.tracks.tracker import MAX_GAP_S, MotionTracker


def box(x, y, side=16):
    return [x - side / 2, y - side / 2, x + side / 2, y + side / 2]


def follow(frames, fps=10.0):
    tracker = MotionTracker()
    return [tracker.update(np.array(boxes, np.float32).reshape(-1, 4), i / fps) for i, boxes in enumerate(frames)]


def test_a_small_face_that_moves_by_its_own_width_is_one_track():
    assert follow([[box(20 + 14 * i, 30)] for i in range(10)]) == [[1]] * 10


def test_somebody_who_walks_by_close_to_the_camera_is_one_track_from_the_second_look_on():
    """1.7 widths of the face in a fifth of a second, as in a street: nothing overlaps."""
    assert follow([[box(100 + 180 * i, 300, 105)] for i in range(6)], fps=5.0) == [[1]] * 6


def test_two_who_cross_keep_their_numbers():
    frames = [[box(20 + 6 * i, 30), box(140 - 6 * i, 44)] for i in range(21)]
    assert follow(frames) == [[1, 2]] * 21


def test_the_order_of_detections_does_not_matter():
    frames = [[box(20 + 6 * i, 30), box(140 - 6 * i, 44)][:: -1 if i % 2 else 1] for i in range(21)]
    assert follow(frames) == [[1, 2][:: -1 if i % 2 else 1] for i in range(21)]


@pytest.mark.parametrize(("missed", "numbers"), [(5, 1), (int(10 * MAX_GAP_S) + 2, 2)])
def test_a_face_that_is_not_found_for_long_has_left(missed, numbers):
    found = follow([[box(20, 30)]] * 3 + [[]] * missed + [[box(20, 30)]])
    assert found[-1] == [numbers]


def test_gone_is_told_once():
    tracker = MotionTracker()
    tracker.update(np.array([box(20, 30)], np.float32), 0.0)
    assert tracker.gone(MAX_GAP_S / 2) == []
    assert tracker.gone(2 * MAX_GAP_S) == [1]
    assert tracker.gone(3 * MAX_GAP_S) == []


def test_another_size_is_another_face():
    assert follow([[box(20, 30)], [box(20, 30, 40)]]) == [[1], [2]]
