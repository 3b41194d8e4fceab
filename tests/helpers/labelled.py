"""Labels of drawn faces, for the detector's tests."""

from __future__ import annotations

import numpy as np

from training.detector.scenes import Labels

FACE = np.array([(38, 50), (62, 50), (50, 62), (41, 74), (59, 74)], np.float32)  # landmarks in a box 30, 36, 70, 88


def labels_of(boxes: list[list[float]], ignored: list[bool] | None = None) -> Labels:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    marks = array[:, None, :2] + (FACE - (30, 36)) / (40, 52) * (array[:, None, 2:] - array[:, None, :2])
    yes = np.ones(len(array), bool)
    ignore = np.array(ignored or ~yes, bool)
    return Labels(array, marks.astype(np.float32), yes, ignore, np.zeros(len(array), bool))
