"""What the detector is taught: YuNet's word, the real one's."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
from scipy.special import expit, logit

from lrface.detection import open_detector
from training.detector.network import STRIDES
from training.detector.targets import CLOSER, HINT, UNSEEN, Teacher

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


def test_a_face_is_what_three_looks_say_of_it(model: Path, picture: np.ndarray) -> None:
    said = Teacher(model)(picture)
    assert [level.shape for level in said.features] == [(HINT, HEIGHT // s, WIDTH // s) for s in STRIDES]
    own, other = best(model, picture), best(model, picture[:, ::-1].copy())
    closer = best(model, cv2.resize(picture, None, fx=CLOSER, fy=CLOSER, interpolation=cv2.INTER_LINEAR))
    assert max(own, other, closer) - min(own, other, closer) > 0.02, "looks that differ tell more"
    top = said.scores.argmax()
    low, high = (expit((logit(least) + logit(closer)) / 2) for least in (min(own, other) - 0.05, max(own, other)))
    assert low < said.scores[top] < high + 1e-4
    x1, y1, x2, y2 = said.boxes[top]
    assert 40 < x1 < x2 < 90
    assert 60 < y1 < y2 < 110


def test_a_mirror_image_has_the_mirrored_word_but_for_the_closer_look(
    model: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Teacher, "_reconsidered", lambda _self, _image, _boxes, scores: scores)
    said, turned = Teacher(model)(picture), Teacher(model)(picture[:, ::-1].copy())
    np.testing.assert_allclose(mirrored(turned.scores), said.scores, atol=1e-5)
    seen = said.scores > 0.1
    assert seen.any()
    np.testing.assert_allclose(WIDTH - mirrored(turned.boxes[:, 2])[seen], said.boxes[seen, 0], atol=1e-2)


def test_what_a_closer_look_does_not_see_loses_and_the_rest_of_the_cells_is_left(
    model: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = Teacher(model)
    with monkeypatch.context() as patch:
        patch.setattr(Teacher, "_reconsidered", lambda _self, _image, _boxes, scores: scores)
        before = teacher(picture).scores
    look = Teacher._look
    blind = np.zeros((round(HEIGHT * CLOSER), round(WIDTH * CLOSER), 3), np.uint8)
    monkeypatch.setattr(Teacher, "_look", lambda self, image: look(self, image if image.shape[0] == HEIGHT else blind))
    after = teacher(picture).scores
    assert before.max() > 0.5
    assert after.max() == pytest.approx(expit((logit(before.max()) + logit(UNSEEN)) / 2), abs=0.01)
    np.testing.assert_array_equal(after[before <= UNSEEN], before[before <= UNSEEN])
    nothing = np.full_like(picture, 110)
    assert teacher(nothing).scores.max() <= UNSEEN
