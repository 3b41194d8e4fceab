"""The detector's training: its data, real steps, resuming, export."""

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
import torch.nn.functional as F
from drawn_faces import Painter
from labelled import labels_of

from lrface.alignment import TEMPLATE, estimate_similarity
from lrface.detection import open_detector
from lrface.geometry import box_iou
from lrface.models.manifest import Manifest
from lrface.types import Detections
from training.common.manifest import sha256
from training.detector import scenes as scenes_module
from training.detector.augment import Sample, Views, draw, paste_face
from training.detector.batches import Batches, collate
from training.detector.cells import cell_centres, decode, encode, flatten
from training.detector.export import export, quantize_shipped
from training.detector.network import MEAN_FACE, STRIDES, Detector
from training.detector.recipe import Recipe, rate_at
from training.detector.scenes import Labels, PasteSet, SceneSet, load_scenes, without_bias
from training.detector.targets import HINT_CHANNELS, TeacherPrediction
from training.detector.train import Hints, Trainer, loss_of, train

COUNT = 30
PLAIN = Views(mosaic=0, mixed=0, tilted=0, warped=0, portrait=0, paste=0, crowd=0, occluded=0, degraded=0)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `../shared/data/scenes`: scenes.zip, boxes.csv."""
    folder = tmp_path_factory.mktemp("scenes")
    rows, painter = [], Painter(3)
    with zipfile.ZipFile(folder / "scenes.zip", "w") as pack:
        for i in range(COUNT):
            image, boxes = painter.scene()
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


def prediction_of(boxes: np.ndarray, height: int, width: int) -> TeacherPrediction:
    """The prediction of a teacher that gives .9 to each box in the cell of its centre, nothing elsewhere."""
    centres, strides = (value.numpy() for value in cell_centres(height, width))
    prediction = TeacherPrediction(
        np.zeros(len(centres), np.float32), np.zeros((len(centres), 4), np.float32),
        [np.zeros((HINT_CHANNELS, height // s, width // s), np.float32) for s in STRIDES],
    )  # fmt: skip
    for box in boxes:
        stride = STRIDES[int(np.searchsorted([32, 96], box[3] - box[1]))]
        off = np.abs(centres - (box[:2] + box[2:]) / 2).max(axis=1)
        cell = int(np.where(strides == stride, off, np.inf).argmin())
        prediction.scores[cell], prediction.boxes[cell] = 0.9, box
    return prediction


def bright(image: np.ndarray) -> TeacherPrediction:
    """A teacher's prediction on drawn faces."""
    return prediction_of(Oracle().detect(image).boxes, *image.shape[:2])


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
    painter = Painter(4)
    boxes = [painter.face(crop, 56, 62, 100) for crop in crops]
    marks = np.repeat(TEMPLATE[None], 4, axis=0)
    pastes = PasteSet(crops, np.arange(4), np.array(boxes, np.float32), marks, TEMPLATE)
    return scenes, pastes


def test_scenes_come_through_the_cache(data: tuple[SceneSet, PasteSet], drawn: Path) -> None:
    scenes, _ = data
    table = pd.read_csv(drawn / "boxes.csv")
    assert len(scenes) == COUNT
    assert sorted([*scenes.train, *scenes.validation]) == list(range(COUNT))
    assert len(scenes.validation)
    for i in scenes.validation:  # as annotated
        rows = table[table["file"] == scenes.names[i]]
        np.testing.assert_allclose(scenes.labels(int(i)).boxes, rows[["x1", "y1", "x2", "y2"]].to_numpy(np.float32))
    rows = table[table["file"] == scenes.names[0]]
    assert 0 in scenes.train
    labels = scenes.labels(0)  # as the teacher has it
    assert labels.ignored.tolist() == [False] * (len(rows) - 1) + [True]
    assert box_iou(labels.boxes, rows[["x1", "y1", "x2", "y2"]].to_numpy(np.float32)).max(axis=1).min() > 0.7
    every = [scenes.labels(i) for i in range(COUNT)]
    assert np.mean(np.concatenate([one.marked[~one.ignored] for one in every])) > 0.8


