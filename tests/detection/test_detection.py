"""Detectors: decoding, suppression, scaling to the working picture and back, families of models, real faces."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from fake_detectors import fake, portraits
from onnx import TensorProto, helper

from lrface.alignment import align
from lrface.detection import open_detector
from lrface.detection.decode import STRIDES, decode_scrfd, decode_yunet
from lrface.detection.input_tensor import InputSpec
from lrface.errors import ArgumentError, ModelError
from lrface.geometry import box_iou
from lrface.metrics.average_precision import PictureResult, average_precision
from lrface.models.manifest import Manifest

RANDOM = np.random.default_rng(7)


def test_yunet_is_decoded_as_its_makers_do_cell_by_cell() -> None:
    height, width = 64, 96
    outputs, expected = {}, []
    for stride in STRIDES:
        rows, columns = height // stride, width // stride
        cls, obj = RANDOM.uniform(0, 1, (2, 1, rows * columns, 1)).astype(np.float32)
        box = RANDOM.normal(0, 1, (1, rows * columns, 4)).astype(np.float32)
        kps = RANDOM.normal(0, 1, (1, rows * columns, 10)).astype(np.float32)
        outputs |= {f"cls_{stride}": cls, f"obj_{stride}": obj, f"bbox_{stride}": box, f"kps_{stride}": kps}
        for r in range(rows):
            for c in range(columns):
                i = r * columns + c
                cx, cy = (c + box[0, i, 0]) * stride, (r + box[0, i, 1]) * stride
                w, h = np.exp(box[0, i, 2]) * stride, np.exp(box[0, i, 3]) * stride
                points = [((kps[0, i, 2 * k] + c) * stride, (kps[0, i, 2 * k + 1] + r) * stride) for k in range(5)]
                score = np.sqrt(cls[0, i, 0] * obj[0, i, 0])
                expected.append(([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], score, points))
    boxes, scores, landmarks = decode_yunet(outputs, height, width)
    for found, column in ((boxes, 0), (scores, 1), (landmarks, 2)):
        np.testing.assert_allclose(found, np.array([e[column] for e in expected]), rtol=1e-4, atol=1e-3)


def test_scrfd_is_decoded_from_distances_with_two_anchors_a_cell_whatever_its_outputs_are_called() -> None:
    height, width = 64, 32
    outputs, expected = {}, []
    for stride in STRIDES:
        rows, columns = height // stride, width // stride
        count = rows * columns * 2
        score = RANDOM.uniform(0, 1, (count, 1)).astype(np.float32)
        distance = RANDOM.uniform(0, 3, (count, 4)).astype(np.float32)
        points = RANDOM.normal(0, 2, (count, 10)).astype(np.float32)
        outputs |= {f"p{stride}": points, f"s{stride}": score, f"b{stride}": distance}
        for i in range(count):
            x, y = (i // 2) % columns * stride, (i // 2) // columns * stride
            d = distance[i] * stride
            marks = [(x + points[i, 2 * k] * stride, y + points[i, 2 * k + 1] * stride) for k in range(5)]
            expected.append(([x - d[0], y - d[1], x + d[2], y + d[3]], score[i, 0], marks))
    found = decode_scrfd(outputs, height, width)
    for values, column in zip(found, range(3), strict=True):
        np.testing.assert_allclose(values, np.array([e[column] for e in expected]), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("height", "width", "min_face", "tensor"),
    [
        (480, 640, None, (480, 640)),
        (1620, 2880, None, (1088, 1920)),  # 1080 rows, padded to a multiple of 32
        (1080, 1920, 12, (736, 1280)),
        (100, 200, 4, (224, 416)),  # a face of 4 px is seen with 8
        (240, 320, None, (480, 640)),  # small pictures are enlarged, twice at most
        (400, 300, None, (640, 480)),
        (33, 31, None, (96, 64)),
        (1, 1, None, (32, 32)),
        (5, 6000, None, (32, 1920)),
    ],
)
def test_boxes_come_back_to_source_pixels(
    height: int, width: int, min_face: float | None, tensor: tuple[int, int]
) -> None:
    detector = fake([[0, 0, 12, 24]], [0.9], min_face=min_face)
    found = detector.detect(np.zeros((height, width, 3), np.uint8))
    assert detector._session.fed[0].shape == (1, 3, *tensor)
    long_side = max(height, width)
    fx = 8 / min_face if min_face else min(2.0, 640 / long_side) if long_side < 640 else min(1.0, 1920 / long_side)
    fy = max(1, round(height * fx)) / height
    np.testing.assert_allclose(found.boxes, [[0, 0, min(12 / fx, width), min(24 / fy, height)]], rtol=1e-3)


@pytest.mark.parametrize(("box_voting", "right"), [(False, 100), (True, 103)])
def test_suppressed_candidates_vote_where_box_voting_is_on(box_voting: bool, right: float) -> None:
    detector = fake(
        [[60, 60, 100, 100], [60, 60, 106, 100], [200, 60, 240, 100]], [0.9, 0.9, 0.8], box_voting=box_voting
    )
    found = detector.detect(np.zeros((640, 640, 3), np.uint8))
    np.testing.assert_allclose(found.boxes, [[60, 60, right, 100], [200, 60, 240, 100]])
    np.testing.assert_allclose(found.landmarks[0, 0], [(60 + right) / 2, 80])
    np.testing.assert_allclose(found.scores, [0.9, 0.8])


def test_the_bundled_detector_keeps_faces_apart_that_touch() -> None:
    cheek_to_cheek = [[100, 100, 200, 220], [136, 100, 236, 220]], [0.9, 0.8]  # IoU .47
    usual, bundled = fake(*cheek_to_cheek), fake(*cheek_to_cheek, box_voting=open_detector(refine=False).box_voting)
    image = np.zeros((640, 640, 3), np.uint8)
    assert (len(usual.detect(image)), len(bundled.detect(image))) == (1, 2)


@pytest.mark.parametrize("min_face", [3.9, 0, -8, float("nan")])
def test_a_smallest_face_that_is_too_small_is_refused(min_face: float) -> None:
    with pytest.raises(ArgumentError, match="4 pixels or more"):
        fake([], [], min_face=min_face)


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (InputSpec(), [10.0, 20.0, 30.0]),
        (InputSpec("RGB"), [30.0, 20.0, 10.0]),
        (InputSpec("RGB", 127.5, 1 / 128), [(v - 127.5) / 128 for v in (30, 20, 10)]),
    ],
)
def test_channels_mean_and_scale(spec: InputSpec, value: list[float]) -> None:
    detector = fake([[0, 0, 9, 9]], [0.9], spec)
    detector.detect(np.full((32, 32, 3), (10, 20, 30), np.uint8))
    np.testing.assert_allclose(detector._session.fed[0][0, :, 5, 5], value, rtol=1e-6)


def test_a_fixed_input_is_filled_and_weak_or_outside_candidates_go() -> None:
    boxes = [[0, 0, 64, 64], [100, 100, 200, 200], [700, 700, 740, 740]]
    detector = fake(boxes, [0.9, 0.4, 0.9], InputSpec(fixed=640))
    found = detector.detect(np.zeros((320, 320, 3), np.uint8))
    assert detector._session.fed[0].shape == (1, 3, 640, 640)
    np.testing.assert_allclose(found.boxes, [[0, 0, 32, 32]])


def graph(outputs: dict[str, list[Any]]) -> bytes:
    """A graph with these outputs (all of them shapes of one constant input)."""
    nodes = [helper.make_node("Identity", ["image"], [name]) for name in outputs]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [None, None, None, None])
    built = helper.make_graph(nodes, "tiny", [image], values)
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("content", "fix"),
    [
        (graph({"embedding": [None, None, None, None]}), "not a face detector that lrface knows"),
        (b"", "not an ONNX model"),
        (b"this is no model", "not an ONNX model"),
        (None, "cannot read the model"),
    ],
)
def test_a_file_that_is_no_detector_is_refused(content: bytes | None, fix: str, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ModelError, match=fix):
        open_detector(file)


def test_a_graph_that_fails_says_so(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(graph({name: [None, None, None, None] for name in ("boxes", "scores", "landmarks")}))
    with pytest.raises(ModelError, match="use another model"):
        open_detector(file).detect(np.zeros((40, 40, 3), np.uint8))


def bundle(root: Path, folder: Path) -> Manifest:
    """A models folder of its own with the bundled detector."""
    manifest = json.loads((root / "models" / "manifest.json").read_text())
    manifest["models"] = [model for model in manifest["models"] if model["kind"] == "detector"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    file = manifest["models"][0]["file"]
    (folder / file).write_bytes((root / "models" / file).read_bytes())
    return Manifest.load(folder)


def test_one_changed_byte_is_refused(root: Path, tmp_path: Path) -> None:
    manifest = bundle(root, tmp_path)
    open_detector(manifest=manifest)
    file = tmp_path / manifest.detector.file
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(ModelError, match="altered"):
        open_detector(manifest=manifest)


def test_a_device_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ArgumentError):
        open_detector(device="abacus")


def test_the_bundled_graph_keeps_the_contract(root: Path) -> None:
    entry = Manifest.load().detector
    file = root / "models" / entry.file
    assert hashlib.sha256(file.read_bytes()).hexdigest() == entry.sha256
    model = onnx.load(file)
    weights = sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)
    assert weights <= 300_000
    assert not model.functions
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes[entry.input.name][1] == 3
    assert all(isinstance(shapes[entry.input.name][axis], str) for axis in (0, 2, 3))
    assert shapes[entry.boxes][-1] == 4
    assert shapes[entry.landmarks][-2:] == [5, 2]
    assert b"/work/" not in file.read_bytes()  # no traces of where it was exported


@pytest.mark.parametrize("name", ["astronaut", "hopper"])
@pytest.mark.parametrize("shrink", [1.0, 0.5, 0.25, 0.15])
def test_the_bundled_detector_finds_a_portrait_at_any_size(name: str, shrink: float) -> None:
    image, box = portraits()[name]
    image = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    canvas = np.full((max(160, image.shape[0]), max(160, image.shape[1]), 3), 90, np.uint8)
    canvas[: image.shape[0], : image.shape[1]] = image
    found = open_detector().detect(canvas)
    assert (found.scores[1:] < found.scores[0] - 0.1).all()  # medals and lapels may look a little like faces
    assert len(found) <= 2
    assert box_iou(found.boxes, np.array([box], np.float32) * shrink)[0, 0] > 0.5
    left_eye, right_eye, nose, left_mouth, right_mouth = found.landmarks[0]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    assert align(canvas, found.landmarks[0]).shape == (112, 112, 3)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((200, 300, 3), np.uint8),
        np.full((640, 640, 3), 255, np.uint8),
        np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8),
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((2, 3000, 3), np.uint8),
    ],
    ids=["black", "white", "noise", "one pixel", "a line"],
)
def test_where_no_face_is_none_is_found(image: np.ndarray) -> None:
    assert len(open_detector().detect(image)) == 0


def test_the_same_picture_gives_the_same_faces() -> None:
    image, _ = portraits()["astronaut"]
    first, second = (open_detector().detect(image) for _ in range(2))
    np.testing.assert_array_equal(first.boxes, second.boxes)
    np.testing.assert_array_equal(first.landmarks, second.landmarks)


@pytest.mark.parametrize(
    ("heights", "expected"),
    [
        ((0.0, np.inf), (1 + 2 / 3) / 3),  # a hit, an alarm, a hit; one face missed
        ((0.0, 30.0), (1 + 2 / 3) / 2),  # the missed one is larger
        ((30.0, 100.0), 0.0),
        ((200.0, 300.0), float("nan")),
    ],
)
def test_average_precision_by_hand(heights: tuple[float, float], expected: float) -> None:
    truth = np.array([[0, 0, 20, 20], [50, 50, 70, 75], [100, 100, 150, 150], [300, 0, 320, 20]], np.float32)
    boxes = np.array([[0, 0, 20, 20], [200, 200, 220, 220], [50, 50, 70, 75], [301, 0, 320, 20]], np.float32)
    result = PictureResult(boxes, np.array([0.9, 0.8, 0.7, 0.95], np.float32), truth, np.array([0, 0, 0, 1], bool))
    np.testing.assert_allclose(average_precision([result], heights), expected)


@pytest.fixture(scope="module")
def wider(shared: Path) -> list[Any]:
    from benchmarks.detection import pictures

    return pictures(shared / "data" / "detection" / "wider200", None)


@pytest.mark.parametrize(
    ("model", "every", "least"),
    [
        (None, 1, {"16-32": 0.45, "32-64": 0.75}),
        ("yunet_n_dynamic", 4, {"8-16": 0.65, "16-32": 0.71, "32-64": 0.87, ">64": 0.965}),
        ("scrfd_500m", 4, {"8-16": 0.625, "16-32": 0.76, "32-64": 0.90, ">64": 0.99}),
    ],
)
def test_average_precision_on_wider200(
    model: str | None, every: int, least: dict[str, float], shared: Path, wider: list[Any]
) -> None:
    """Ours: what is promised. The peers: what every fourth picture gives, so that they are still run as they should."""
    from benchmarks.detection import LEAST, precision

    path = shared / "data" / "detectors" / f"{model}.onnx" if model else None
    found = precision(open_detector(path, score_threshold=LEAST, refine=False), wider[::every], str(model))
    assert all(found[name] >= value for name, value in least.items()), found


@pytest.mark.parametrize(
    ("model", "least"),
    [
        ("yunet_n_dynamic", {"8-16": 0.54, "16-32": 0.755, "32-64": 0.885, ">64": 0.975}),
        ("scrfd_500m", {"8-16": 0.51, "16-32": 0.765, "32-64": 0.89, ">64": 0.972}),
    ],
)
def test_the_protocol_is_that_of_others(model: str, least: dict[str, float], root: Path) -> None:
    """On all pictures the benchmark found of the peers what others measured."""
    rows = json.loads((root / "benchmarks" / "results" / "detection.json").read_text())["rows"]
    (found,) = (row["ap"] for row in rows if row["model"] == model)
    assert all(found[name] >= value for name, value in least.items()), found


def test_every_face_of_the_cast_is_found(shared: Path) -> None:
    ours = open_detector()
    peer = open_detector(shared / "data" / "detectors" / "scrfd_500m.onnx")
    for file in sorted((shared / "data" / "images" / "cast" / "probe").iterdir()):
        image = cv2.imread(str(file))
        expected, found = peer.detect(image), ours.detect(image)
        assert (box_iou(expected.boxes, found.boxes).max(axis=1) > 0.5).all(), file.name


def test_a_detector_of_insightface(shared: Path) -> None:
    pytest.importorskip("insightface", reason="needs the insightface extra")
    path = shared / "data" / "detectors" / "scrfd_500m.onnx"
    image = cv2.imread(str(shared / "data" / "images" / "cast" / "probe" / "bbt4.jpg"))
    theirs, ours = open_detector(f"insightface:{path}").detect(image), open_detector(path).detect(image)
    assert len(theirs) == len(ours) == 6
    match = box_iou(theirs.boxes, ours.boxes)
    assert match.max(axis=1).min() > 0.95
    assert np.abs(theirs.landmarks - ours.landmarks[match.argmax(axis=1)]).max() < 3


@pytest.mark.parametrize(
    ("name", "fix"), [("no_such_pack", "insightface-cli"), ("", "insightface-cli"), ("EMBEDDER", "no face detector")]
)
def test_insightface_without_a_detector(name: str, fix: str, shared: Path) -> None:
    pytest.importorskip("insightface", reason="needs the insightface extra")
    if name == "EMBEDDER":
        name = str(shared / "data" / "teachers" / "edgeface_xs.onnx")
    with pytest.raises(ModelError, match=fix):
        open_detector(f"insightface:{name}")


def test_a_missing_insightface_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "insightface.model_zoo", None)
    monkeypatch.setitem(sys.modules, "insightface", None)
    with pytest.raises(ModelError, match=r"pip install 'lrface\[insightface\]'"):
        open_detector("insightface:buffalo_l")
