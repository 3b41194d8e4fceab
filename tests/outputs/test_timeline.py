from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from fakes import identification

from lrface.outputs import annotate
from lrface.outputs.timeline import Timeline


def colour_at(image, x, line):
    """The colour in the middle of a line, 0 the first person, at a share of the time."""
    y = 12 + 26 * (line + 1) + 10
    return tuple(int(v) for v in image[y, 260 + round((1280 - 260 - 12) * x)])


def face(name, track):
    return replace(identification(name), track=track)


def test_a_track_that_gets_a_name_has_been_that_person_all_along(tmp_path):
    timeline = Timeline(tmp_path / "t.png")
    for i in range(100):
        faces = [face("Ada" if i >= 20 else None, 1)] if i < 40 else []
        timeline.add([*faces, *([face(None, 2)] if i >= 60 else [])], i / 10)
    timeline.close()
    image = cv2.imread(str(tmp_path / "t.png"))
    assert image.shape == (24 + 26 * 3, 1280, 3)
    assert colour_at(image, 0.1, 0) == colour_at(image, 0.35, 0) == annotate.KNOWN
    assert colour_at(image, 0.55, 0) == (32, 32, 32)
    assert colour_at(image, 0.8, 1) == annotate.UNKNOWN


@pytest.mark.parametrize("faces", [[], [identification("Ada")]])
def test_without_a_track_there_is_no_picture(tmp_path, faces):
    timeline = Timeline(tmp_path / "t.png")
    timeline.add(faces, 0.0)
    timeline.close()
    assert not (tmp_path / "t.png").exists()


def test_a_crowd_and_long_names_fit(tmp_path):
    timeline = Timeline(tmp_path / "t.png")
    for i in range(200):
        timeline.add([face(f"{'A very long name ' * 5}{i}", i + 1)], 3600.0 * i)
    timeline.close()
    assert np.array_equal(cv2.imread(str(tmp_path / "t.png")).shape[1:], (1280, 3))