def test_scenes_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"scenes\.zip and boxes\.csv"):
        load_scenes(tmp_path, tmp_path, tmp_path / "teacher.onnx")


def test_hints_are_a_linear_map_away() -> None:
    hints = Hints(8)
    features = [F.batch_norm(torch.randn(2, 8, 6, 6), None, None, training=True) for _ in STRIDES]
    # the scale of the teacher does not matter
    taught = [3 + 5 * own.repeat(1, HINT_CHANNELS // 8, 1, 1) for own in features]
    with torch.no_grad():
        for to in hints.maps:
            to.weight.copy_(torch.eye(8).repeat(HINT_CHANNELS // 8, 1)[..., None, None])
            to.bias.zero_()
        assert hints(features, taught).item() == pytest.approx(0.0, abs=1e-4)
        assert hints([0 * own for own in features], taught).item() == pytest.approx(1.0, abs=1e-3)


def test_the_teachers_bias_is_removed_at_any_size_and_turn() -> None:
    shape = TEMPLATE + np.array([[0, 2], [0, 2], [0, 3], [0, -3], [0, -3]], np.float32)
    turn = 0.4 * np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    seen = (shape @ turn.T + (200, 100)).astype(np.float32)
    expected = TEMPLATE @ turn.T + (200, 100)
    corrected = without_bias(seen[None], shape)[0]
    assert np.abs(corrected - expected).max() < 0.08  # the bias is a little larger in the teacher's own frame
    assert np.abs(seen - expected).max() > 1.0
    np.testing.assert_allclose(estimate_similarity(corrected)[:, :2], np.linalg.inv(turn), rtol=0.01, atol=0.02)


def test_a_sample_is_a_function_of_its_seed(data: tuple[SceneSet, PasteSet]) -> None:
    scenes, pastes = data
    index = int(scenes.train[0])
    one, two, other = (draw(scenes, pastes, index, Views(side=96), np.random.default_rng(s)) for s in (5, 5, 6))
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.labels.boxes, two.labels.boxes)
    assert (one.image != other.image).any()


def test_samples_are_whole(data: tuple[SceneSet, PasteSet]) -> None:
    scenes, pastes = data
    faces = 0
    for k in range(80):
        sample = draw(scenes, pastes, int(scenes.train[k % 20]), Views(side=128), np.random.default_rng(k))
        labels = sample.labels
        assert sample.image.shape == (128, 128, 3)
        assert sample.image.dtype == np.uint8
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


def test_crowds_are_many_small_faces(data: tuple[SceneSet, PasteSet]) -> None:
    scenes, pastes = data
    still = replace(PLAIN, side=256)
    for k in range(4):
        alone, crowded = (
            draw(scenes, pastes, int(scenes.train[k]), replace(still, crowd=crowd), np.random.default_rng(k))
            for crowd in (0.0, 1.0)
        )
        assert len(crowded.labels) >= len(alone.labels) + 10
        faces = crowded.labels[~crowded.labels.ignored & crowded.labels.marked].boxes
        assert np.median(faces[:, 3] - faces[:, 1]) < 34 * 1.3


def drawn_with(data: tuple[SceneSet, PasteSet], **views: float) -> list[Sample]:
    scenes, pastes = data
    how = replace(PLAIN, side=128, **views)
    return [draw(scenes, pastes, int(scenes.train[k % 20]), how, np.random.default_rng(k)) for k in range(20)]


def test_what_moves_the_pixels_of_faces_leaves_no_labels(data: tuple[SceneSet, PasteSet]) -> None:
    assert all(len(sample.labels) for sample in drawn_with(data))
    for how in ("tilted", "warped"):
        assert not any(len(sample.labels) for sample in drawn_with(data, **{how: 1.0}))


def test_a_mixture_has_the_labels_of_both_and_degradation_keeps_them(data: tuple[SceneSet, PasteSet]) -> None:
    plain = drawn_with(data)
    mixed, degraded = drawn_with(data, mixed=1.0), drawn_with(data, degraded=1.0)
    for one, other, third in zip(plain, mixed, degraded, strict=True):
        assert len(other.labels) > len(one.labels)
        rows = np.s_[: len(one.labels), 1::2]  # one of them may be mirrored
        np.testing.assert_array_equal(other.labels.boxes[rows], one.labels.boxes[rows])
        assert len(third.labels) == len(one.labels)
    assert np.mean([(one.image != third.image).any() for one, third in zip(plain, degraded, strict=True)]) > 0.9


def test_a_portrait_covers_faces_and_a_paste_covers_none(data: tuple[SceneSet, PasteSet]) -> None:
    _, pastes = data
    before = labels_of([[60, 60, 80, 86], [5, 5, 15, 18]])
    for over, hidden in ((True, [True, False, False]), (False, [False, False])):
        image = np.zeros((256, 256, 3), np.uint8)
        found = paste_face(image, before, pastes, 190.0, np.random.default_rng(2), over=over)
        assert found.ignored.tolist() == hidden
        assert image.any() == over
    before = replace(before, negative=np.array([True, True]))
    found = paste_face(image, before, pastes, 190.0, np.random.default_rng(2), over=True)
    assert found.negative.tolist() == [False, True, False]
    face = found[2:]
    assert face.boxes[0, 3] - face.boxes[0, 1] == pytest.approx(190, abs=1)
    assert ((face.landmarks[0] > face.boxes[0, :2]) & (face.landmarks[0] < face.boxes[0, 2:])).all()


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


def sample_of(labels: Labels, side: int) -> tuple[Sample, TeacherPrediction]:
    image = np.zeros((side, side, 3), np.uint8)
    return Sample(image, labels), prediction_of(labels.boxes[~labels.ignored], side, side)


def test_loss_of_a_batch_without_faces_is_finite() -> None:
    batch = collate([sample_of(labels_of([]), 64), sample_of(labels_of([[4, 4, 20, 24]], [True]), 64)])
    terms = loss_of(Detector()(batch.images), batch, Recipe(), torch.zeros(()))
    assert torch.isfinite(terms["total"])
    assert terms["box"] == 0


def test_a_perfect_prediction_costs_nothing() -> None:
    labels = [labels_of([[30, 36, 70, 88]]), labels_of([[0, 0, 9, 9], [10, 10, 26, 30]], [True, False])]
    batch = collate([sample_of(one, 128) for one in labels])
    centres, strides = cell_centres(128, 128)
    values = torch.zeros(2, len(centres), 15)
    values[..., 0] = torch.logit(batch.scores, 1e-9)
    for picture, row in ((0, 0), (1, 1)):
        box, marks = (torch.from_numpy(getattr(labels[picture], name)[row]) for name in ("boxes", "landmarks"))
        count = len(centres)
        values[picture, :, 1:] = encode(box.expand(count, 4), marks.expand(count, 5, 2), centres, strides)
    maps, first = [], 0
    for stride in STRIDES:
        side = 128 // stride
        maps.append(values[:, first : first + side * side].transpose(1, 2).reshape(2, 15, side, side))
        first += side * side
    assert len(batch.cell) == 2
    assert loss_of(maps, batch, Recipe(), torch.zeros(()))["total"].item() == pytest.approx(0.0, abs=1e-4)


def test_training_learns_to_find_drawn_faces_and_ships(
    data: tuple[SceneSet, PasteSet], drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real steps, stopped half way, resumed, exported; the runtime then opens what was made."""
    torch.set_num_threads(1)
    scenes, pastes = data
    views = Views(side=96, scale=(0.5, 1.0), zoom_height=(14, 60), mixed=0, tilted=0, warped=0)
    recipe = Recipe(steps=80, batch=8, views=views)
    trainer = Trainer(recipe)
    batches = Batches(scenes, pastes, bright, recipe)
    batch = batches[1000]
    trainer.network.train()
    before = loss_of(trainer.network(batch.images), batch, recipe, torch.zeros(()))
    trainer.recipe = replace(recipe, steps=20)
    train(trainer, batches, tmp_path / "run", every=20)
    resumed = Trainer.resume(tmp_path / "run" / "last.pt", steps=80)
    assert resumed.step == 20
    assert resumed.recipe.views == recipe.views
    for name, value in trainer.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], value)
    train(resumed, batches, tmp_path / "run", every=20)
    resumed.network.train()
    after = loss_of(resumed.network(batch.images), batch, recipe, torch.zeros(()))
    assert after["total"] < 0.8 * before["total"]
    assert after["score"] < before["score"]
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [20, 40, 60, 80]
    assert set(log[-1]["validation"]) == {"8-16", "16-32", "32-64", ">64", "nme"}

    target = export(tmp_path / "run" / "last.pt", scenes, tmp_path / "models")
    entry = Manifest.load(tmp_path / "models").detector
    assert entry.file == target.name
    card = (tmp_path / "models" / entry.card).read_text()
    assert entry.sha256 in card
    assert "seed 1" in card
    exact = tmp_path / "models" / "float32" / entry.file
    assert sha256(exact) in card
    assert target.stat().st_size < 0.5 * exact.stat().st_size
    image = scenes.image(int(scenes.validation[0]))
    found = open_detector(manifest=Manifest.load(tmp_path / "models"), score_threshold=0.01).detect(image)
    assert len(found)
    with pytest.raises(ValueError, match=target.name):  # int8 is for use: weights to begin with are in float32
        Trainer(recipe).begin(target, batches)
    Trainer(recipe).begin(exact, batches)
    again = quantize_shipped(drawn, tmp_path / "models")
    assert sha256(again) == entry.sha256, "made anew on other scenes than by the export"


def test_resumed_as_if_never_stopped_and_begun_with(data: tuple[SceneSet, PasteSet], tmp_path: Path) -> None:
    torch.set_num_threads(1)
    scenes, pastes = data
    recipe = Recipe(steps=4, batch=4, views=Views(side=64))
    batches = Batches(scenes, pastes, bright, recipe)
    through = Trainer(recipe)
    train(through, batches, tmp_path / "a", every=10)
    first = Trainer(recipe)
    for _ in range(2):
        first.train_step(batches[first.step])
    first.save(tmp_path / "half.pt")
    second = Trainer.resume(tmp_path / "half.pt")
    train(second, batches, tmp_path / "b", every=10, workers=1)
    for name, value in through.averaged.state_dict().items():
        torch.testing.assert_close(second.averaged.state_dict()[name], value, msg=name)

    another = Trainer(replace(recipe, seed=9))
    another.begin(tmp_path / "a" / "last.pt", batches)
    for own in (another.network, another.averaged):
        for name, value in through.averaged.state_dict().items():
            torch.testing.assert_close(own.state_dict()[name], value, msg=name)
    assert (another.step, another.recipe.begin) == (0, "a")
    (tmp_path / "bad.pt").write_bytes(b"garbage")
    another.save(tmp_path / "another.pt")
    assert Trainer.resume(tmp_path / "another.pt").recipe.begin == "a"
    another.begin(tmp_path / "another.pt", batches)
    assert another.recipe.begin == "another"
    (tmp_path / "bad.onnx").write_bytes(b"garbage")
    for bad in ("bad.pt", "missing.pt", "bad.onnx", "missing.onnx"):
        with pytest.raises(ValueError, match=r"give last\.pt as train wrote it"):
            another.begin(tmp_path / bad, batches)
        with pytest.raises(ValueError, match=r"give last\.pt as train wrote it"):
            Trainer.resume(tmp_path / bad)
