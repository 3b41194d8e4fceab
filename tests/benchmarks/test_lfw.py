"""LFW's protocol and its scene degradation, on pictures whose every grey level says where it comes from."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("pandas")

from benchmarks.lfw import scene_crops
from benchmarks.lib.datasets.xqlfw import read_pairs
from lrface.alignment import TEMPLATE, align
from lrface.types import Detections

SIDE, OFFSET, SCALE = 250, 60.0, 1.15


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """One picture: blue grows by one with x, green with y."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.uint8)
    path = tmp_path / "lfw.zip"
    with zipfile.ZipFile(path, "w") as file:
        encoded = cv2.imencode(".png", np.stack([x, y, x], axis=-1))[1]
        file.writestr("lfw-deepfunneled/a/a_0001.jpg", encoded.tobytes())
    return path


class _Finder:
    """Finds a face at given landmarks, in pixels of the picture that it is shown."""

    def __init__(self, *landmarks: np.ndarray) -> None:
        self.landmarks = np.array(landmarks, np.float32).reshape(-1, 5, 2)

    def detect(self, image: np.ndarray) -> Detections:
        boxes = np.concatenate([self.landmarks.min(axis=1), self.landmarks.max(axis=1)], axis=1)
        return Detections(boxes, np.ones(len(boxes), np.float32), self.landmarks)


KNOWN = (TEMPLATE * SCALE + OFFSET).astype(np.float32)


def _where(crop: np.ndarray) -> np.ndarray:
    """Where in the picture each landmark of a canonical crop comes from, by its colour."""
    return np.array([cv2.getRectSubPix(crop.astype(np.float32), (1, 1), (float(x), float(y)))[0, 0, :2]
                     for x, y in TEMPLATE])  # fmt: skip


@pytest.mark.parametrize("size", [112, 64, 32, 20])
def test_known_landmarks_stay_where_they_are_in_the_shrunk_picture(archive: Path, size: int) -> None:
    crops, found = scene_crops(archive, ["a/a_0001.jpg"], KNOWN[None], size, None)
    assert crops.shape == (1, 112, 112, 3)
    np.testing.assert_allclose(_where(crops[0]), KNOWN, atol=1.0)  # half a small pixel off would be up to 3
    assert found == 0


def test_a_face_that_is_small_already_is_not_blown_up(archive: Path) -> None:
    crops, _ = scene_crops(archive, ["a/a_0001.jpg"], KNOWN[None], 200, None)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.uint8)
    np.testing.assert_array_equal(crops[0], align(np.stack([x, y, x], axis=-1), KNOWN))


def test_what_is_found_near_the_face_is_it_and_elsewhere_is_not(archive: Path) -> None:
    ratio = round(SIDE * 32 / (112 * SCALE)) / SIDE
    here = (KNOWN + 0.5) * ratio - 0.5
    for shift, counted in ((3.0, 1.0), (20.0, 0.0)):
        crops, found = scene_crops(archive, ["a/a_0001.jpg"], KNOWN[None], 32, _Finder(here + shift))
        assert found == counted
        moved = KNOWN + shift / ratio if counted else KNOWN
        np.testing.assert_allclose(_where(crops[0]), moved, atol=1.0)
    crops, found = scene_crops(archive, ["a/a_0001.jpg"], KNOWN[None], 32, _Finder())
    assert found == 0
    np.testing.assert_allclose(_where(crops[0]), KNOWN, atol=1.0)


def test_pairs_are_read_with_their_folds(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("2\t1\nA\t1\t2\nA\t1\tB\t3\nC\t4\t5\nC\t1\tD\t12\n")
    names, same, fold = read_pairs(path)
    assert names[1] == ("A/A_0001.jpg", "B/B_0003.jpg")
    assert names[3][1] == "D/D_0012.jpg"
    assert same.tolist() == [True, False, True, False]
    assert fold.tolist() == [0, 0, 1, 1]
    path.write_text("3\t1\nA\t1\t2\nA\t1\tB\t3\n")
    with pytest.raises(ValueError, match="2 pairs in 2 lines, but the first line is '3"):
        read_pairs(path)
