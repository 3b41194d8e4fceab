"""The detector's parts: coding, losses, targets and labels against slow forms and closed ones."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")
pd = pytest.importorskip("pandas")
ort = pytest.importorskip("onnxruntime")

from labelled import labels_of

from lrface.metrics.average_precision import PictureResult
from lrface.types import Detections
from training.cli import main
from training.common.manifest import MODELS
from training.detector.augment import Sample
from training.detector.batches import Batches
from training.detector.cells import cell_centres, decode, encode, flatten
from training.detector.decoding import decoding
from training.detector.losses import eiou_loss, landmark_loss, pair_iou, score_divergence
from training.detector.network import STRIDES
from training.detector.recipe import Recipe
from training.detector.scenes import Labels, annotated_labels, teacher_detections, training_labels
from training.detector.targets import HINT_CHANNELS, TeacherPrediction, cell_targets
from training.detector.train import Trainer
from training.detector.validate import operating_point

RANDOM = np.random.default_rng(3)


def random_boxes(count: int, side: int = 128) -> torch.Tensor:
    corners = torch.from_numpy(RANDOM.uniform(0, side - 30, (count, 2)).astype(np.float32))
    return torch.cat([corners, corners + torch.from_numpy(RANDOM.uniform(6, 60, (count, 2)).astype(np.float32))], 1)


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


def test_the_graph_decodes_as_torch_does() -> None:
    session = ort.InferenceSession(decoding().SerializeToString(), providers=["CPUExecutionProvider"])
    for batch, height, width in ((2, 64, 96), (1, 32, 32), (1, 352, 640)):
        maps = {f"map{s}": 4 * torch.randn(batch, 15, height // s, width // s) for s in STRIDES}
        boxes, logits, points = decode(flatten(list(maps.values())), *cell_centres(height, width))
        found = session.run(["boxes", "scores", "landmarks"], {name: m.numpy() for name, m in maps.items()})
        for one, other in zip(found, (boxes, logits.sigmoid(), points), strict=True):
            torch.testing.assert_close(torch.from_numpy(one), other, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    ("logit", "target", "expected"),
    [
        (0.0, 0.5, 0.0),
        (np.log(3), 0.75, 0.0),
        (0.0, 1.0, np.log(2)),
        (0.0, 0.0, np.log(2)),
        (np.log(3), 0.5, 0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25)),
        (40.0, 1.0, 0.0),
    ],
)
def test_score_divergence_in_closed_form(logit: float, target: float, expected: float) -> None:
    logits = torch.tensor([logit], requires_grad=True)
    found = score_divergence(logits, torch.tensor([target]))
    assert found.item() == pytest.approx(expected, abs=1e-6)
    found.sum().backward()
    assert logits.grad is not None
    assert logits.grad.item() == pytest.approx(float(torch.tensor(logit).sigmoid()) - target, abs=1e-6)


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


def prediction(**cells: tuple[float, list[float]]) -> TeacherPrediction:
    """A teacher's prediction on a 64 x 64 view: nothing, but for some cells (``c<index>``) a score and a box."""
    said = TeacherPrediction(np.zeros(64 + 16 + 4, np.float32), np.zeros((64 + 16 + 4, 4), np.float32), [])
    for name, (score, box) in cells.items():
        said.scores[int(name[1:])], said.boxes[int(name[1:])] = score, box
    return said


FACE_BOX = [10.0, 10.0, 26.0, 30.0]


def test_a_cell_learns_the_known_face_that_the_teacher_sees_there_else_the_teachers_box() -> None:
    near, elsewhere = [11.0, 10.0, 27.0, 30.0], [10.0, 40.0, 26.0, 60.0]
    said = prediction(c18=(0.6, FACE_BOX), c19=(0.3, near), c26=(0.4, elsewhere), c40=(0.05, FACE_BOX))
    labels = labels_of([[40, 40, 60, 60], [10, 10, 26, 31]])
    found = cell_targets(labels, said)
    assert found.cell.tolist() == [18, 19, 26], "of what it says hardly, no box is learned"
    np.testing.assert_array_equal(found.boxes, [labels.boxes[1], labels.boxes[1], elsewhere])
    assert found.marked.tolist() == [True, True, False]
    np.testing.assert_array_equal(found.landmarks[:2], labels.landmarks[[1, 1]])
    np.testing.assert_array_equal(said.boxes[18], FACE_BOX)


@pytest.mark.parametrize("labels", [labels_of([]), labels_of([FACE_BOX], [True])])
def test_where_nothing_is_known_the_teachers_box_is_learned(labels: Labels) -> None:
    found = cell_targets(labels, prediction(c18=(0.6, [9.0, 10.0, 26.0, 30.0])))
    assert (found.cell.tolist(), found.boxes.tolist()) == ([18], [[9.0, 10.0, 26.0, 30.0]])
    assert not found.marked.any()


def test_a_teacher_that_sees_nothing_teaches_no_box() -> None:
    assert len(cell_targets(labels_of([FACE_BOX]), prediction()).cell) == 0


class Seer:
    """Finds one face at the same place of every view; the larger the view the surer, and the further right."""

    def detect(self, image: np.ndarray) -> Detections:
        scale = image.shape[0] / 100
        box = np.array([[40, 10, 60, 34]], np.float32) * scale
        marks = labels_of(box.tolist()).landmarks
        return Detections.from_arrays(box, [0.3 * scale + 0.1], marks)


def test_detections_of_one_face_are_one() -> None:
    found = teacher_detections(np.zeros((100, 100, 3), np.uint8), Seer())
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes[0], [40, 10, 60, 34], atol=0.01)
    np.testing.assert_allclose(found.landmarks[0], labels_of([[40, 10, 60, 34]]).landmarks[0], atol=0.01)
    assert found.scores[0] == pytest.approx(0.7)


