"""Loaders of released sets, on tiny folders of their layout."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")

from released_sets import cells, scface, survface, tinyface, xqlfw
from scipy.io import savemat

from benchmarks.lib.datasets.scface import read_scface
from benchmarks.lib.datasets.survface import read_survface, read_survface_pairs
from benchmarks.lib.datasets.tinyface import read_tinyface
from benchmarks.lib.datasets.uccs import read_uccs
from benchmarks.lib.datasets.xqlfw import read_pairs, read_xqlfw


def test_tinyface_fills_the_gallery_with_distractors(tmp_path: Path) -> None:
    test = read_tinyface(tinyface(tmp_path))
    assert [record.subject for record in test.gallery][:3] == ["3", "17", "40"]
    assert len({record.subject for record in test.gallery}) == 3 + 4
    assert [(r.subject, r.picture.name) for r in test.probes["all"]] == [
        ("3", "3_2.jpg"),
        ("17", "17_2.jpg"),
        ("40", "40_2.jpg"),
    ]
    assert all(record.picture.is_file() for record in [*test.gallery, *test.probes["all"]])


def test_survface_strangers_are_probes_and_never_enrolled(tmp_path: Path) -> None:
    test = read_survface(survface(tmp_path))
    assert [record.subject for record in test.gallery] == ["3", "17"]
    assert [record.subject for record in test.probes["all"]] == ["3", "17", *[""] * 10]
    assert (test.at_rank, 0.01 in test.fpirs) == (20, True)
    assert all(record.picture.is_file() for record in [*test.gallery, *test.probes["all"]])


def test_survface_pairs(tmp_path: Path) -> None:
    test = read_survface_pairs(survface(tmp_path))
    names = [(test.faces[a].picture.name, test.faces[b].picture.name) for a, b in zip(test.a, test.b, strict=True)]
    assert names[:2] == [("3_1.jpg", "3_2.jpg"), ("17_1.jpg", "17_2.jpg")]
    assert test.same.tolist() == [True, True, False, False, False]
    assert len(test.faces) == 4


def test_scface_reads_the_day_cameras_by_distance(tmp_path: Path) -> None:
    test = read_scface(scface(tmp_path))
    assert [record.subject for record in test.gallery] == ["001", "002", "003"]
    assert list(test.probes) == ["4.2 m", "2.6 m", "1.0 m"]
    assert [r.picture.name for r in test.probes["4.2 m"]][:3] == ["001_cam1_1.jpg", "001_cam5_1.jpg", "002_cam1_1.jpg"]


def test_xqlfw_has_lfws_folds(tmp_path: Path) -> None:
    test = read_xqlfw(xqlfw(tmp_path))
    assert test.same.tolist() == [True, True, False, False] * 2
    assert test.fold.tolist() == [0] * 4 + [1] * 4
    assert len(test.faces) == 8
    assert all(record.aligned and record.picture.is_file() for record in test.faces)


def test_lfws_own_pairs_are_read(shared: Path) -> None:
    names, same, fold = read_pairs(shared / "data" / "lfw" / "pairs.txt")
    assert names[0] == ("Abel_Pacheco/Abel_Pacheco_0001.jpg", "Abel_Pacheco/Abel_Pacheco_0004.jpg")
    assert len(names) == 6000
    for number in range(10):
        assert np.bincount(same[fold == number]).tolist() == [300, 300]
    assert all((a.split("/")[0] == b.split("/")[0]) == alike for (a, b), alike in zip(names, same, strict=True))


@pytest.mark.parametrize(
    "text", ["", "10 300\n", "1 1\nAda 1 2\n", "1 1\nAda 1 2\nAda one Bo 2\n", "1 1\nA 1 2\nB 1\n"]
)
def test_a_list_that_is_no_list_of_pairs_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"pairs"):
        read_pairs(path)


@pytest.mark.parametrize(
    ("make", "read", "missing"),
    [
        (tinyface, read_tinyface, "Testing_Set/Probe"),
        (tinyface, read_tinyface, "Testing_Set/Gallery_Distractor"),
        (survface, read_survface, "Face_Identification_Test_Set/unmated_probe"),
        (survface, read_survface_pairs, "Face_Verification_Test_Set"),
        (scface, read_scface, "surveillance_cameras_all"),
        (xqlfw, read_xqlfw, "xqlfw_aligned_112"),
    ],
)
def test_what_is_missing_is_named(make, read, missing: str, tmp_path: Path) -> None:
    make(tmp_path)
    shutil.rmtree(tmp_path / missing)
    with pytest.raises(FileNotFoundError, match=f"{missing}.* laid out as released"):
        read(tmp_path)


def test_a_list_cannot_name_a_file_outside_of_its_folder(tmp_path: Path) -> None:
    folder = tinyface(tmp_path) / "Testing_Set"
    savemat(folder / "probe_img_ID_pairs.mat", {"probe_set": cells(["../../secret.jpg"]), "probe_ids": [[1]]})
    with pytest.raises(ValueError, match="not the name of a file"):
        read_tinyface(tmp_path)


def test_a_list_of_another_release_is_refused(tmp_path: Path) -> None:
    folder = tinyface(tmp_path) / "Testing_Set"
    savemat(folder / "probe_img_ID_pairs.mat", {"something": [1]})
    with pytest.raises(ValueError, match="no variable 'probe_set'"):
        read_tinyface(tmp_path)


BOXES = "FACE_ID,FILE,SUBJECT_ID,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT\n"


def second_challenge(root: Path) -> Path:
    for part in ("training", "validation"):
        (root / part).mkdir(parents=True)
    (root / "protocol").mkdir()
    (root / "protocol/training.csv").write_text(BOXES + "1,a.jpg,7,10,20,30.5,40\n2,a.jpg,-1,0,0,5,5\n")
    (root / "protocol/validation.csv").write_text(BOXES + "3,b.jpg,7,1,2,3,4\n4,b.jpg,-1,5,6,7,8\n")
    return root


def third_challenge(root: Path) -> Path:
    for part in ("gallery_images/0007", "validation_images"):
        (root / part).mkdir(parents=True)
    points = ["REYE", "LEYE", "NOSE", "RMOUTH", "LMOUTH"]
    columns = ",".join(f"{point}_{axis}" for point in points for axis in "XY")
    values = ",".join(str(value) for value in range(10))
    (root / "gallery.csv").write_text(f"FILE,SUBJECT_ID,{columns}\n0007_0.png,7,{values}\n")
    (root / "validation.csv").write_text(BOXES + "3,b.jpg,7,1,2,3,4\n4,b.jpg,-1,5,6,7,8\n5,b.jpg,7,9,9,9,9\n")
    (root / "exclude_gallery_validation.txt").write_text("5\n")
    return root


def test_uccs_of_the_second_challenge(tmp_path: Path) -> None:
    release = read_uccs(second_challenge(tmp_path))
    assert [(r.picture, r.subject, r.box) for r in release.enrolled] == [
        (tmp_path / "training/a.jpg", "7", (10.0, 20.0, 40.5, 60.0))
    ]
    assert [(r.face_id, r.subject) for r in release.probes] == [("3", "7"), ("4", "")]
    assert [record.face_id for record in release.labelled] == ["1", "3"]


def test_uccs_of_the_watch_list_challenge(tmp_path: Path) -> None:
    release = read_uccs(third_challenge(tmp_path))
    (enrolled,) = release.enrolled
    assert enrolled.picture == tmp_path / "gallery_images/0007/0007_0.png"
    assert enrolled.landmarks.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert release.excluded == {"5"}
    assert [record.face_id for record in release.labelled] == ["3"]


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    third_challenge(tmp_path)
    (tmp_path / "exclude_gallery_validation.txt").rename(tmp_path / "exclude_gallery_validation.pickle")
    with pytest.raises(FileNotFoundError, match="one a line"):
        read_uccs(tmp_path)


@pytest.mark.parametrize("line", ["3,b.jpg,seven,1,2,3,4", "3,b.jpg,7,1,2,3", "3,../b.jpg,7,1,2,3,4"])
def test_a_broken_protocol_file_is_named(line: str, tmp_path: Path) -> None:
    second_challenge(tmp_path)
    (tmp_path / "protocol/validation.csv").write_text(BOXES + line + "\n")
    with pytest.raises(ValueError, match=r"validation\.csv is not a protocol file"):
        read_uccs(tmp_path)
