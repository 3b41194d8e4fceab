from __future__ import annotations

import numpy as np
import pytest

from lrface.inputs.video import Frame
from lrface.tracks.detection_pace import DetectionPace

EMPTY = np.zeros((0, 0, 3), np.uint8)


@pytest.mark.parametrize(
    ("every", "stride", "frames", "due"),
    [
        (1, 1, [(0, 0.0), (1, 0.04), (2, 0.08)], [0, 1, 2]),
        (3, 1, [(i, i / 25) for i in range(8)], [0, 3, 6]),
        (2, 5, [(i, i / 250) for i in range(0, 30, 5)], [0, 10, 20]),
        (3, 1, [(0, 0.0), (2, 0.08), (7, 0.2), (8, 0.24), (10, 0.3)], [0, 7, 10]),  # a live source drops frames
        (10, 1, [(0, 0.0), (1, 0.25), (2, 0.3), (3, 0.6)], [0, 1, 3]),  # slow
        (10, 1, [(5, 2.0), (6, 0.0)], [5, 6]),  # time starts again
    ],
)
def test_frames_that_are_due(every, stride, frames, due):
    pace = DetectionPace(every, stride)
    assert [index for index, time_s in frames if pace.due(Frame(index, time_s, EMPTY))] == due


def looked_at(seconds, live=True, fps=25, frames=100):
    """The frames of a camera that are due where each takes so long; those that come meanwhile are dropped."""
    pace, due, free_s = DetectionPace("auto", live=live), [], 0.0
    for i in range(frames):
        if i / fps < free_s:
            continue
        if pace.due(Frame(i, i / fps, EMPTY)):
            due.append(i)
            pace.took(seconds)
            free_s = i / fps + seconds
    return due


@pytest.mark.parametrize(("seconds", "apart"), [(0.01, 1), (0.03, 1), (0.035, 2), (0.07, 3), (0.15, 5), (0.19, 6)])
def test_auto_leaves_a_fifth_of_the_time_free(seconds, apart):
    due = looked_at(seconds)
    assert due == list(range(0, 100, apart))
    assert seconds * len(due) <= 0.8 * (due[-1] + apart) / 25 + 1e-6


def test_auto_searches_four_times_a_second_on_the_slowest_machine():
    assert looked_at(0.3) == list(range(0, 100, 8))


def test_auto_looks_at_each_frame_of_a_file():
    pace = DetectionPace("auto", stride=2)
    for i in range(0, 20, 2):
        assert pace.due(Frame(i, i / 25, EMPTY))
        pace.took(5.0)
