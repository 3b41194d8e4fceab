"""The detector's workshop: coding, losses and assignment against slow forms, views, real steps, export."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pd = pytest.importorskip("pandas")

from lrface.align import TEMPLATE, estimate_similarity
from lrface.detection import open_detector
from lrface.metrics.average_precision import PictureResult
from lrface.models import Manifest
from lrface.types import Detections
from training.detector import scenes as scenes_module
from training.detector.assign import IOU_WEIGHT, TOP, assign, candidates, ignored_cells
from training.detector.augment import MIRRORED, Views, draw, mirror, settle, turned
from training.detector.cells import cell_centres, decode, encode, flatten
from training.detector.export import Deployed, export, folded, to_onnx
from training.detector.losses import eiou_loss, landmark_loss, pair_iou, quality_focal_loss
from training.detector.network import MEAN_FACE, STRIDES, Detector
from training.detector.scenes import Labels, PasteSet, SceneSet, load_scenes, match_landmarks, unbiased
from training.detector.train import Recipe, Trainer, batch_at, collate, loss_of, rate_at, train
from training.detector.validate import operating_point

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


class Painter:
    """A data set of drawn faces: an ellipse with eyes, nose and mouth on clutter."""

    @staticmethod
    def face(image: np.ndarray, x: int, y: int, height: int) -> list[float]:
        half = (int(height * 0.39), height // 2)
        tone = RANDOM.integers(120, 250, 3).tolist()
        cv2.ellipse(image, (x, y), half, 0, 0, 360, tone, -1)
        for dx, dy in ((-0.2, -0.12), (0.2, -0.12), (0.0, 0.06), (-0.15, 0.25), (0.15, 0.25)):
            cv2.circle(image, (int(x + dx * height), int(y + dy * height)), max(1, height // 14), (20, 20, 30), -1)
        return [x - half[0], y - half[1], x + half[0], y + half[1]]

    @classmethod
    def scene(cls, side: int = 160) -> tuple[np.ndarray, list[list[float]]]:
        image = RANDOM.integers(0, 90, (side, side, 3)).astype(np.uint8)
        places = RANDOM.permutation(4)[: int(RANDOM.integers(1, 4))]
        boxes = [
            cls.face(image, 40 + 80 * int(p % 2), 40 + 80 * int(p // 2), int(RANDOM.integers(16, 60))) for p in places
        ]
        return image, boxes


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `../shared/data/scenes`: scenes.zip, boxes.csv."""
    folder = tmp_path_factory.mktemp("scenes")
    rows = []
    with zipfile.ZipFile(folder / "scenes.zip", "w") as pack:
        for i in range(60):
            image, boxes = Painter.scene()
            name = f"drawn_{i:04d}.webp"
            pack.writestr(name, cv2.imencode(".webp", image)[1].tobytes())
            rows += [[name, *box, "annotated", "face"] for box in boxes]
            if i == 0:
                rows.append([name, 1, 1, 9, 9, "annotated", "ignore"])
    columns = ["file", "x1", "y1", "x2", "y2", "source", "label"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "boxes.csv", index=False)
    return folder


class Oracle:
    """A teacher that knows the drawn faces: their boxes' centre landmarks, found by the faces' brightness."""

    def detect(self, image: np.ndarray) -> Detections:
        bright = (cv2.blur(image, (3, 3)).min(axis=2) > 105).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(
            cv2.morphologyEx(bright, cv2.MORPH_CLOSE, np.ones((9, 9)))
        )
        boxes = np.array([[x, y, x + w, y + h] for x, y, w, h, _ in stats[1:count]], np.float32).reshape(-1, 4)
        marks = labels_of(boxes.tolist()).landmarks
        return Detections.from_arrays(boxes, np.full(len(boxes), 0.9), marks)


