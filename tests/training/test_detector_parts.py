"""The detector's parts: coding, losses, assignment and labels against slow forms and closed ones."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pd = pytest.importorskip("pandas")

from training.detector.assign import IOU_WEIGHT, TOP, assign, candidates, ignored_cells
from training.detector.augment import MIRRORED, mirror, settle, turned
from training.detector.cells import cell_centres, decode, encode, flatten
from training.detector.losses import eiou_loss, landmark_loss, pair_iou, quality_focal_loss
from training.detector.network import STRIDES
from training.detector.scenes import Labels

RANDOM = np.random.default_rng(3)
FACE = np.array([(38, 50), (62, 50), (50, 62), (41, 74), (59, 74)], np.float32)  # landmarks in a box 30, 36, 70, 88


def random_boxes(count: int, side: int = 128) -> torch.Tensor:
    corners = torch.from_numpy(RANDOM.uniform(0, side - 30, (count, 2)).astype(np.float32))
    return torch.cat([corners, corners + torch.from_numpy(RANDOM.uniform(6, 60, (count, 2)).astype(np.float32))], 1)


def labels_of(boxes: list[list[float]], ignored: list[bool] | None = None) -> Labels:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    marks = array[:, None, :2] + (FACE - (30, 36)) / (40, 52) * (array[:, None, 2:] - array[:, None, :2])
    return Labels(
        array, marks.astype(np.float32), np.ones(len(array), bool), np.array(ignored or [False] * len(array), bool)
    )


def test_cells_are_in_the_order_of_the_flattened_maps() -> None:
    height, width = 64, 96
    maps = [torch.zeros(1, 15, height // s, width // s) for s in STRIDES]
    for stride, values in zip(STRIDES, maps, strict=True):
        for r in range(values.shape[2]):
            for c in range(values.shape[3]):
                values[0, 1:4, r, c] = torch.tensor([(c + 0.5) * stride, (r + 0.5) * stride, stride])
    flat = flatten(maps)[0]
    centres, strides = cell_centres(height, width)
    torch.testing.assert_close(flat[:, 1:3], centres)
    torch.testing.assert_close(flat[:, 3], strides)


def test_decode_undoes_encode() -> None:
    centres, strides = cell_centres(64, 64)
    boxes = random_boxes(len(centres))
    marks = boxes[:, None, :2] + torch.rand(len(boxes), 5, 2) * 20
    values = torch.cat([torch.zeros(len(boxes), 1), encode(boxes, marks, centres, strides)], 1)
    found, _, points = decode(values, centres, strides)
    torch.testing.assert_close(found, boxes, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(points, marks, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("logit", "quality", "expected"),
    [
        (0.0, 0.5, 0.0),
        (0.0, 1.0, 0.25 * np.log(2)),
        (0.0, 0.0, 0.25 * np.log(2)),
        (np.log(3), 1.0, (1 / 4) ** 2 * -np.log(3 / 4)),
        (np.log(3), 0.0, (3 / 4) ** 2 * -np.log(1 / 4)),
        (40.0, 1.0, 0.0),
    ],
)
def test_quality_focal_loss_in_closed_form(logit: float, quality: float, expected: float) -> None:
    found = quality_focal_loss(torch.tensor([logit]), torch.tensor([quality]))
    assert found.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("box", "target", "expected"),
    [
        ([0, 0, 10, 10], [0, 0, 10, 10], 0.0),
        ([0, 0, 10, 10], [10, 0, 20, 10], 1 + 100 / (400 + 100)),  # beside: no overlap, equal sides
        ([0, 0, 10, 10], [0, 0, 20, 20], 1 - 1 / 4 + 50 / 800 + 100 / 400 + 100 / 400),
    ],
)
def test_eiou_in_closed_form(box: list[float], target: list[float], expected: float) -> None:
    assert eiou_loss(torch.tensor([box]) + 0.0, torch.tensor([target]) + 0.0).item() == pytest.approx(
        expected, rel=1e-5
    )


def test_pair_iou_is_the_slow_one() -> None:
    a, b = random_boxes(50), random_boxes(50)
    for one, other, found in zip(a.tolist(), b.tolist(), pair_iou(a, b).tolist(), strict=True):
        w = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
        h = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
        areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (one, other)]
        assert found == pytest.approx(w * h / (sum(areas) - w * h), abs=1e-5)


def test_landmark_loss_is_in_units_of_the_face() -> None:
    marks = torch.zeros(2, 5, 2)
    boxes = torch.tensor([[0.0, 0, 20, 20], [0, 0, 80, 80]])
    # beyond beta: |error| - beta / 2, of the face's size
    assert landmark_loss(marks + 2, marks, boxes, beta=0.02)[0].item() == pytest.approx(0.1 - 0.01, abs=1e-6)
    wide, far = landmark_loss(torch.stack([marks[0] + 2, marks[1] + 8]), marks, boxes)
    assert wide.item() == pytest.approx(far.item())
    assert landmark_loss(marks + 0.2, marks, boxes, beta=0.02)[0].item() == pytest.approx(0.01**2 / 0.04, abs=1e-7)


def slow_assign(
    boxes: torch.Tensor, logits: torch.Tensor, faces: torch.Tensor, image: torch.Tensor, height: int, width: int
) -> set[tuple[int, int, int]]:
    """SimOTA on the 27 cells around each face, with loops."""
    centres, strides = cell_centres(height, width)
    wanted: dict[tuple[int, int], list[tuple[float, int]]] = {}
    for t, face in enumerate(faces):
        middle = (face[:2] + face[2:]) / 2
        pool = []
        for cell, (centre, stride) in enumerate(zip(centres, strides, strict=True)):
            step = ((centre / stride).floor() - (middle / stride).floor()).abs()
            if (step <= 1).all():
                overlap = pair_iou(boxes[image[t], cell], face).item()
                score = torch.sigmoid(logits[image[t], cell]).item()
                pool.append((-np.log(score) - IOU_WEIGHT * np.log(overlap + 1e-8), overlap, cell))
        count = max(1, int(sum(sorted((p[1] for p in pool), reverse=True)[:TOP])))
        for cost, _, cell in sorted(pool)[:count]:
            wanted.setdefault((int(image[t]), cell), []).append((cost, t))
    return {(i, cell, min(claims)[1]) for (i, cell), claims in wanted.items()}


def test_assignment_is_the_slow_one() -> None:
    centres, strides = cell_centres(128, 160)
    faces = random_boxes(14, 128)
    faces[1] = faces[0] + 1.5  # two that want the same cells
    image = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1])
    values = torch.randn(2, len(centres), 15) * 0.3
    values[..., 3:5] += 1.0
    boxes, logits, _ = decode(values, centres, strides)
    found = assign(boxes, logits, faces, image, 128, 160)
    chosen = set(zip(found.image.tolist(), found.cell.tolist(), found.face.tolist(), strict=True))
    assert chosen == slow_assign(boxes, logits, faces, image, 128, 160)
    assert len({(i, c) for i, c, _ in chosen}) == len(chosen)  # no cell learns two faces


def test_candidates_stay_in_the_picture() -> None:
    cells, valid = candidates(torch.tensor([[0.0, 0, 6, 6], [60, 60, 64, 64]]), 64, 64)
    assert cells.shape == valid.shape == (2, 27)
    assert valid.sum(1).tolist() == [4 + 4 + 4, 4 + 4 + 4]
    assert cells[valid].max() < 64 + 16 + 4


def test_nothing_to_assign() -> None:
    assert len(assign(torch.zeros(1, 84, 4), torch.zeros(1, 84), torch.zeros(0, 4), torch.zeros(0).long(), 64, 64)) == 0


def test_ignored_regions_cover_their_cells_and_tiny_ones_at_least_one() -> None:
    centres, _ = cell_centres(64, 64)
    regions = torch.tensor([[16.0, 16, 32, 32], [51.0, 51, 53, 53]])
    mask = ignored_cells(centres, regions, torch.tensor([0, 1]), 2)
    inside = ((centres - 24).abs() <= 10).all(1)
    assert (mask[0] == inside).all()
    assert mask[1][:64].sum() == 1
    assert not ignored_cells(centres, regions[:0], torch.zeros(0).long(), 2).any()


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
    assert sorted(MIRRORED) == list(range(5))


def test_turning_moves_landmarks_with_the_pixels() -> None:
    matrix = np.array([[0.0, -2.0, 300.0], [2.0, 0.0, 10.0]])  # a quarter turn at twice the size
    moved = turned(labels_of([[30, 36, 70, 88]]), matrix, 2.0)
    np.testing.assert_allclose(moved.boxes, [[300 - 124 - 40, 110 - 52, 300 - 124 + 40, 110 + 52]])
    np.testing.assert_allclose(moved.landmarks[0, 0], [300 - 2 * 50, 10 + 2 * 38], atol=1e-4)


def test_what_is_small_or_cut_off_is_trained_neither_way() -> None:
    boxes = [[10, 10, 30, 34], [10, 10, 14, 15], [-18, 10, 6, 40], [-4, 10, 20, 40], [-30, 0, -2, 20]]
    found = settle(labels_of(boxes), 100)
    assert found.ignored.tolist() == [False, True, True, False]
    assert found.boxes[3].tolist() == [0, 10, 20, 40]
    assert found.marked.tolist() == [True, True, False, True]
