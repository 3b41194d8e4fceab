"""Pictures of any size: which views are taken of them, and that a face is found once wherever tiles meet."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from fake_detectors import FakeSession, fake, portraits

from benchmarks.lib.scenes import held_out_scenes
from lrface.cli.app import main
from lrface.detection import open_detector
from lrface.detection.decode import decode_contract
from lrface.detection.onnx_detector import RUN_PIXELS, InputSpec, OnnxDetector
from lrface.detection.views import OVERLAP, TALLEST_IN_TILE, TILE, View, plan_looks
from lrface.geometry import box_iou
from lrface.matcher import FaceMatcher


def seen(looks: list[list[View]]) -> list[tuple[float, int]]:
    """(scale, number of views) of each look."""
    assert all(view.scale == look[0].scale for look in looks for view in look)
    return [(look[0].scale, len(look)) for look in looks]


@pytest.mark.parametrize(
    ("height", "width", "scale", "quarters", "looks"),
    [
        (480, 640, 1.0, False, [(1.0, 1)]),
        (480, 640, 1.0, True, [(1.0, 1), (0.25, 1)]),  # a face that fills the quarter is seen there
        (200, 150, 1.0, True, [(1.0, 1), (0.25, 1)]),  # a portrait that the face fills
        (190, 150, 1.0, True, [(1.0, 1)]),
        (2160, 3840, 0.5, True, [(0.5, 1), (0.125, 1), (0.03125, 1)]),
        (2160, 3840, 1.0, True, [(1.0, 4), (0.25, 1), (0.0625, 1), (0.015625, 1)]),
        (2160, 3840, 1.0, False, [(1.0, 4), (0.25, 1)]),  # taller than a tile's: a quarter
        (540, 960, 4.0, False, [(4.0, 4), (1.0, 1)]),
        (1, 9000, 1.0, False, [(1.0, 5), (0.25, 2), (0.0625, 1)]),
        (1, 1, 1.0, True, [(1.0, 1)]),
    ],
)
def test_looks(height: int, width: int, scale: float, quarters: bool, looks: list[tuple[float, int]]) -> None:
    assert seen(plan_looks(height, width, scale, TILE, 32, quarters)) == looks


@pytest.mark.parametrize("size", [(2160, 3840), (2049, 700), (33, 5000), (6000, 8000)])
@pytest.mark.parametrize("tile", [640, TILE])
def test_tiles_share_enough_for_every_face_to_be_whole_in_its_own(size: tuple[int, int], tile: int) -> None:
    views = plan_looks(*size, 1.0, tile, 32, True)[0]
    assert len({(view.height, view.width) for view in views}) == 1  # so that they run together
    for axis, length in ((0, size[1]), (1, size[0])):
        long = (views[0].width, views[0].height)[axis]
        starts = sorted({(view.x, view.y)[axis] for view in views})
        parts = sorted({(view.part[axis], view.part[axis + 2]) for view in views})
        assert long <= tile
        assert starts[0] == 0
        assert starts[-1] + long >= length
        assert all(start % 32 == 0 for start in starts)  # the network's grids lie as in the whole picture
        assert all(start + long - following >= OVERLAP for start, following in pairwise(starts))
        assert all(mine[1] == following[0] for mine, following in pairwise(parts))
        assert parts[0][0] == -np.inf
        assert parts[-1][1] == np.inf
        for start, (low, high) in zip(starts, parts, strict=True):
            assert low == -np.inf or low - start >= TALLEST_IN_TILE / 2
            assert high == np.inf or start + long - high >= TALLEST_IN_TILE / 2


def test_an_eye_of_a_large_face_is_no_face_of_its_own() -> None:
    large, eye, other, child = [100, 100, 300, 360], [140, 160, 190, 210], [310, 100, 360, 160], [200, 160, 350, 308]
    found = fake([large, eye, other, child], [0.9, 0.8, 0.7, 0.6]).detect(np.zeros((640, 640, 3), np.uint8))
    assert found.boxes.tolist() == [large, other, child], "only what lies inside is a part"
    sure = fake([large, eye], [0.8, 0.9]).detect(np.zeros((640, 640, 3), np.uint8))
    assert len(sure) == 2, "the surer one stays"
    small = fake([[100, 100, 180, 220], [110, 110, 140, 140]], [0.9, 0.8]).detect(np.zeros((640, 640, 3), np.uint8))
    assert len(small) == 2, "a crowd overlaps"


def test_what_a_picture_leaves_of_the_input_is_black() -> None:
    detector = fake([], [])
    picture = np.random.default_rng(7).integers(1, 256, (40, 70, 3), np.uint8)
    used = [np.full((2, 3, 64, 96), 7, np.float32) for _ in range(8)]
    del used  # its memory is what comes next
    tensor = detector.prepare([picture, picture[:20, :30]], (64, 96))
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
    detector.quarters, detector._session.fed = True, []
    frames = [np.full((480, 640, 3), value, np.uint8) for value in (120, 20, 130)]
    together = detector.detect_batch(frames)
    assert [len(tensor) for tensor in detector._session.fed] == [3, 2], "a second look at two that have a large face"
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
    assert detector._scale(512) == 1 / 8
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


def test_a_look_at_a_quarter_finds_what_fills_the_picture() -> None:
    hint = [300, 300, 380, 400]
    detector = fake([[100, 100, 120, 140], [10, 10, 30, 30], hint], [0.9, 0.8, 0.03], quarters=True)
    found = detector.detect(np.zeros((600, 800, 3), np.uint8))
    assert [fed.shape[2:] for fed in detector._session.fed] == [(608, 800), (160, 224), (64, 64)]
    # the smaller one is taken from the first look alone: a quarter's view of small faces is worth nothing
    expected = [[10, 10, 30, 30], [100, 100, 120, 140], [400, 400, 480, 560]]
    np.testing.assert_allclose(sorted(found.boxes.tolist()), expected)


@pytest.mark.parametrize(
    ("box", "score", "size", "looks"),
    [
        ([300, 300, 380, 400], 0.03, (600, 800), 3),
        ([300, 300, 380, 400], 0.01, (600, 800), 1),
        ([300, 300, 380, 390], 0.9, (600, 800), 1),
        ([300, 300, 380, 390], 0.9, (600, 1200), 2),  # too large a look to have a hint of all; the next has none
    ],
)
def test_there_is_no_second_look_without_a_hint_of_a_large_face(
    box: list[int], score: float, size: tuple[int, int], looks: int
) -> None:
    detector = fake([box], [score], quarters=True)
    detector.detect(np.zeros((*size, 3), np.uint8))
    assert len(detector._session.fed) == looks


def test_of_one_face_seen_in_both_looks_the_better_score_stays() -> None:
    class TwoLooks(FakeSession):
        def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            quarter = feed["image"].shape[3] < 800
            self.boxes = np.array([[100, 100, 120, 140]], np.float32) * (1 if quarter else 4)
            self.scores = np.array([0.8 if quarter else 0.6], np.float32)
            return super().run(names, feed)

    decode = decode_contract("boxes", "scores", "landmarks")
    detector = OnnxDetector(TwoLooks([], []), decode, InputSpec(), 0.5, quarters=True)
    found = detector.detect(np.zeros((600, 800, 3), np.uint8))
    np.testing.assert_allclose(found.boxes, [[400, 400, 480, 560]])
    np.testing.assert_allclose(found.scores, [0.8])


def test_a_part_of_a_face_too_tall_for_the_first_look_is_no_second_face() -> None:
    class TwoLooks(FakeSession):
        def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            side = feed["image"].shape[3]
            self.boxes = np.array([[[300, 260, 480, 500]], [[70, 50, 130, 135]]][side < 800], np.float32)
            self.boxes = self.boxes if side > 100 else self.boxes[:0]
            self.scores = np.full(len(self.boxes), 0.8, np.float32)
            return super().run(names, feed)

    decode = decode_contract("boxes", "scores", "landmarks")
    for quarters, expected in ((True, [[280, 200, 520, 540]]), (False, [[300, 260, 480, 500]])):
        detector = OnnxDetector(TwoLooks([], []), decode, InputSpec(), 0.5, quarters=quarters)
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


def test_the_second_look_that_is_saved_would_have_found_nothing(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = open_detector(refine=False)
    assert isinstance(detector, OnnxDetector)
    session, looks = detector._session, []
    monkeypatch.setattr(detector, "_session", SimpleNamespace(run=lambda *fed: looks.append(1) or session.run(*fed)))
    scenes = held_out_scenes(shared / "data" / "scenes")
    found, taken = [detector.detect(scene) for scene in scenes], len(looks)
    monkeypatch.setattr("lrface.detection.onnx_detector.hides_larger", lambda _: True)
    always = [detector.detect(scene) for scene in scenes]
    assert sum(len(a) for a in always) > 1000
    assert [len(faces) for faces in found] == [len(faces) for faces in always]
    assert taken < 0.9 * (len(looks) - taken), "looks are saved"
