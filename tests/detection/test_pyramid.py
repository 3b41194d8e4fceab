"""The image pyramid: which levels and tiles there are, and that a face is found once wherever tiles meet."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from fake_detectors import FakeSession, fake, portraits

from benchmarks.lib.scenes import held_out_scenes
from lrface.cli.app import main
from lrface.detection import open_detector
from lrface.detection.decode import decode_contract
from lrface.detection.input_tensor import InputSpec
from lrface.detection.onnx_detector import RUN_PIXELS, OnnxDetector
from lrface.detection.pyramid import LARGEST_IN_TILE, OVERLAP, TILE, View, plan_pyramid, working_scale
from lrface.errors import ModelError
from lrface.geometry import box_iou
from lrface.matcher import FaceMatcher
from lrface.models.manifest import EarlyExit, Manifest, PyramidSettings

PYRAMID = PyramidSettings(224, 192, EarlyExit(0.02, 96, 1024))


def summary(levels: list[list[View]]) -> list[tuple[float, int]]:
    """(scale, number of views) of each level."""
    assert all(view.scale == level[0].scale for level in levels for view in level)
    return [(level[0].scale, len(level)) for level in levels]


@pytest.mark.parametrize(
    ("height", "width", "scale", "pyramid", "levels"),
    [
        (480, 640, 1.0, False, [(1.0, 1)]),
        (480, 640, 1.0, True, [(1.0, 1), (0.25, 1)]),  # a face that fills the second level is found there
        (200, 150, 1.0, True, [(1.0, 1), (0.25, 1)]),  # a portrait that the face fills
        (190, 150, 1.0, True, [(1.0, 1)]),
        (2160, 3840, 0.5, True, [(0.5, 1), (0.125, 1), (0.03125, 1)]),
        (2160, 3840, 1.0, True, [(1.0, 4), (0.25, 1), (0.0625, 1), (0.015625, 1)]),
        (2160, 3840, 1.0, False, [(1.0, 4), (0.25, 1)]),  # what is too large for a tile is left to a second level
        (540, 960, 4.0, False, [(4.0, 4), (1.0, 1)]),
        (1, 9000, 1.0, False, [(1.0, 5), (0.25, 2), (0.0625, 1)]),
        (1, 1, 1.0, True, [(1.0, 1)]),
    ],
)
def test_levels(height: int, width: int, scale: float, pyramid: bool, levels: list[tuple[float, int]]) -> None:
    assert summary(plan_pyramid(height, width, scale, TILE, 32, PYRAMID if pyramid else None)) == levels


@pytest.mark.parametrize("size", [(2160, 3840), (2049, 700), (33, 5000), (6000, 8000)])
@pytest.mark.parametrize("tile", [640, TILE])
def test_tiles_share_enough_for_every_face_to_be_whole_in_its_own(size: tuple[int, int], tile: int) -> None:
    views = plan_pyramid(*size, 1.0, tile, 32, PYRAMID)[0]
    assert len({(view.height, view.width) for view in views}) == 1  # so that they run together
    for axis, length in ((0, size[1]), (1, size[0])):
        long = (views[0].width, views[0].height)[axis]
        starts = sorted({(view.x, view.y)[axis] for view in views})
        parts = sorted({(view.core[axis], view.core[axis + 2]) for view in views})
        assert long <= tile
        assert starts[0] == 0
        assert starts[-1] + long >= length
        assert all(start % 32 == 0 for start in starts)  # the network's grids lie as in the whole picture
        assert all(start + long - following >= OVERLAP for start, following in pairwise(starts))
        assert all(mine[1] == following[0] for mine, following in pairwise(parts))
        assert parts[0][0] == -np.inf
        assert parts[-1][1] == np.inf
        for start, (low, high) in zip(starts, parts, strict=True):
            assert low == -np.inf or low - start >= LARGEST_IN_TILE / 2
            assert high == np.inf or start + long - high >= LARGEST_IN_TILE / 2


def test_an_eye_of_a_large_face_is_no_face_of_its_own() -> None:
    large, eye, other, child = [100, 100, 300, 360], [140, 160, 190, 210], [310, 100, 360, 160], [200, 160, 350, 308]
    found = fake([large, eye, other, child], [0.9, 0.8, 0.7, 0.6]).detect(np.zeros((640, 640, 3), np.uint8))
    assert found.boxes.tolist() == [large, other, child], "only what lies inside is a part"
    sure = fake([large, eye], [0.8, 0.9]).detect(np.zeros((640, 640, 3), np.uint8))
    assert len(sure) == 2, "the surer one stays"
    small = fake([[100, 100, 180, 220], [110, 110, 140, 140]], [0.9, 0.8]).detect(np.zeros((640, 640, 3), np.uint8))
    assert len(small) == 2, "a crowd overlaps"


def test_what_a_picture_leaves_of_the_input_is_black() -> None:
    picture = np.random.default_rng(7).integers(1, 256, (40, 70, 3), np.uint8)
    used = [np.full((2, 3, 64, 96), 7, np.float32) for _ in range(8)]
    del used  # its memory is what comes next
    tensor = InputSpec().tensor([picture, picture[:20, :30]], (64, 96))
    for planes, (height, width) in zip(tensor, ((40, 70), (20, 30)), strict=True):
        np.testing.assert_array_equal(planes[:, :height, :width], picture[:height, :width].transpose(2, 0, 1))
        assert np.count_nonzero(planes) == 3 * height * width


def test_memory_is_bounded_by_a_tile() -> None:
    detector = fake([[0, 0, 9, 9]], [0.1], min_face=8)
    detector.detect(np.zeros((5000, 7000, 3), np.uint8))
    fed = [tensor.shape for tensor in detector._session.fed]
    assert max(shape[2] * shape[3] for shape in fed) <= TILE**2
    assert all(shape[0] == 1 or np.prod(shape) <= 3 * RUN_PIXELS for shape in fed)


def test_frames_of_one_size_go_together_and_keep_their_own_faces() -> None:
    class Bright(FakeSession):
        """Finds a face in each picture whose first pixel is bright, as wide as that is."""

        def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            self.fed.append(feed["image"])
            value = feed["image"][:, 0, 0, 0]
            boxes = np.stack([value * 0, value * 0, value, value], axis=1)[:, None]
            return [boxes, (value > 9).astype(np.float32)[:, None], np.repeat(boxes[:, :, None, :2], 5, axis=2)]

    detector = OnnxDetector(Bright([], []), decode_contract("boxes", "scores", "landmarks"), InputSpec(), 0.5)
    values = [20, 0, 30, 40, 50, 60]
    frames = [np.full((480, 640, 3) if value != 30 else (640, 480, 3), value, np.uint8) for value in values]
    found = detector.detect_batch(frames)
    assert [faces.boxes.tolist() for faces in found] == [[[0, 0, v, v]] if v else [] for v in values]
    assert [len(tensor) for tensor in detector._session.fed] == [3, 1, 2]  # RUN_PIXELS hold three of 480 x 640
    assert detector.detect_batch([]) == []
    detector.pyramid, detector._session.fed = PYRAMID, []
    frames = [np.full((480, 640, 3), value, np.uint8) for value in (120, 20, 130)]
    together = detector.detect_batch(frames)
    assert [len(tensor) for tensor in detector._session.fed] == [3, 2], (
        "a second level of the two that have a large face"
    )
    for frame, faces in zip(frames, together, strict=True):
        np.testing.assert_array_equal(detector.detect(frame).boxes, faces.boxes)


def crowd() -> tuple[np.ndarray, np.ndarray]:
    """A 4K picture with one face, 21 px high, at many places, some where tiles meet; the boxes float32 [n, 4]."""
    image, box = portraits()["astronaut"]
    scale = 21 / (box[3] - box[1])
    part = cv2.resize(image[20:260, 120:330], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    rng = np.random.default_rng(0)
    wall = rng.integers(100, 120, (68, 120, 3)).astype(np.uint8)
    picture = cv2.resize(wall, (3840, 2160), interpolation=cv2.INTER_CUBIC)
    first = (np.array(box) - [120, 20, 120, 20]) * scale
    boxes = []
    for x, y in [(64, 64), (1900, 1060), (1907, 300), (600, 1073), (3790, 2110), (3, 2100), (2500, 1500), (1905, 1500)]:
        picture[y : y + part.shape[0], x : x + part.shape[1]] = part[: 2160 - y, : 3840 - x]
        boxes.append(first + np.array([x, y, x, y]))
    return picture, np.array(boxes, np.float32)


def test_tiny_faces_of_a_huge_picture_are_found_once_also_where_tiles_meet() -> None:
    picture, boxes = crowd()
    # between the scores of the faces and those of the wall, which differ a little with what a tile shows around them
    detector = open_detector(min_face=8, score_threshold=0.23)
    assert isinstance(detector, OnnxDetector)
    whole, tiled = [], []
    for tile, target in ((4096, whole), (TILE, tiled), (640, tiled)):
        detector.tile = tile
        target.append(detector.detect(picture))
    overlap = box_iou(boxes, whole[0].boxes)
    assert (overlap.max(axis=1) > 0.5).all()
    for found in tiled:
        assert len(found) == len(whole[0])
        order = box_iou(whole[0].boxes, found.boxes).argmax(axis=1)
        assert sorted(order) == list(range(len(found)))
        # the network sees 300 px around a face, some of it beyond its tile
        assert np.abs(found.boxes[order] - whole[0].boxes).max() < 2.5
        assert np.abs(found.landmarks[order] - whole[0].landmarks).max() < 2.5


def test_a_larger_smallest_face_takes_a_smaller_picture() -> None:
    image, box = portraits()["astronaut"]
    detector = open_detector(min_face=64)
    assert isinstance(detector, OnnxDetector)
    assert working_scale(512, 512, detector.min_face) == 1 / 8
    assert box_iou(detector.detect(image).boxes[:1], np.array([box], np.float32))[0, 0] > 0.4


@pytest.mark.parametrize(("name", "min_face"), [("yunet_n_dynamic", 8), ("scrfd_500m", 5)])
def test_other_families_search_tiles_too(name: str, min_face: int, shared: Path) -> None:
    picture, boxes = crowd()
    file = shared / "data" / "detectors" / f"{name}.onnx"
    overlap = box_iou(boxes[1:4], open_detector(file, min_face=min_face).detect(picture[:1200]).boxes)
    assert (overlap.max(axis=1, initial=0) > 0.4).all()
    assert ((overlap > 0.4).sum(axis=1) == 1).all()


def test_users_say_what_their_smallest_face_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaceMatcher.open(":memory:", min_face=16) as matcher:
        assert isinstance(matcher.detector, OnnxDetector)
        assert matcher.detector.min_face == 16
    monkeypatch.setattr("sys.argv", ["lrface", "identify", "staff.gallery", "a.jpg", "--min-face", "3"])
    with pytest.raises(SystemExit):
        main()
    assert "x>=4" in capsys.readouterr().err


def test_a_coarser_level_finds_what_fills_the_picture() -> None:
    part = [300, 300, 380, 400]
    detector = fake([[100, 100, 120, 140], [10, 10, 30, 30], part], [0.9, 0.8, 0.03], pyramid=PYRAMID)
    found = detector.detect(np.zeros((600, 800, 3), np.uint8))
    assert [fed.shape[2:] for fed in detector._session.fed] == [(608, 800), (160, 224), (64, 64)]
    # the smaller one is taken from the first level alone: coarser levels show too little of small faces
    expected = [[10, 10, 30, 30], [100, 100, 120, 140], [400, 400, 480, 560]]
    np.testing.assert_allclose(sorted(found.boxes.tolist()), expected)


@pytest.mark.parametrize(
    ("box", "score", "size", "levels"),
    [
        ([300, 300, 380, 400], 0.03, (600, 800), 3),
        ([300, 300, 380, 400], 0.01, (600, 800), 1),
        ([300, 300, 380, 390], 0.9, (600, 800), 1),
        ([300, 300, 380, 390], 0.9, (600, 1200), 2),  # too large a level for the early exit; the next one exits
    ],
)
def test_the_search_ends_early_where_nothing_looks_like_a_part_of_a_large_face(
    box: list[int], score: float, size: tuple[int, int], levels: int
) -> None:
    detector = fake([box], [score], pyramid=PYRAMID)
    detector.detect(np.zeros((*size, 3), np.uint8))
    assert len(detector._session.fed) == levels


def pyramid_of(manifest: dict[str, Any], folder: Path, root: Path) -> PyramidSettings | None:
    """The pyramid of the detector that is opened from a manifest."""
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "lrface-detector.onnx").write_bytes((root / "models" / "lrface-detector.onnx").read_bytes())
    detector = open_detector(manifest=Manifest.load(folder))
    assert isinstance(detector, OnnxDetector)
    return detector.pyramid


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"largest_face": 99, "coarsest_side": 77, "early_exit": {"score": 0.1, "height": 50, "side": 500}},
         PyramidSettings(99, 77, EarlyExit(0.1, 50, 500))),
        ({"largest_face": 99}, PyramidSettings(99, 192, None)),
        ({}, PyramidSettings(224, 192, None)),
        (None, PyramidSettings(224, 192, None)),  # a manifest from before: all levels are searched
        ({"largest_face": 0}, None),
        ({"coarsest_side": "192"}, None),
        ({"largest_face": float("nan")}, None),
        ({"largest_face": 10**400}, None),
        ({"early_exit": {"score": 0.1}}, None),
        ({"early_exit": [1, 2, 3]}, None),
        ("two levels", None),
    ],
)  # fmt: skip
def test_the_pyramid_belongs_to_the_model(
    given: object, expected: PyramidSettings | None, tmp_path: Path, root: Path
) -> None:
    manifest = json.loads((root / "models" / "manifest.json").read_text())
    entry = next(model for model in manifest["models"] if model["kind"] == "detector")
    del entry["pyramid"]
    manifest["models"] = [entry | ({} if given is None else {"pyramid": given})]
    if expected is None:
        with pytest.raises(ModelError, match="malformed"):
            pyramid_of(manifest, tmp_path, root)
    else:
        assert pyramid_of(manifest, tmp_path, root) == expected


def test_without_an_early_exit_every_level_is_searched() -> None:
    detector = fake([[0, 0, 9, 9]], [0.0], pyramid=PyramidSettings())
    detector.detect(np.zeros((600, 800, 3), np.uint8))
    assert [fed.shape[2:] for fed in detector._session.fed] == [(608, 800), (160, 224), (64, 64)]


def test_of_one_face_found_at_two_levels_the_better_score_stays() -> None:
    class TwoLevels(FakeSession):
        def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            coarse = feed["image"].shape[3] < 800
            self.boxes = np.array([[100, 100, 120, 140]], np.float32) * (1 if coarse else 4)
            self.scores = np.array([0.8 if coarse else 0.6], np.float32)
            return super().run(names, feed)

    decode = decode_contract("boxes", "scores", "landmarks")
    detector = OnnxDetector(TwoLevels([], []), decode, InputSpec(), 0.5, pyramid=PYRAMID)
    found = detector.detect(np.zeros((600, 800, 3), np.uint8))
    np.testing.assert_allclose(found.boxes, [[400, 400, 480, 560]])
    np.testing.assert_allclose(found.scores, [0.8])


def test_a_part_of_a_face_too_large_for_the_first_level_is_no_second_face() -> None:
    class TwoLevels(FakeSession):
        def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            side = feed["image"].shape[3]
            self.boxes = np.array([[[300, 260, 480, 500]], [[70, 50, 130, 135]]][side < 800], np.float32)
            self.boxes = self.boxes if side > 100 else self.boxes[:0]
            self.scores = np.full(len(self.boxes), 0.8, np.float32)
            return super().run(names, feed)

    decode = decode_contract("boxes", "scores", "landmarks")
    for pyramid, expected in ((PYRAMID, [[280, 200, 520, 540]]), (None, [[300, 260, 480, 500]])):
        detector = OnnxDetector(TwoLevels([], []), decode, InputSpec(), 0.5, pyramid=pyramid)
        np.testing.assert_allclose(detector.detect(np.zeros((600, 800, 3), np.uint8)).boxes, expected)


@pytest.mark.parametrize("height", [200, 300, 315, 330, 360, 400, 500])
def test_a_large_face_is_found_once(shared: Path, height: int) -> None:
    photos = sorted((shared / "data" / "images" / "cast").rglob("*1.png"))
    detector, peer = open_detector(refine=False), open_detector(shared / "data" / "detectors" / "yunet_n_dynamic.onnx")
    counts = []
    for photo in photos:
        image = cv2.imread(str(photo)).astype(np.uint8, copy=False)
        (x1, y1, x2, y2) = peer.detect(image).boxes[0]
        scale = height / (y2 - y1)
        matrix = np.array([[scale, 0, 320 - scale * (x1 + x2) / 2], [0, scale, 320 - scale * (y1 + y2) / 2]])
        view = cv2.warpAffine(image, matrix, (640, 640), borderMode=cv2.BORDER_REPLICATE)
        counts.append(len(detector.detect(view.astype(np.uint8, copy=False))))
    assert len(photos) >= 8
    assert counts == [1] * len(photos)


def test_the_levels_saved_by_the_early_exit_would_have_found_nothing(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = open_detector(refine=False)
    assert isinstance(detector, OnnxDetector)
    session, runs = detector._session, []
    monkeypatch.setattr(detector, "_session", SimpleNamespace(run=lambda *fed: runs.append(1) or session.run(*fed)))
    scenes = held_out_scenes(shared / "data" / "scenes")
    found, taken = [detector.detect(scene) for scene in scenes], len(runs)
    monkeypatch.setattr("lrface.detection.onnx_detector.can_miss_larger", lambda *_: True)
    always = [detector.detect(scene) for scene in scenes]
    assert sum(len(a) for a in always) > 1000
    assert [len(faces) for faces in found] == [len(faces) for faces in always]
    assert taken < 0.9 * (len(runs) - taken), "levels are saved"
