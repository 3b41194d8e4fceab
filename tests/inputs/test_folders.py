from __future__ import annotations

import os
from pathlib import Path

import pytest

from lrface.enrolment.enroller import photos_in
from lrface.inputs.folders import list_pictures

TAKEN = ("a.jpg", "b.JPEG", "sub/c.png", "sub/deeper/d.heic", "e.avif")
LEFT_OUT = {
    ".hidden.jpg": "hidden",
    "._a.jpg": "hidden",
    "Thumbs.db": "made by a system",
    "notes.txt": "not a picture",
    "clip.mp4": "not a picture",
    "no-suffix": "not a picture",
    "SYNOPHOTO_THUMB_M.jpg": "made by a system",
}
LEFT_OUT_FOLDERS = {"@eaDir": "made by a system", "__MACOSX": "made by a system", ".thumbnails": "hidden"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (*TAKEN, *LEFT_OUT, *(f"{name}/x.jpg" for name in LEFT_OUT_FOLDERS)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe.jpg")
    return tmp_path


def test_what_is_taken_from_a_folder(folder: Path) -> None:
    found = list_pictures(folder)
    assert found.pictures == tuple(sorted(folder / name for name in TAKEN))
    reasons = {path.name: reason for path, reason in found.left_out}
    expected = {**LEFT_OUT, **LEFT_OUT_FOLDERS, "pipe.jpg": "not a regular file"}
    assert {name: reason[: len(expected[name])] for name, reason in reasons.items()} == expected
    assert "3 not a picture" in found.summary()
    assert "notes.txt" in found.summary()


def test_nothing_left_out_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert list_pictures(tmp_path).summary() == ""


def test_enrolment_follows_the_same_rule(folder: Path) -> None:
    photos = list(photos_in(folder, "Ada"))
    found = list_pictures(folder)
    assert [photo for photo in photos if isinstance(photo, Path)] == [
        path for path in found.pictures if path.parent == folder
    ]
    reports = {Path(photo.photo).name: photo.reason for photo in photos if not isinstance(photo, Path)}
    assert {name: reports[name] for name in LEFT_OUT} == {
        path.name: reason for path, reason in found.left_out if path.name in LEFT_OUT
    }
