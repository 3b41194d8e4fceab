"""The detector's samples: views of scenes, what is known in them, and how often they are learned."""

from __future__ import annotations

import itertools
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pandas")

from labelled import labels_of

from lrface.types import Detections
from training.detector import scenes
from training.detector.augment import (
    MIRROR_ORDER,
    WARP,
    Sample,
    Views,
    clip_labels,
    mirror,
    random_view,
    transform_labels,
    warp,
)
from training.detector.batches import Batches
from training.detector.cells import cell_centres
from training.detector.network import STRIDES
from training.detector.recipe import Recipe
from training.detector.scenes import Labels, known_negatives
from training.detector.targets import HINT_CHANNELS, TeacherPrediction, without_known_negatives

RANDOM = np.random.default_rng(3)


def test_a_mirrored_face_has_its_left_eye_left() -> None:
    image = RANDOM.integers(0, 255, (100, 100, 3)).astype(np.uint8)
    labels = labels_of([[30, 36, 70, 88], [0, 0, 10, 12]])
    flipped, other = mirror(image, labels)
    np.testing.assert_array_equal(flipped[:, 0], image[:, -1])
    np.testing.assert_allclose(other.boxes[1], [90, 0, 100, 12])
    assert (other.landmarks[:, 0, 0] < other.landmarks[:, 1, 0]).all()
    again = mirror(flipped, other)
    np.testing.assert_array_equal(again[0], image)
    np.testing.assert_allclose(again[1].landmarks, labels.landmarks, atol=1e-4)
    assert sorted(MIRROR_ORDER) == list(range(5))


def test_turning_moves_landmarks_with_the_pixels() -> None:
    matrix = np.array([[0.0, -2.0, 300.0], [2.0, 0.0, 10.0]])  # a quarter turn at twice the size
    moved = transform_labels(labels_of([[30, 36, 70, 88]]), matrix, 2.0)
    np.testing.assert_allclose(moved.boxes, [[300 - 124 - 40, 110 - 52, 300 - 124 + 40, 110 + 52]])
    np.testing.assert_allclose(moved.landmarks[0, 0], [300 - 2 * 50, 10 + 2 * 38], atol=1e-4)


def marked_scene(grey: int, boxes: list[list[float]]) -> tuple[np.ndarray, Labels]:
    """A grey picture with a white spot at each landmark."""
    labels = labels_of(boxes)
    image = np.full((200, 240, 3), grey, np.uint8)
    for x, y in labels.landmarks.reshape(-1, 2):
        cv2.circle(image, (round(float(x)), round(float(y))), 3, (255, 255, 255), -1)
    return image, labels


def test_a_view_moves_its_labels_with_its_pixels() -> None:
    image, labels = marked_scene(60, [[90, 60, 150, 138]])
    shapes = []
    for k in range(60):
        canvas, found = random_view(image, labels, Views(side=160, stretched=1), np.random.default_rng(k))
        points = np.round(found.landmarks[0]).astype(int)
        inside = ((points >= 3) & (points < 157)).all(axis=1)
        assert (canvas[points[inside, 1], points[inside, 0]] > 150).all()
        sides = found.boxes[0, 2:] - found.boxes[0, :2]
        shapes.append(float(sides[0] / sides[1]) / (60 / 78))
    assert 0.15 < np.std(np.log(shapes)) < 0.25, "twice the logarithm's .1"


def test_the_background_is_seen_around_a_view_and_its_faces_known_where_seen() -> None:
    front, faces = marked_scene(60, [[90, 60, 150, 138]])
    views, clear, hidden = Views(side=160, scale=(0.3, 0.6), zoom=0, stretched=1), 0, 0
    for k in range(40):
        corners = [[x, y, x + 20, y + 26] for x in (0, 46, 92, 138) for y in (0, 44, 88, 132)]
        faces_behind = labels_of([[float(v) for v in box] for box in corners])
        background = np.full((160, 160, 3), (0, 0, 200), np.uint8), faces_behind
        canvas, found = random_view(front, faces, views, np.random.default_rng(k), background)
        np.testing.assert_allclose(
            found.boxes[0], random_view(front, faces, views, np.random.default_rng(k))[1].boxes[0]
        )
        red = (canvas == (0, 0, 200)).all(axis=2)
        assert 0.1 < red.mean() < 0.99
        for box, ignored in zip(found.boxes[1:].astype(int), found.ignored[1:], strict=True):
            seen = red[box[1] : box[3], box[0] : box[2]]
            around = red[max(0, box[1] - 2) : box[3] + 2, max(0, box[0] - 2) : box[2] + 2]
            assert around.any(), "what is hidden is no label"
            assert ignored or seen.mean() > 0.9
            assert not ignored or not seen.all()
            clear, hidden = clear + (not ignored), hidden + ignored
    assert min(clear, hidden) > 30


def test_an_elastic_deformation_moves_everything_a_little() -> None:
    across = np.tile(np.arange(0, 240, dtype=np.uint8)[None, :, None], (240, 1, 3))
    moved = warp(across, np.random.default_rng(1))
    assert moved.dtype == np.uint8
    off = (moved.astype(float) - across)[40:-40, 40:-40]
    assert WARP / 3 < np.abs(off).mean() < WARP * 1.2
    assert np.abs(np.diff(off, axis=1)).max() < 2, "neighbours go together"
    np.testing.assert_array_equal(warp(across, np.random.default_rng(1)), moved)


