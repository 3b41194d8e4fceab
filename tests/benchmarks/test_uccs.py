"""UCCS's protocols and the stand-in."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

import pandas as pd
from fake_detectors import Nothing
from tiny_models import face, write_models

from benchmarks import uccs
from benchmarks.lib.crops import FACE_BOX, landmarks_from_box
from benchmarks.lib.datasets.records import FaceRecord
from benchmarks.lib.datasets.uccs import Uccs, read_uccs
from benchmarks.lib.matching import Chain
from benchmarks.lib.uccs_standin import Standin, build
from lrface.geometry import box_iou
from lrface.metrics import rank_error
from lrface.models.manifest import Manifest
from lrface.types import Detections
from training.data.faces import FaceSet

NAMES = [f"person {i}" for i in range(10)]
PEOPLE = np.repeat(NAMES, 8)
CROPS = np.stack([face(name, photo) for name in NAMES for photo in range(8)])
SHARP = Standin(crop_px=(60.0, 80.0))


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("standin")
    build(CROPS, PEOPLE, root, SHARP)
    return root


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return Chain(Manifest.load(write_models(tmp_path_factory.mktemp("models"))))


class Labels:
    """A detector that finds the labelled faces, and what it is told besides."""

    def __init__(self, release: Uccs, blind: tuple[str, ...] = (), mirage: bool = False) -> None:
        self._blind, self._mirage, self._seen = blind, mirage, {}
        for record in [*release.enrolled, *release.probes]:
            self._seen.setdefault(cv2.imread(str(record.picture)).tobytes(), []).append(record)

    def detect(self, image: np.ndarray) -> Detections:
        found = [r.box for r in self._seen[image.tobytes()] if r.face_id not in self._blind]
        found += [(0.0, 0.0, 20.0, 20.0)] if self._mirage else []
        boxes = np.array(found, np.float32).reshape(-1, 4)
        points = np.array([landmarks_from_box(box) for box in boxes], np.float32).reshape(-1, 5, 2)
        return Detections.from_arrays(boxes, np.ones(len(boxes)), points)


def test_the_standin_is_read_as_a_release(standin: Path) -> None:
    release = read_uccs(standin)
    assert len({record.subject for record in release.enrolled}) == 6
    assert len(release.enrolled) == 6 * 4
    known = [record for record in release.probes if record.subject]
    assert (len(known), len(release.probes)) == (6 * 4, 10 * 4), "four of ten people are strangers"
    header = (standin / "protocol/validation.csv").read_text().splitlines()[0]
    assert header == "FACE_ID,FILE,SUBJECT_ID,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT"


def test_a_face_lies_where_the_standin_says(standin: Path) -> None:
    """The labelled box, cut out and enlarged, shows the person's own pattern and no other's."""
    x1, y1, x2, y2 = map(int, FACE_BOX)  # it reaches a little below the crop
    release = read_uccs(standin)
    record = next(record for record in release.probes if record.subject)
    left, top, right, bottom = map(round, record.box)
    seen = cv2.resize(cv2.imread(str(record.picture))[top:bottom, left:right], (x2 - x1, y2 - y1)).astype(float)
    seen = seen[: 112 - y1].ravel()
    likeness = [np.corrcoef(seen, face(name)[y1:112, x1:x2].ravel())[0, 1] for name in NAMES]
    assert np.argmax(likeness) == int(record.subject) - 1
    assert max(likeness) > 0.85


def test_boxes_of_a_scene_do_not_overlap(standin: Path) -> None:
    pictures: dict[Path, list[FaceRecord]] = {}
    for record in read_uccs(standin).probes:
        pictures.setdefault(record.picture, []).append(record)
    for records in pictures.values():
        boxes = np.array([record.box for record in records], np.float32)
        assert np.triu(box_iou(boxes, boxes), 1).max(initial=0) == 0


def test_the_same_seed_gives_the_same_standin(standin: Path, tmp_path: Path) -> None:
    build(CROPS, PEOPLE, tmp_path, SHARP)
    for path in standin.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / path.relative_to(standin)).read_bytes()


def test_too_few_people_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least three"):
        build(CROPS[:16], PEOPLE[:16], tmp_path)


def test_horkds_split_is_four_to_one_of_so_many_subjects() -> None:
    vectors = np.eye(10, dtype=np.float32)[np.repeat(np.arange(10), 8)]
    rank, enrolled, subjects = uccs.horkd_ranks(vectors, PEOPLE, subjects=7, seed=0)
    assert (len(rank), enrolled, subjects) == (7 * 2, 7 * 6, 7), "eight faces: two are tests"
    assert rank.max() == 1
    few = np.concatenate([PEOPLE, ["somebody with four faces"] * 4])
    assert uccs.horkd_ranks(np.concatenate([vectors, vectors[:4]]), few, 180, 0)[2] == 10
    with pytest.raises(ValueError, match="needs two"):
        uccs.horkd_ranks(vectors[:8], PEOPLE[:8], 180, 0)


def test_horkds_seeds_draw_other_splits() -> None:
    vectors = np.random.default_rng(0).normal(size=(80, 16)).astype(np.float32)
    errors = {rank_error(uccs.horkd_ranks(vectors, PEOPLE, 180, seed)[0], 1) for seed in range(5)}
    assert len(errors) > 1


def test_horkd_on_the_standin(standin: Path, chain: Chain) -> None:
    release = read_uccs(standin)
    rows, (plot,) = uccs.horkd(release, chain, Labels(release), [16, 32], [0, 1])
    for row in rows:
        assert (row["subjects"], row["enrolled"], row["searches"], row["not_detected"]) == (6, 36, 12, 0)
        assert row["top1_error"] < 20
        assert 60 <= row["median_native_px"] <= 80
    assert list(plot["data"]) == ["16x16", "32x32"]


def test_detections_are_assigned_once_by_falling_overlap() -> None:
    truth = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
    boxes = np.array([[1, 0, 11, 10], [0, 0, 10, 10], [25, 0, 35, 10], [21, 0, 31, 10]], np.float32)
    assert uccs.assign(boxes, truth) == {1: 0, 3: 1}
    assert uccs.assign(boxes[:0], truth) == {}


def test_the_watch_list_counts_what_is_missed_and_what_is_nobody(standin: Path, chain: Chain) -> None:
    release = read_uccs(standin)
    pictures = len({record.picture for record in release.probes})
    rows, _ = uccs.watch_list(release, chain, Labels(release))
    free = rows[-1]
    assert free["false_positives_a_picture"] == 1.0
    assert (free["enrolled_people"], free["mated"], free["mated_not_detected"]) == (6, 24, 0)
    assert (free["strangers_detected"], free["false_detections"], free["pictures"]) == (16, 0, pictures)
    assert free["dir"] > 80

    blind = tuple(record.face_id for record in release.probes if record.subject)[:6]
    rows, _ = uccs.watch_list(release, chain, Labels(release, blind, mirage=True))
    less = rows[-1]
    assert (less["mated"], less["mated_not_detected"], less["false_detections"]) == (24, 6, pictures)
    assert less["dir"] <= 100 * 18 / 24

    excluded = Uccs(release.enrolled, release.probes, frozenset(blind))
    rows, _ = uccs.watch_list(excluded, chain, Labels(release, blind[:3]))
    assert (rows[0]["mated"], rows[0]["mated_not_detected"]) == (18, 0), "excluded faces count neither way"


def test_the_result_says_whether_it_is_a_standin(
    standin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = write_models(tmp_path / "models")
    release = read_uccs(standin)
    monkeypatch.setattr(uccs, "open_detector", lambda **_: Labels(release))
    arguments = ["--root", str(standin), "--models", str(models), "--seeds", "3", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["benchmarks/uccs.py", *arguments])
    uccs.main()
    result = json.loads((tmp_path / "uccs.json").read_text())
    assert (result["data"], result["standin"], result["seeds"]) == ("UCCS", None, [3])
    assert "stand-in" not in capsys.readouterr().out

    def loaded(folder: Path, cache: Path) -> FaceSet:
        assert folder == Path("people")
        return FaceSet(CROPS, pd.DataFrame({"identity": PEOPLE}), "")

    monkeypatch.setattr("training.data.faces.load_faces", loaded)
    monkeypatch.setattr(uccs, "open_detector", lambda **_: Nothing())
    monkeypatch.setattr(sys, "argv", ["benchmarks/uccs.py", "--people", "people", *arguments[2:]])
    uccs.main()
    result = json.loads((tmp_path / "uccs.json").read_text())
    assert "NOT UCCS" in result["data"]
    assert result["standin"]["strangers"] == Standin.strangers
    assert "NOT UCCS" in capsys.readouterr().out
    assert all("not UCCS" in entry["title"] for entry in result["plots"])
