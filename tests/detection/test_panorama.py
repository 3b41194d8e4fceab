"""Wide pictures: faces are found by their size in the picture, not by the picture's long side alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from fake_detectors import fake, portraits

from lrface.alignment import align_faces
from lrface.detection import open_detector
from lrface.detection.input_tensor import InputSpec
from lrface.detection.pyramid import LONG_SIDE, PANORAMA, TILE, plan_pyramid, working_scale
from lrface.geometry import box_iou

SHORT, LONG = 512, 40_000


def panorama(face: int, centres: list[float], tall: bool) -> tuple[np.ndarray, np.ndarray]:
    """A picture of 40,000 x 512 px with a portrait, its face so many px high, at some places; the faces' boxes [n, 4].

    Args:
        face: Height, px.
        centres: Where the centres of the faces lie on the long side.
        tall: Whether the long side is the height.
    """
    image, box = portraits()["astronaut"]
    scale = face / (box[3] - box[1])
    part = cv2.resize(image[20:260, 120:330], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    first = (np.array(box) - [120, 20, 120, 20]) * scale
    middle = (first[:2] + first[2:]) / 2
    picture = np.full((LONG, SHORT, 3) if tall else (SHORT, LONG, 3), 110, np.uint8)
    boxes = []
    for centre in centres:
        x, y = (np.array([250, centre] if tall else [centre, 250]) - middle).round().astype(int)
        picture[y : y + part.shape[0], x : x + part.shape[1]] = part
        boxes.append(first + np.array([x, y, x, y]))
    return picture, np.array(boxes, np.float32)


@pytest.mark.parametrize("tall", [False, True], ids=["wide", "tall"])
@pytest.mark.parametrize("face", [40, 117, 200])
def test_faces_of_a_panorama_are_found_once_also_where_tiles_meet(face: int, tall: bool) -> None:
    tiles = plan_pyramid(*((LONG, SHORT) if tall else (SHORT, LONG)), 1.0, TILE, 32, None)[0]
    seams = sorted(tile.core[1 if tall else 0] for tile in tiles)[1:]  # the first tile has none at its beginning
    picture, boxes = panorama(face, [200.0, seams[0], seams[2] - 20, seams[7] + face / 2, LONG - 250.0], tall)
    found = open_detector(score_threshold=0.6).detect(picture)
    assert (box_iou(boxes, found.boxes) > 0.5).sum(axis=1).tolist() == [1] * len(boxes)
    assert len(found) == len(boxes)
    for alignment in align_faces(found.landmarks):
        assert alignment is not None
        assert 0.5 * face < alignment.native_px < 1.4 * face
        assert alignment.crop(picture).std() > 20, "a face, not the wall"


@pytest.mark.parametrize(
    ("height", "width", "scale"),
    [
        (512, 40_000, 1.0),
        (40_000, 512, 1.0),
        (1000, 10_000, LONG_SIDE / (PANORAMA * 1000)),
        (1440, 5120, LONG_SIDE / (PANORAMA * 1440)),  # two cameras side by side
        (1080, 2400, 0.8),  # a telephone
        (1080, 1920, 1.0),
        (2160, 3840, 0.5),
        (5, 6000, LONG_SIDE / 6000),  # no face has room there: the least work
        (300, 1000, 1.0),
        (100, 600, 640 / 600),
    ],
)
def test_the_working_scale_of_a_panorama_goes_with_its_short_side(height: int, width: int, scale: float) -> None:
    assert working_scale(height, width) == pytest.approx(scale)


def test_a_graph_of_one_fixed_size_takes_a_panorama_in_tiles() -> None:
    detector = fake([[0, 0, 9, 9]], [0.0], InputSpec(fixed=640))
    detector.detect(np.zeros((256, 20_000, 3), np.uint8))
    fed = detector._session.fed
    assert {tensor.shape[2:] for tensor in fed} == {(640, 640)}
    assert len(fed) > 20
    assert working_scale(256, 20_000, fixed=640) == 1.0
