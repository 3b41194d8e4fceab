from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pd = pytest.importorskip("pandas")

from training.data.faces import FaceSet, code_key, load_faces, validation_people
from training.data.pairs import load_pairs, make_pairs


@pytest.mark.parametrize(("count", "held_out"), [(4, 2), (8, 2), (100, 5)])
def test_people_are_held_out_whole_and_always_the_same(count: int, held_out: int) -> None:
    people = {f"person {i}" for i in range(count)}
    assert len(validation_people(people)) == held_out
    assert validation_people(people) == validation_people(set(people))


def test_three_people_are_too_few() -> None:
    with pytest.raises(ValueError, match="at least four"):
        validation_people({"a", "b", "c"})


def test_made_pairs_are_what_they_say() -> None:
    table = pd.DataFrame({"identity": list("aabbbccddd"), "split": ["train"] * 2 + ["val"] * 8})
    faces = FaceSet(np.zeros((10, 112, 112, 3), np.uint8), table, "toy")
    pairs = make_pairs(faces)
    who = table["identity"].to_numpy()
    assert (pairs.same == (who[pairs.a] == who[pairs.b])).all()
    assert (pairs.a != pairs.b).all()
    assert set(np.r_[pairs.a, pairs.b]) <= set(faces.rows("val"))
    assert np.count_nonzero(pairs.same) == np.count_nonzero(~pairs.same) == 7  # all genuine pairs: 3 + 1 + 3
    assert all(len(set(pairs.same[pairs.fold == f])) == 2 for f in np.unique(pairs.fold))


def test_listed_pairs_are_of_the_validation_split(tmp_path: Path) -> None:
    table = pd.DataFrame({"name": list("xyz"), "split": ["train", "val", "val"]})
    faces = FaceSet(np.zeros((3, 112, 112, 3), np.uint8), table, "toy")
    path = tmp_path / "val_pairs.csv"
    path.write_text("fold,a,b,same\n0,y,z,0\n1,y,y,1\n")
    pairs = load_pairs(path, faces)
    assert (pairs.a.tolist(), pairs.b.tolist(), pairs.same.tolist()) == ([1, 1], [2, 1], [False, True])
    path.write_text("fold,a,b,same\n0,x,z,0\n")
    with pytest.raises(ValueError, match="'x'"):
        load_pairs(path, faces)


def test_one_photo_each_cannot_validate() -> None:
    table = pd.DataFrame({"identity": list("abcd"), "split": "val"})
    with pytest.raises(ValueError, match="two photos"):
        make_pairs(FaceSet(np.zeros((4, 112, 112, 3), np.uint8), table, "toy"))


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="neither"):
        load_faces(tmp_path, tmp_path / "cache")


def test_a_users_own_folder_of_photos(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Portraits are detected and aligned like the shipped crops; a broken photo is named and left out."""
    people = tmp_path / "people"
    shutil.copytree(shared / "data" / "images" / "cast" / "enroll", people)
    broken = people / "amy" / "amy1.png"
    broken.chmod(0o644)
    broken.write_bytes(broken.read_bytes()[:2000])
    faces = load_faces(people, tmp_path / "cache")
    assert len(faces) >= 35
    assert "amy/amy1" not in set(faces.table["name"])
    assert "amy1.png" in capsys.readouterr().out
    assert set(faces.table["identity"]) == {p.name for p in people.iterdir()}
    val = set(faces.table["identity"][faces.rows("val")])
    assert len(val) == 2
    assert not val & set(faces.table["identity"][faces.rows("train")])
    make_pairs(faces)


def test_other_code_is_another_key(tmp_path: Path) -> None:
    (tmp_path / "package" / "part").mkdir(parents=True)
    module, inner = tmp_path / "module.py", tmp_path / "package" / "part" / "inner.py"
    for file in (module, inner):
        file.write_text("x = 1\n")
    keys = {code_key(module, tmp_path / "package")}
    assert keys == {code_key(module, tmp_path / "package")}
    for file in (module, inner):
        file.write_text("x = 2\n")
        keys.add(code_key(module, tmp_path / "package"))
    assert len(keys) == 3
