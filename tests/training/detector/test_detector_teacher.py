"""What the detector is taught: the real YuNet's prediction."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
from scipy.special import expit, logit

from lrface.detection import open_detector
from training.detector.network import STRIDES
from training.detector.targets import ENLARGEMENT, HINT_CHANNELS, MISSED_SCORE, Teacher

HEIGHT, WIDTH = 192, 256


@pytest.fixture(scope="module")
def model(shared: Path) -> Path:
    return shared / "data" / "detectors" / "yunet_n_dynamic.onnx"


@pytest.fixture(scope="module")
def picture(shared: Path) -> np.ndarray:
    """A portrait whose face is some 20 pixels high, left of the middle."""
    portrait = cv2.imread(str(next((shared / "data" / "images" / "stage").rglob("*.png"))))
    canvas = np.full((HEIGHT, WIDTH, 3), 110, np.uint8)
    canvas[60:110, 40:90] = cv2.resize(portrait, (50, 50), interpolation=cv2.INTER_AREA)
    return canvas


def best(model: Path, picture: np.ndarray) -> float:
    found = open_detector(model, score_threshold=0.0, min_face=8).detect(picture)  # in its own size
    return float(found.scores[0])


def mirrored(cells: np.ndarray) -> np.ndarray:
    first, turned = 0, []
    for stride in STRIDES:
        rows, columns = HEIGHT // stride, WIDTH // stride
        turned.append(np.flip(cells[first : first + rows * columns].reshape(rows, columns, -1), 1).reshape(-1))
        first += rows * columns
    return np.concatenate(turned)


def test_a_face_gets_the_combined_score_of_three_predictions(model: Path, picture: np.ndarray) -> None:
    said = Teacher(model)(picture)
    assert [level.shape for level in said.features] == [(HINT_CHANNELS, HEIGHT // s, WIDTH // s) for s in STRIDES]
    own, other = best(model, picture), best(model, picture[:, ::-1].copy())
    enlarged = best(model, cv2.resize(picture, None, fx=ENLARGEMENT, fy=ENLARGEMENT, interpolation=cv2.INTER_LINEAR))
    assert max(own, other, enlarged) - min(own, other, enlarged) > 0.02, "they differ"
    top = said.scores.argmax()
    low, high = (expit((logit(least) + logit(enlarged)) / 2) for least in (min(own, other) - 0.05, max(own, other)))
    assert low < said.scores[top] < high + 1e-4
    x1, y1, x2, y2 = said.boxes[top]
    assert 40 < x1 < x2 < 90
    assert 60 < y1 < y2 < 110


def test_a_mirror_image_has_the_mirrored_prediction(
    model: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Teacher, "_rescored", lambda _self, _image, _boxes, scores: scores)
    said, turned = Teacher(model)(picture), Teacher(model)(picture[:, ::-1].copy())
    np.testing.assert_allclose(mirrored(turned.scores), said.scores, atol=1e-5)
    seen = said.scores > 0.1
    assert seen.any()
    np.testing.assert_allclose(WIDTH - mirrored(turned.boxes[:, 2])[seen], said.boxes[seen, 0], atol=1e-2)


def test_a_face_missed_when_enlarged_loses_and_other_cells_do_not_change(
    model: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = Teacher(model)
    with monkeypatch.context() as patch:
        patch.setattr(Teacher, "_rescored", lambda _self, _image, _boxes, scores: scores)
        before = teacher(picture).scores
    predict = Teacher._predict
    blind = np.zeros((round(HEIGHT * ENLARGEMENT), round(WIDTH * ENLARGEMENT), 3), np.uint8)
    monkeypatch.setattr(
        Teacher, "_predict", lambda self, image: predict(self, image if image.shape[0] == HEIGHT else blind)
    )
    after = teacher(picture).scores
    assert before.max() > 0.5
    assert after.max() == pytest.approx(expit((logit(before.max()) + logit(MISSED_SCORE)) / 2), abs=0.01)
    np.testing.assert_array_equal(after[before <= MISSED_SCORE], before[before <= MISSED_SCORE])
    nothing = np.full_like(picture, 110)
    assert teacher(nothing).scores.max() <= MISSED_SCORE
