"""Models and detectors that give nonsense end in an LrfaceError; mistakes of our own are not blamed on the model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_detectors import FakeSession, fake

from lrface.detection.decode import STRIDES, decode_contract, decode_scrfd, decode_yunet
from lrface.detection.input_tensor import InputSpec
from lrface.detection.insightface import InsightFaceDetector
from lrface.detection.landmark_refinement import INPUT_SIDE, LandmarkRefiner
from lrface.detection.onnx_detector import OnnxDetector
from lrface.errors import ArgumentError, LrfaceError, ModelError
from lrface.matcher import FaceMatcher
from lrface.models.manifest import LandmarkerEntry, ModelInput
from lrface.types import Detections

PICTURE = np.zeros((64, 96, 3), np.uint8)
BAD = [np.nan, np.inf, -np.inf]


class Session(FakeSession):
    """Gives fixed outputs, or raises."""

    def __init__(self, outputs: list[np.ndarray] | Exception) -> None:
        super().__init__([], [])
        self.outputs = outputs

    def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        if isinstance(self.outputs, Exception):
            raise self.outputs
        return self.outputs


def detector(*outputs: np.ndarray) -> OnnxDetector:
    return OnnxDetector(Session(list(outputs)), decode_contract("boxes", "scores", "landmarks"), InputSpec(), 0.5)


def outputs(count: int = 3) -> list[np.ndarray]:
    """Boxes, scores and landmarks as the contract has them."""
    boxes = np.tile(np.float32([10, 10, 30, 40]), (1, count, 1))
    return [boxes, np.full((1, count), 0.9, np.float32), np.full((1, count, 5, 2), 20, np.float32)]


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("which", [0, 1, 2], ids=["boxes", "scores", "landmarks"])
def test_values_that_are_not_finite_are_an_error_never_a_face_and_never_no_face(which: int, value: float) -> None:
    given = outputs()
    given[which].reshape(-1)[-1] = value
    with pytest.raises(ModelError, match="not finite"):
        detector(*given).detect(PICTURE)


def test_boxes_of_candidates_below_the_threshold_may_be_anything() -> None:
    given = outputs()
    given[1][0, -1] = 0.1
    given[0][0, -1] = np.nan
    assert len(detector(*given).detect(PICTURE)) == 1


@pytest.mark.parametrize(
    ("which", "shape"),
    [
        (0, (1, 2, 4)),
        (0, (1, 3, 5)),
        (1, (1, 2)),
        (1, (1, 3, 2)),
        (2, (1, 3, 10, 2)),
        (2, (1, 3, 4, 2)),
        (0, (2, 3, 4)),
    ],
)
def test_outputs_of_wrong_shapes_are_an_error(which: int, shape: tuple[int, ...]) -> None:
    given = outputs()
    given[which] = np.zeros(shape, np.float32)
    with pytest.raises(ModelError, match="use another model"):
        detector(*given).detect(PICTURE)


def test_outputs_for_fewer_pictures_than_given_are_an_error() -> None:
    with pytest.raises(ModelError, match="for 2 pictures"):
        detector(*outputs()).detect_batch([PICTURE, PICTURE])


def yunet(**changed: np.ndarray) -> dict[str, np.ndarray]:
    widths = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    cells = {stride: (64 // stride) * (96 // stride) for stride in STRIDES}
    full = {
        f"{name}_{s}": np.zeros((1, cells[s], width), np.float32) for name, width in widths.items() for s in STRIDES
    }
    return full | changed


def scrfd(**changed: np.ndarray) -> dict[str, np.ndarray]:
    cells = {stride: 2 * (64 // stride) * (96 // stride) for stride in STRIDES}
    return {f"o{w}_{s}": np.zeros((cells[s], w), np.float32) for w in (1, 4, 10) for s in STRIDES} | changed


@pytest.mark.parametrize(
    ("decode", "given"),
    [
        (decode_yunet, yunet(cls_8=np.zeros((1, 7, 1), np.float32))),
        (decode_yunet, yunet(kps_32=np.zeros((1, 6, 8), np.float32))),
        (decode_yunet, yunet(bbox_16=np.zeros((1, 0, 4), np.float32))),
        (decode_scrfd, scrfd(o4_8=np.zeros((7, 4), np.float32))),
        (decode_scrfd, scrfd(o1_8=np.zeros((7, 1), np.float32))),
        (decode_scrfd, scrfd(o10_16=np.zeros((12, 9), np.float32))),
        (decode_scrfd, scrfd(more=np.zeros((12, 4), np.float32))),
    ],
)
def test_peers_with_outputs_of_wrong_shapes_are_an_error(decode: Any, given: dict[str, np.ndarray]) -> None:
    decode(yunet() if decode is decode_yunet else scrfd(), 64, 96)
    with pytest.raises(ModelError, match="use another model"):
        decode(given, 64, 96)


def test_a_failing_run_is_the_models_a_mistake_of_ours_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = detector()
    failing._session.outputs = RuntimeError("out of memory")
    with pytest.raises(ModelError, match=r"out of memory.*use another model"):
        failing.detect(PICTURE)
    ours = detector(*outputs())

    def broken(*_: object) -> None:
        raise IndexError("our own")

    monkeypatch.setattr(ours, "_in_source", broken)
    with pytest.raises(IndexError, match="our own"):
        ours.detect(PICTURE)


@pytest.mark.parametrize(
    ("points", "error", "said"),
    [
        (np.full((1, 5, 2), np.nan), np.zeros(1), "not finite"),
        (np.full((1, 5, 2), 9.0), np.full(1, np.inf), "not finite"),
        (np.zeros((1, 4, 2)), np.zeros(1), "export it again"),
        (np.zeros((2, 5, 2)), np.zeros(2), "export it again"),
    ],
)
def test_a_refining_network_that_gives_nonsense_is_an_error(points: np.ndarray, error: np.ndarray, said: str) -> None:
    session = SimpleNamespace(
        get_inputs=lambda: [SimpleNamespace(name="frames", shape=["n", 3, INPUT_SIDE, INPUT_SIDE])],
        run=lambda *_: [points.astype(np.float32), error.astype(np.float32)],
    )
    given = ModelInput("frames", "BGR", 0, 1, INPUT_SIDE, INPUT_SIDE)
    refiner = LandmarkRefiner(session, LandmarkerEntry("tiny", "tiny.onnx", "", "", "", given, "landmarks", "error"))
    face = np.array([[[20, 20], [30, 20], [25, 26], [21, 31], [29, 31]]], np.float32)
    with pytest.raises(ModelError, match=said):
        refiner.refine_landmarks(PICTURE, face)


def insightface(found: object, landmarks: object) -> InsightFaceDetector:
    """The detector of InsightFace's package without that package."""
    made = InsightFaceDetector.__new__(InsightFaceDetector)

    def detect(_: np.ndarray) -> tuple[object, object]:
        if isinstance(found, Exception):
            raise found
        return found, landmarks

    made._model = SimpleNamespace(detect=detect)
    return made


