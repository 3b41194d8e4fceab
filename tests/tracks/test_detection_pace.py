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
