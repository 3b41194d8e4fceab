"""`lrface gallery not` and `lrface enroll --keep-crops`, on a real portrait."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from lrface.cli.app import cli
from lrface.errors import GalleryError
from lrface.gallery import Gallery


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def gallery(tmp_path: Path, enrolled: Path) -> Path:
    return Path(shutil.copy(enrolled, tmp_path / "staff.gallery"))


@pytest.fixture
def mirrored(tmp_path: Path, portrait: Path) -> Path:
    picture = cv2.imread(str(portrait))
    scale = 400 / max(picture.shape)
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(tmp_path / "mirrored.png"), np.ascontiguousarray(small[:, ::-1]))
    return tmp_path / "mirrored.png"


def test_a_false_name_is_not_given_again(gallery: Path, mirrored: Path) -> None:
    assert "Eileen Collins" in run("identify", gallery, mirrored).stdout
    done = run("gallery", "not", gallery, "Eileen Collins", mirrored)
    assert (done.exit_code, done.exception) == (0, None)
    assert "1 faces are kept as not Eileen Collins" in done.stderr
    assert "Eileen Collins\t" not in run("identify", gallery, mirrored).stdout
    again = run("gallery", "not", gallery, "Eileen Collins", mirrored).exception
    assert isinstance(again, GalleryError)
    assert "is named Eileen Collins" in str(again)
    assert run("gallery", "not", gallery, "Eileen Collins", mirrored, "--undo").exit_code == 0
    assert "Eileen Collins" in run("identify", gallery, mirrored).stdout


def test_crops_are_kept_if_the_user_says_so(tmp_path: Path, mirrored: Path) -> None:
    folder = tmp_path / "people" / "Eileen"
    folder.mkdir(parents=True)
    mirrored.rename(folder / "1.png")
    assert run("enroll", tmp_path / "a.gallery", tmp_path / "people").exit_code == 0
    assert run("enroll", tmp_path / "b.gallery", tmp_path / "people", "--keep-crops").exit_code == 0
    kept = []
    for name in ("a", "b"):
        with Gallery.open(tmp_path / f"{name}.gallery") as opened:
            kept += [len(photo.crop) > 0 for photo in opened.photos("Eileen")]
    assert kept == [False, True]