@pytest.fixture(scope="module")
def data(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[SceneSet, PasteSet]:
    patch = pytest.MonkeyPatch()
    patch.setattr(scenes_module, "open_detector", lambda *_, **__: Oracle())
    teacher = drawn / "teacher.onnx"
    teacher.write_bytes(b"an oracle")
    cache = tmp_path_factory.mktemp("cache")
    scenes = load_scenes(drawn, cache, teacher)
    patch.undo()
    # the second time there is no teacher to ask
    again = load_scenes(drawn, cache, teacher)
    np.testing.assert_array_equal(again.image(3), scenes.image(3))
    crops = np.full((4, 112, 112, 3), 60, np.uint8)
    boxes = [Painter.face(crop, 56, 62, 100) for crop in crops]
    marks = np.repeat(TEMPLATE[None], 4, axis=0)
    pastes = PasteSet(crops, np.arange(4), np.array(boxes, np.float32), marks, TEMPLATE)
    return scenes, pastes


def test_scenes_come_through_the_cache(data: tuple[SceneSet, PasteSet], drawn: Path) -> None:
    scenes, _ = data
    table = pd.read_csv(drawn / "boxes.csv")
    assert len(scenes) == 60
    assert sorted([*scenes.train, *scenes.validation]) == list(range(60))
    assert len(scenes.validation)
    labels = scenes.labels(0)
    rows = table[table["file"] == scenes.names[0]]
    np.testing.assert_allclose(labels.boxes, rows[["x1", "y1", "x2", "y2"]].to_numpy(np.float32))
    assert labels.ignored.tolist() == [False] * (len(rows) - 1) + [True]
    every = [scenes.labels(i) for i in range(60)]
    assert np.mean(np.concatenate([one.marked[~one.ignored] for one in every])) > 0.8


def test_scenes_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"scenes\.zip and boxes\.csv"):
        load_scenes(tmp_path, tmp_path, tmp_path / "teacher.onnx")


def test_landmarks_come_from_the_view_that_is_surest() -> None:
    class Sure:
        def detect(self, image: np.ndarray) -> Detections:
            box = np.array([[10, 10, 30, 34]], np.float32) * (image.shape[0] / 100)
            marks = np.full((1, 5, 2), 20.0) * (image.shape[0] / 100) + (5 if image.shape[0] == 100 else 0)
            return Detections.from_arrays(box, [0.9 if image.shape[0] == 200 else 0.5], marks)

    boxes = np.array([[10, 10, 30, 34], [60, 60, 80, 84]], np.float32)
    views = [(np.zeros((side, side, 3), np.uint8), side / 100) for side in (100, 200)]
    marks, scores = match_landmarks(boxes, views, Sure())
    np.testing.assert_allclose(marks[0], 20.0)
    np.testing.assert_allclose(scores, [0.9, 0.0])


def test_the_teachers_bias_is_taken_out_at_any_size_and_turn() -> None:
    shape = TEMPLATE + np.array([[0, 2], [0, 2], [0, 3], [0, -3], [0, -3]], np.float32)
    turn = 0.4 * np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    seen = (shape @ turn.T + (200, 100)).astype(np.float32)
    expected = TEMPLATE @ turn.T + (200, 100)
    mended = unbiased(seen[None], shape)[0]
    assert np.abs(mended - expected).max() < 0.08  # the bias is a little larger in the teacher's own frame
    assert np.abs(seen - expected).max() > 1.0
    np.testing.assert_allclose(estimate_similarity(mended)[:, :2], np.linalg.inv(turn), rtol=0.01, atol=0.02)


def test_a_sample_is_a_function_of_its_seed(data: tuple[SceneSet, PasteSet]) -> None:
    scenes, pastes = data
    index = int(scenes.train[0])
    one, two, other = (draw(scenes, pastes, index, Views(side=96), np.random.default_rng(s)) for s in (5, 5, 6))
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1].boxes, two[1].boxes)
    assert (one[0] != other[0]).any()