FOUND, MARKS = np.float32([[10, 10, 30, 40, 0.9], [50, 10, 60, 20, 0.8]]), np.full((2, 5, 2), 20, np.float32)


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("column", [0, 3, 4])
def test_an_insightface_detector_that_gives_nonsense_is_an_error(column: int, value: float) -> None:
    assert len(insightface(FOUND, MARKS).detect(PICTURE)) == 2
    found = FOUND.copy()
    found[1, column] = value
    with pytest.raises(LrfaceError, match="not finite"):
        insightface(found, MARKS).detect(PICTURE)


def test_an_insightface_detector_that_fails_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"InsightFace's detector failed.*bad shape"):
        insightface(ValueError("bad shape"), None).detect(PICTURE)
    with pytest.raises(ModelError, match="no landmarks"):
        insightface(FOUND, None).detect(PICTURE)


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("which", ["boxes", "scores", "landmarks"])
def test_an_own_detector_that_gives_nonsense_ends_in_an_error_of_lrface(which: str, value: float) -> None:
    class Own:
        def detect(self, image: np.ndarray) -> Detections:
            arrays = {"boxes": np.float32([[10, 10, 30, 40]]), "scores": np.float32([0.9])}
            arrays["landmarks"] = np.float32([[[15, 20], [25, 20], [20, 25], [16, 32], [24, 32]]])
            arrays[which].reshape(-1)[0] = value
            return Detections(**arrays)

    with FaceMatcher.open(":memory:", detector=Own()) as matcher, pytest.raises(LrfaceError, match=which):
        matcher.identify(PICTURE)


@pytest.mark.parametrize("threshold", [np.nan, -0.1, 1.1, np.inf])
def test_a_score_threshold_outside_of_its_range_is_refused(threshold: float) -> None:
    with pytest.raises(ArgumentError, match="score_threshold"):
        OnnxDetector(FakeSession([], []), decode_contract("boxes", "scores", "landmarks"), InputSpec(), threshold)


def test_a_smallest_face_without_bound_is_refused() -> None:
    with pytest.raises(ArgumentError, match="4 pixels or more"):
        fake([], [], min_face=np.inf)
