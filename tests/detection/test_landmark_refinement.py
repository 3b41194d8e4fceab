"""Landmark refinement: its input and back, which faces are refined, roll of a leaning head."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from fake_detectors import portraits

from lrface.alignment import CROP, TEMPLATE, estimate_similarity
from lrface.detection import detect_roughly, open_detector, refine_further
from lrface.detection.landmark_refinement import (
    CONTEXT,
    INPUT_SIDE,
    INPUT_TEMPLATE,
    ITERATIONS,
    LandmarkRefiner,
    input_matrix,
)
from lrface.errors import ModelError
from lrface.geometry import inverse_transform_points, transform_points
from lrface.models.manifest import LandmarkerEntry, ModelInput
from lrface.types import Detections


class FakeSession:
    """A network that sees the face `step` input pixels to the right of where it was thought to be."""

    def __init__(self, step: float, side: int = INPUT_SIDE) -> None:
        self.step, self.side = step, side
        self.fed: list[np.ndarray] = []

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="frames", shape=["batch", 3, self.side, self.side])]

    def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.fed.append(feed["frames"])
        count = len(feed["frames"])
        points = np.repeat(INPUT_TEMPLATE[None] + np.float32([self.step, 0]), count, axis=0)
        return [points, np.full(count, 0.25, np.float32)]


def refiner(step: float = 0.0, side: int = INPUT_SIDE) -> LandmarkRefiner:
    given = ModelInput("frames", "BGR", 0, 1, INPUT_SIDE, INPUT_SIDE)
    entry = LandmarkerEntry("tiny", "tiny.onnx", "0" * 64, "", "", given, "landmarks", "error")
    return LandmarkRefiner(FakeSession(step, side), entry)


def face(width: float, x: float, y: float, degrees: float = 0.0) -> np.ndarray:
    """Landmarks of a face whose canonical crop is `width` pixels wide."""
    turn = np.exp(1j * np.radians(degrees)) * width / CROP
    points = (TEMPLATE[:, 0] - CROP / 2 + 1j * (TEMPLATE[:, 1] - CROP / 2)) * turn
    return np.stack([points.real + x, points.imag + y], axis=1).astype(np.float32)


@pytest.mark.parametrize("degrees", [0, 30, -90])
@pytest.mark.parametrize("width", [7, 30, 300])
def test_the_input_shows_the_face_upright_with_its_surroundings(width: float, degrees: float) -> None:
    points = face(width, 100, 80, degrees)
    matrix = input_matrix(estimate_similarity(points))
    np.testing.assert_allclose(transform_points(points, matrix), INPUT_TEMPLATE, atol=1e-3)
    np.testing.assert_allclose(inverse_transform_points(INPUT_TEMPLATE, matrix), points, atol=1e-2)
    np.testing.assert_allclose(np.hypot(matrix[0, 0], matrix[1, 0]) * width * CONTEXT, INPUT_SIDE, rtol=1e-4)
    # the centre of the crop is the centre of the input
    middle = inverse_transform_points(np.array([(INPUT_SIDE - 1) / 2] * 2), matrix)
    crop = estimate_similarity(points)
    np.testing.assert_allclose(middle @ crop[:, :2].T + crop[:, 2], [(CROP - 1) / 2] * 2, atol=0.05)


def test_each_iteration_starts_where_the_last_ended() -> None:
    lying, large, none = face(20, 60, 60, 90), face(80, 150, 100), np.full((5, 2), 30, np.float32)
    found = Detections.from_arrays(np.zeros((3, 4)), [0.9, 0.8, 0.7], np.stack([lying, large, none]))
    refining = refiner(step=1.2)
    refined = refining.refine(np.zeros((200, 200, 3), np.uint8), found)
    assert [tensor.shape for tensor in refining._session.fed] == [(2, 3, INPUT_SIDE, INPUT_SIDE)] * ITERATIONS
    # one pixel of the input is CONTEXT * width / 48 pixels; for the lying face its right is downwards in the picture
    step = ITERATIONS * 1.2 * CONTEXT / INPUT_SIDE
    np.testing.assert_allclose(refined.landmarks[0], lying + np.array([0, 20 * step]), atol=1e-3)
    np.testing.assert_allclose(refined.landmarks[1], large + np.array([80 * step, 0]), atol=1e-3)
    np.testing.assert_array_equal(refined.landmarks[2], none)
    np.testing.assert_array_equal(refined.boxes, found.boxes)
    assert refined.landmark_errors is not None
    assert np.isnan(refined.landmark_errors).tolist() == [False, False, True]


def test_faces_that_are_only_followed_are_refined_once_and_those_to_embed_as_in_a_photo() -> None:
    detector = open_detector()
    two = np.hstack([portraits()[name][0][:400, :400] for name in ("astronaut", "hopper")])
    runs: list[int] = []  # faces in each run of the network
    predict = detector.refiner.predict
    detector.refiner.predict = lambda crops: (runs.append(len(crops)), predict(crops))[1]
    photo = detector.detect(two)
    assert runs == [len(photo)] * ITERATIONS
    assert len(photo) == 2
    runs.clear()
    followed = detect_roughly(detector, two)
    assert runs == [len(photo)]
    np.testing.assert_array_equal(followed.boxes, photo.boxes)
    for rows in ([], [len(photo) - 1], list(range(len(photo)))):
        wanted = refine_further(detector, two, followed[rows])
        np.testing.assert_allclose(wanted.landmarks, photo.landmarks[rows], atol=1e-3)
        np.testing.assert_allclose(wanted.landmark_errors, photo.landmark_errors[rows], atol=1e-4)


def test_a_detector_of_the_users_own_needs_no_second_step() -> None:
    found = Detections.from_arrays(np.array([[0, 0, 9, 9]]), [0.9], face(9, 4, 4)[None])

    class Own:
        def detect(self, image: np.ndarray) -> Detections:
            return found

    image = np.zeros((20, 20, 3), np.uint8)
    assert detect_roughly(Own(), image) is found
    assert refine_further(Own(), image, found) is found


def test_many_faces_go_in_batches_and_no_face_in_none() -> None:
    refining = refiner()
    picture = np.zeros((40, 40, 3), np.uint8)
    landmarks, error = refining.refine_landmarks(picture, np.stack([face(20, 20, 20)] * 150))
    assert [len(tensor) for tensor in refining._session.fed] == [64, 64, 22] * ITERATIONS
    np.testing.assert_allclose(landmarks, np.stack([face(20, 20, 20)] * 150), atol=1e-3)
    assert (error == 0.25).all()
    assert len(refining.refine(picture, Detections.empty())) == 0
    assert np.isnan(refining.refine_landmarks(picture, np.zeros((1, 5, 2), np.float32))[1]).all()


@pytest.mark.parametrize("at", [(-500, -500), (0, 0), (39, 39)])
def test_a_face_beyond_the_border_has_finite_landmarks(at: tuple[int, int]) -> None:
    landmarks, _ = refiner().refine_landmarks(np.full((40, 40, 3), 9, np.uint8), face(20, *at)[None])
    assert np.isfinite(landmarks).all()


def test_a_model_of_another_size_is_refused() -> None:
    with pytest.raises(ModelError, match="export it again"):
        refiner(side=32)


def roll(landmarks: np.ndarray) -> float:
    matrix = estimate_similarity(landmarks)
    return float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))


@pytest.mark.parametrize("name", ["astronaut", "hopper"])
@pytest.mark.parametrize("height", [20, 28, 40])
def test_a_head_that_leans_is_aligned_upright(name: str, height: int) -> None:
    """Small detectors put the same upright pattern into every box."""
    image, box = portraits()[name]
    middle, scale = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), height / (box[3] - box[1])
    detector = open_detector(score_threshold=0.3)
    rolls = []
    for degrees in (-20, 0, 20):
        turn = cv2.getRotationMatrix2D(middle, degrees, 1.0)
        turned = cv2.warpAffine(image, turn, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        small = cv2.resize(turned, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        canvas = np.full((max(96, small.shape[0]), max(96, small.shape[1]), 3), 90, np.uint8)
        canvas[: small.shape[0], : small.shape[1]] = small
        rolls.append(roll(detector.detect(canvas).landmarks[0]))
    assert rolls[1] - rolls[0] == pytest.approx(20, abs=10)
    assert rolls[2] - rolls[1] == pytest.approx(20, abs=10)
