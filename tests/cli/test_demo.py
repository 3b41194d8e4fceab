from __future__ import annotations

import itertools
import json
import socket

import numpy as np
import pytest
from fakes import identification

from lrface.cli import demo, demo_scene
from lrface.cli.demo_scene import COLLINS, FRAMES, HEIGHT, HOPPER, LARGEST_PX, SMALLEST_PX, WIDTH
from lrface.errors import LrfaceError
from lrface.inputs.video import VideoSource


@pytest.fixture(scope="module")
def every_tenth():
    return list(itertools.islice(demo_scene.render((COLLINS, HOPPER)), 0, 61, 10))


def test_faces_have_the_promised_sizes_and_are_in_view(every_tenth):
    heights = [box[3] - box[1] for _, boxes in every_tenth for box in boxes]
    assert min(heights) == pytest.approx(SMALLEST_PX, rel=0.02)
    assert max(heights) == pytest.approx(LARGEST_PX, rel=0.02)
    for image, boxes in every_tenth:
        assert image.shape == (HEIGHT, WIDTH, 3)
        for x1, y1, x2, y2 in boxes:
            assert 0 < x1 < x2 < WIDTH
            assert 0 < y1 < y2 < HEIGHT


def test_the_clip_is_the_same_each_time(every_tenth):
    again = next(demo_scene.render((COLLINS, HOPPER)))
    assert np.array_equal(again[0], every_tenth[0][0])


def test_the_faces_are_where_the_scene_says(every_tenth):
    from lrface.detection import open_detector

    detector = open_detector()
    found = 0
    for image, boxes in every_tenth:
        detections = detector.detect(image)
        centres = (detections.boxes[:, :2] + detections.boxes[:, 2:]) / 2
        for x1, y1, x2, y2 in boxes:
            found += bool(((centres > (x1, y1)) & (centres < (x2, y2))).all(axis=1).any())
    assert found >= 0.7 * 2 * len(every_tenth)


@pytest.mark.parametrize("portrait", [COLLINS, HOPPER])
def test_portrait_that_is_missing_names_the_extra(portrait, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LrfaceError, match=r"pip install 'lrface\[demo\]'"):
        portrait.file()


@pytest.mark.parametrize(
    ("names", "right", "wrong", "false_alarms"),
    [
        ((COLLINS.name, None), 1, (0, 0), 0),
        ((None, None), 0, (0, 0), 0),
        ((None, COLLINS.name), 0, (0, 1), 0),
        (("Somebody else", None), 0, (1, 0), 0),
        ((COLLINS.name, None, None), 1, (0, 0), 1),
    ],
)
def test_tally(names, right, wrong, false_alarms):
    boxes = [(10, 10, 30, 40), (60, 10, 80, 40), (200, 200, 220, 230)]
    report = demo.DemoReport()
    faces = [identification(name, 0.5, box) for name, box in zip(names, boxes, strict=False)]
    report.add((boxes[0], boxes[1]), faces)
    enrolled, stranger = report.total(report.enrolled), report.total(report.stranger)
    assert (enrolled.shown, enrolled.found, enrolled.right) == (1, 1, right)
    assert (enrolled.wrong, stranger.wrong) == wrong
    assert report.false_alarms == false_alarms


def test_the_demo_itself(tmp_path, monkeypatch):
    def no_network(*_):
        raise AssertionError("the demo opened a connection")

    monkeypatch.setattr(socket, "socket", no_network)
    monkeypatch.setattr(socket, "create_connection", no_network)
    told: list[str] = []
    report = demo.run(tmp_path / "demo", told.append)
    enrolled, stranger = report.total(report.enrolled), report.total(report.stranger)
    assert enrolled.shown == stranger.shown == FRAMES
    assert enrolled.right >= 0.5 * FRAMES
    assert enrolled.wrong == 0
    assert stranger.found >= 0.7 * FRAMES
    assert stranger.wrong <= demo.MAX_MISNAMED * FRAMES
    folder = tmp_path / "demo" / "run-0001"
    names = {path.name for path in folder.iterdir()}
    assert {"clip.avi", "annotated.mp4", "contact-sheet.jpg", "identifications.jsonl", "demo.gallery"} <= names
    assert len(list(VideoSource(folder / "annotated.mp4"))) == FRAMES
    named = {
        face["name"]
        for line in (folder / "identifications.jsonl").read_text("utf-8").splitlines()
        for face in json.loads(line)["faces"]
    }
    assert named == {COLLINS.name, None}
    assert f"identified in {enrolled.right} of {FRAMES} frames" in "\n".join(told)