def test_the_teacher_completes_an_annotation() -> None:
    truth = np.array([[0, 0, 20, 20], [50, 50, 70, 70], [90, 0, 110, 20], [90, 50, 110, 70]], np.float32)
    ignored = np.array([False, False, True, True])
    seen_boxes = np.array([[2, 0, 22, 20], [90, 1, 110, 21], [150, 0, 170, 20], [200, 0, 220, 20]], np.float32)
    seen = Detections.from_arrays(seen_boxes, [0.8, 0.7, 0.5, 0.3], labels_of(seen_boxes.tolist()).landmarks)
    plain = annotated_labels(truth, ignored, seen)
    np.testing.assert_array_equal(plain.boxes, truth)
    assert plain.marked.tolist() == [True, False, True, False]
    found = training_labels(plain, seen)
    # the first by the teacher's box, the second as annotated, what was to be ignored and is a face, a new face, what
    # may be one, and what stays to be ignored
    expected = np.array([seen_boxes[0], truth[1], *seen_boxes[1:], truth[3]])
    np.testing.assert_allclose(found.boxes, expected)
    assert found.ignored.tolist() == [False, False, False, False, True, True]
    assert found.marked[:4].tolist() == [True, False, True, True]


def test_nothing_annotated_and_nothing_seen() -> None:
    none = np.zeros((0, 4), np.float32)
    assert len(training_labels(annotated_labels(none, none[:, 0] > 0, Detections.empty()), Detections.empty())) == 0


def test_the_threshold_is_the_lowest_of_the_wanted_precision() -> None:
    truth = np.array([[0, 0, 20, 20], [50, 50, 70, 70], [90, 0, 110, 20]], np.float32)
    boxes = np.concatenate([truth, truth[:2] + 200]).astype(np.float32)
    scores = np.array([0.9, 0.7, 0.45, 0.42, 0.3], np.float32)
    results = [PictureResult(boxes, scores, truth, np.zeros(3, bool))]
    strict, mild = operating_point(results, 0.94), operating_point(results, 0.7)
    assert (strict.threshold, strict.precision, strict.recall) == (0.43, 1.0, 1.0)
    assert (mild.threshold, mild.precision, mild.recall) == (0.31, 0.75, 1.0)
    assert operating_point([PictureResult(boxes[3:], scores[3:], truth, np.zeros(3, bool))]).threshold == 0.8


def test_a_run_of_another_versions_recipe_is_not_told_with_todays_defaults(tmp_path: Path) -> None:
    file = tmp_path / "old" / "last.pt"
    file.parent.mkdir()
    Trainer(Recipe()).save(file)
    state = torch.load(file, weights_only=True)
    del state["recipe"]["views"]["warped"]
    state["recipe"]["momentum"] = 0.9
    torch.save(state, file)
    with pytest.raises(ValueError, match=r"another recipe \(momentum, warped\).*--begin"):
        Trainer.resume(file)
    Trainer(Recipe()).begin(file, [])  # its weights are as good as any


def test_the_last_steps_see_what_a_camera_may_take_and_train_what_ships(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def drawn(*args: object) -> Sample:
        asked.append(args[3])
        image = np.full((64, 64, 3), 90, np.uint8)
        return Sample(image, labels_of([[10, 10, 40, 50]]))

    def teacher(image: np.ndarray) -> TeacherPrediction:
        cells = sum((64 // s) ** 2 for s in STRIDES)
        boxes = np.tile(np.float32([10, 10, 40, 50]), (cells, 1))
        features = [np.zeros((HINT_CHANNELS, 64 // s, 64 // s), np.float32) for s in STRIDES]
        return TeacherPrediction(np.full(cells, 0.5, np.float32), boxes, features)

    monkeypatch.setattr("training.detector.batches.draw", drawn)
    recipe = Recipe(steps=10, batch=4, closing=0.3)
    trainer, batches = Trainer(recipe), Batches(SimpleNamespace(train=np.arange(3)), None, teacher, recipe)
    moved = []
    for step in range(10):
        before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
        trainer.train_step(batches[step])
        after = trainer.network.state_dict()
        moved.append(not torch.equal(after["norms.0.running_mean"], before["norms.0.running_mean"]))
        assert not torch.equal(after["head.weight"], before["head.weight"])
    assert moved == [True] * 7 + [False] * 3
    assert asked[:28] == [recipe.views] * 28
    for views in asked[28::4]:  # the other three of a step's samples were drawn before the first
        assert views.mixed == views.tilted == views.warped == views.recoloured == 0
        assert 0 < views.mosaic < recipe.views.mosaic


def test_training_says_what_is_wrong_before_it_reads_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, teacher = tmp_path / "last.pt", tmp_path / "teacher.onnx"
    checkpoint.touch()
    where = [f"--{name}={tmp_path}" for name in ("scenes", "faces", "out")]

    def ended(*options: str) -> str:
        result = CliRunner().invoke(main, ["detector", "train", *where, f"--teacher={teacher}", *options])
        assert result.exit_code == 2
        return result.output

    assert "does not exist" in ended()
    for other in (b"garbage", (MODELS / "lrface-detector.onnx").read_bytes()):
        teacher.write_bytes(other)
        assert "is not YuNet" in ended()
    assert "give one of them" in ended(f"--begin={checkpoint}", "--resume")
    monkeypatch.setattr("training.detector.cli.Teacher", lambda _: None)
    assert "name the folder that holds scenes.zip" in ended()