def test_faces_too_small_or_cut_off_are_ignored() -> None:
    boxes = [[10, 10, 30, 34], [10, 10, 14, 15], [-18, 10, 6, 40], [-4, 10, 20, 40], [-30, 0, -2, 20]]
    found = clip_labels(labels_of(boxes), 100)
    assert found.ignored.tolist() == [False, True, True, False]
    assert found.boxes[3].tolist() == [0, 10, 20, 40]
    assert found.marked.tolist() == [True, True, False, True]


def test_a_known_negative_stays_one_in_every_view() -> None:
    boxes = np.array([[10, 10, 30, 36], [60, 60, 90, 100], [64, 62, 92, 100]], np.float32)
    animal = known_negatives(Detections.from_arrays(boxes[:1], np.float32([0.7]), np.zeros((1, 5, 2), np.float32)))
    assert (animal.ignored & animal.negative).all()
    both = Labels.joined([animal, labels_of([boxes[1].tolist()]), replace(animal, boxes=boxes[2:])])
    prediction = TeacherPrediction(np.float32([0.7, 0.6, 0.9, 0.01]), boxes[[0, 0, 1, 1]] + 1, [])
    scores = without_known_negatives(prediction, both).scores
    assert scores.tolist() == pytest.approx([0, 0, 0.9, 0.01])  # the third is a face's sooner
    assert without_known_negatives(prediction, both[1:2]) is prediction
    assert prediction.scores[0] == pytest.approx(0.7)
    over = mirror(np.zeros((128, 128, 3), np.uint8), animal)[1]
    assert over.negative.all()
    assert clip_labels(over, 128).negative.all()


def test_a_sample_is_learned_four_times_twice_mirrored_each_time_with_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    centres = cell_centres(64, 64)[0].numpy()
    names = itertools.count()

    def drawn(*_: object) -> Sample:
        """A picture that tells its number, with a face left of its middle."""
        image = np.zeros((64, 64, 3), np.uint8)
        image[:] = np.frombuffer(next(names).to_bytes(3, "big"), np.uint8)
        return Sample(image, labels_of([[4, 10, 24, 36]]))

    def teacher(image: np.ndarray) -> TeacherPrediction:
        scores = np.where((np.abs(centres - [14, 23]) < 8).all(axis=1), 0.5, 0).astype(np.float32)
        features = [np.full((HINT_CHANNELS, 64 // s, 64 // s), float(image[0, 0, 2]), np.float32) for s in STRIDES]
        return TeacherPrediction(scores, np.tile(np.float32([4, 10, 24, 36]), (len(centres), 1)), features)

    monkeypatch.setattr("training.detector.batches.draw", drawn)
    batches = Batches(SimpleNamespace(train=np.arange(3)), None, teacher, Recipe(batch=8))
    learned: dict[int, list[int]] = {}
    met = set()
    for step in range(560):
        batch = batches[step]
        numbers = [int.from_bytes(bytes(image[:, 0, 0].tolist()), "big") for image in batch.images]
        assert [len(hint) for hint in batch.hints] == [4] * 3
        assert batch.hints[0][:, 0, 0, 0].tolist() == [number % 256 for number in numbers[:4]]
        for row, number in enumerate(numbers):
            own = batch.picture == row
            middle = 50.0 if row >= 4 else 14.0
            assert (batch.boxes[own, 0] + batch.boxes[own, 2]).unique().tolist() == [2 * middle]
            assert centres[batch.cell[own]].mean(axis=0) == pytest.approx([middle, 23], abs=3)
            learned.setdefault(number, []).append(row)
        pairs = {(a, b) for a in numbers for b in numbers if b - a > 1}  # two are drawn at a time
        assert not pairs & met
        met |= pairs
    assert sum(len(rows) == 4 for rows in learned.values()) > 560
    for rows in learned.values():
        assert len(rows) < 4 or sum(row >= 4 for row in rows) == 2


def test_only_detections_in_training_scenes_without_people_are_known_negatives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sees:
        def detect(self, image: np.ndarray) -> Detections:
            box = np.float32([[0.25, 0.25, 0.5, 0.5]]) * image.shape[0]
            return Detections.from_arrays(box, np.float32([0.2]), np.zeros((1, 5, 2), np.float32) + box[:, None, :2])

    asked: list[float] = []
    monkeypatch.setattr(scenes, "open_detector", lambda *_, score_threshold: asked.append(score_threshold) or Sees())
    names = [f"raccoon_{i:04d}.webp" for i in range(20)]
    with zipfile.ZipFile(tmp_path / "scenes.zip", "w") as pack:
        for name in names:
            pack.writestr(name, cv2.imencode(".webp", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    (tmp_path / "boxes.csv").write_text("file,x1,y1,x2,y2,source,label\nraccoon_0000.webp,1,1,9,9,annotated,face\n")
    (tmp_path / "teacher.onnx").touch()
    loaded = scenes.load_scenes(tmp_path, tmp_path / "cache", tmp_path / "teacher.onnx")
    assert min(asked) == scenes.MIN_SCORE
    held = {loaded.names[i] for i in loaded.validation}
    assert 0 < len(held) < 20
    for i, name in enumerate(loaded.names):
        negative = loaded.labels(i).negative
        assert negative.any() == (name not in held and name != "raccoon_0000.webp")
        assert not len(negative) or len(negative) <= 4, "detections of several views are merged"