def test_samples_are_whole(data: tuple[SceneSet, PasteSet]) -> None:
    scenes, pastes = data
    faces = 0
    for k in range(80):
        image, labels = draw(scenes, pastes, int(scenes.train[k % 40]), Views(side=128), np.random.default_rng(k))
        assert image.shape == (128, 128, 3)
        assert image.dtype == np.uint8
        assert (labels.boxes >= 0).all()
        assert (labels.boxes <= 128).all()
        real = labels[~labels.ignored]
        assert (real.boxes[:, 3] > real.boxes[:, 1]).all()
        known = real[real.marked]
        middle, side = (known.boxes[:, :2] + known.boxes[:, 2:]) / 2, known.boxes[:, 2:] - known.boxes[:, :2]
        whole = (known.boxes > 0).all(1) & (known.boxes < 128).all(1)
        off = np.abs(known.landmarks.mean(1) - middle)[whole] / side[whole]
        assert (off < 0.35).all()  # landmarks move with their face
        faces += len(real)
    assert faces > 80


def test_the_network_is_small_and_starts_from_the_mean_face() -> None:
    network = Detector().eval()
    assert sum(p.numel() for p in network.parameters()) <= 300_000
    maps = network(torch.rand(1, 3, 96, 64) * 255)
    assert [tuple(m.shape) for m in maps] == [(1, 15, 96 // s, 64 // s) for s in STRIDES]
    boxes, logits, marks = decode(flatten(maps), *cell_centres(96, 64))
    assert logits.sigmoid().max() < 0.1
    sides = (boxes[..., 2:] - boxes[..., :2])[..., None, :]
    middle = ((boxes[..., :2] + boxes[..., 2:]) / 2)[..., None, :]
    assert ((marks - middle) / sides - torch.tensor(MEAN_FACE).view(5, 2)).abs().max() < 0.2


@pytest.mark.parametrize(("step", "expected"), [(0, 1 / 5), (4, 1.0), (5, 1.0), (52.5, 0.5), (100, 0.0)])
def test_one_cycle(step: float, expected: float) -> None:
    recipe = Recipe(steps=100, rate=1.0, warmup=0.05)
    assert rate_at(step, recipe) == pytest.approx(expected, abs=1e-3)


def test_loss_of_a_batch_without_faces_is_finite() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    batch = collate([(image, labels_of([])), (image, labels_of([[4, 4, 20, 24]], [True]))])
    terms = loss_of(Detector()(batch.images), batch, Recipe())
    assert torch.isfinite(terms["total"])
    assert terms["box"] == 0


def test_a_perfect_prediction_costs_nothing() -> None:
    labels = labels_of([[30, 36, 70, 88]])
    batch = collate([(np.zeros((128, 128, 3), np.uint8), labels)])
    centres, strides = cell_centres(128, 128)
    boxes, marks = batch.boxes.expand(len(centres), 4), batch.landmarks.expand(len(centres), 5, 2)
    values = torch.cat([torch.full((len(centres), 1), -20.0), encode(boxes, marks, centres, strides)], 1)
    near = candidates(batch.boxes, 128, 128)[0][0]
    values[near, 0] = torch.linspace(20, 21, 27)
    count = 10  # ten overlaps of 1
    values[near[:-count], 0] = -20.0
    maps, first = [], 0
    for stride in STRIDES:
        side = 128 // stride
        maps.append(values[first : first + side * side].T.reshape(1, 15, side, side))
        first += side * side
    terms = loss_of(maps, batch, Recipe())
    assert terms["total"].item() == pytest.approx(0.0, abs=1e-3)


def test_training_learns_to_find_drawn_faces_and_ships(
    data: tuple[SceneSet, PasteSet], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real steps, stopped half way, resumed, exported; the runtime then opens what was made."""
    torch.set_num_threads(1)
    scenes, pastes = data
    views = Views(side=96, scale=(0.5, 1.0), zoom_height=(14, 60))
    recipe = Recipe(steps=40, batch=8, views=views, late_views=replace(views, mosaic=0.1))
    trainer = Trainer(recipe)
    batch = batch_at(1000, scenes, pastes, recipe)
    trainer.network.train()
    before = float(loss_of(trainer.network(batch.images), batch, recipe)["total"].detach())
    trainer.recipe = replace(recipe, steps=20)
    train(trainer, scenes, pastes, tmp_path / "run", every=20)
    resumed = Trainer.resume(tmp_path / "run" / "last.pt", steps=40)
    assert resumed.step == 20
    assert resumed.recipe.views == recipe.views
    for name, value in trainer.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], value)
    train(resumed, scenes, pastes, tmp_path / "run", every=20)
    resumed.network.train()
    after = float(loss_of(resumed.network(batch.images), batch, recipe)["total"].detach())
    assert after < 0.8 * before
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [20, 40]
    assert set(log[-1]["validation"]) == {"8-16", "16-32", "32-64", ">64", "nme"}

    target = export(tmp_path / "run" / "last.pt", scenes, tmp_path / "models", tmp_path / "none.json")
    entry = Manifest.load(tmp_path / "models").detector
    assert entry.file == target.name
    card = (tmp_path / "models" / entry.card).read_text()
    assert entry.sha256 in card
    assert "seed 1" in card
    image = scenes.image(int(scenes.validation[0]))
    found = open_detector(manifest=Manifest.load(tmp_path / "models"), score_threshold=0.01).detect(image)
    assert len(found)


def test_resuming_goes_on_as_if_never_stopped(data: tuple[SceneSet, PasteSet], tmp_path: Path) -> None:
    torch.set_num_threads(1)
    scenes, pastes = data
    recipe = Recipe(steps=4, batch=2, views=Views(side=64), late_views=Views(side=64, zoom=0.6))
    through = Trainer(recipe)
    train(through, scenes, pastes, tmp_path / "a", every=10)
    first = Trainer(recipe)
    for _ in range(2):
        first.train_step(batch_at(first.step, scenes, pastes, recipe))
    first.save(tmp_path / "half.pt")
    second = Trainer.resume(tmp_path / "half.pt")
    train(second, scenes, pastes, tmp_path / "b", every=10)
    for name, value in through.averaged.state_dict().items():
        torch.testing.assert_close(second.averaged.state_dict()[name], value, msg=name)


def test_folding_changes_nothing() -> None:
    network = Detector().train()
    for _ in range(3):
        network(torch.rand(2, 3, 64, 64) * 255)  # moves the running statistics
    network.eval()
    image = torch.rand(1, 3, 96, 64) * 255
    with torch.no_grad():
        for plain, fused in zip(network(image), folded(network)(image), strict=True):
            torch.testing.assert_close(plain, fused, rtol=1e-4, atol=1e-4)


def test_export_is_refused_where_it_differs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("training.detector.export.PARITY_PX", -1.0)
    with pytest.raises(ValueError, match="differs from torch"):
        to_onnx(Detector().eval(), tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_the_graph_decodes_as_torch_does() -> None:
    network = Detector().eval()
    image = torch.rand(2, 3, 64, 96) * 255
    with torch.no_grad():
        boxes, scores, marks = Deployed(network)(image)
    assert boxes.shape == (2, 8 * 12 + 4 * 6 + 2 * 3, 4)
    assert scores.shape == boxes.shape[:2]
    assert marks.shape == (*scores.shape, 5, 2)
    assert ((scores >= 0) & (scores <= 1)).all()


def test_the_threshold_is_the_lowest_of_the_wanted_precision() -> None:
    truth = np.array([[0, 0, 20, 20], [50, 50, 70, 70], [90, 0, 110, 20]], np.float32)
    boxes = np.concatenate([truth, truth[:2] + 200]).astype(np.float32)
    scores = np.array([0.9, 0.7, 0.45, 0.42, 0.3], np.float32)
    results = [PictureResult(boxes, scores, truth, np.zeros(3, bool))]
    strict, mild = operating_point(results, 0.94), operating_point(results, 0.7)
    assert (strict.threshold, strict.precision, strict.recall) == (0.43, 1.0, 1.0)
    assert (mild.threshold, mild.precision, mild.recall) == (0.31, 0.75, 1.0)
    assert operating_point([PictureResult(boxes[3:], scores[3:], truth, np.zeros(3, bool))]).threshold == 0.8
