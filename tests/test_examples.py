"""The examples run as they stand."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from shell import ENVIRONMENT, ROOT

from lrface.cli.demo_scene import COLLINS, HOPPER, render, write_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    frames = (image for number, (image, _) in enumerate(render((COLLINS, HOPPER))) if 50 <= number < 70)
    write_clip(path, frames)
    return path


def example(name: str, *arguments: object) -> str:
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_example_has_a_test():
    here = Path(__file__).read_text("utf-8")
    assert all(f'"{path.name}"' in here for path in (ROOT / "examples").glob("*.py"))


def test_sort_folder(tmp_path, portrait, stranger):
    for folder, picture in (("people/Eileen Collins", portrait), ("inbox", portrait), ("inbox", stranger)):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, tmp_path / folder)
    (tmp_path / "inbox" / "broken.jpg").write_bytes(b"x")
    said = example("sort_folder.py", tmp_path / "people", tmp_path / "inbox", tmp_path / "sorted")
    assert "left out" in said
    found = {path.relative_to(tmp_path / "sorted").as_posix() for path in (tmp_path / "sorted").rglob("*.*")}
    assert {"Eileen Collins/astronaut.png", "unknown/grace_hopper.jpg"} <= found
    assert "Eileen Collins/grace_hopper.jpg" not in found


def test_sort_folder_is_not_led_outside_by_a_name(tmp_path, portrait, stranger):
    for folder, picture in (("people/.. ", portrait), ("people/Grace Hopper", stranger), ("inbox", portrait)):
        (tmp_path / "in" / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, tmp_path / "in" / folder)
    before = sorted(tmp_path.rglob("*"))
    example("sort_folder.py", tmp_path / "in" / "people", tmp_path / "in" / "inbox", tmp_path / "sorted")
    new = [path for path in sorted(tmp_path.rglob("*")) if path not in before and path != tmp_path / "sorted"]
    assert any(path.name == portrait.name for path in new)
    assert all(path.is_relative_to(tmp_path / "sorted") for path in new)


def test_sort_folder_replaces_nothing(tmp_path):
    (tmp_path / "sorted").mkdir()
    command = [sys.executable, str(ROOT / "examples" / "sort_folder.py"), "people", "inbox", str(tmp_path / "sorted")]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=120)
    assert done.returncode == 1
    assert "File exists" in done.stderr


def test_watch_camera(enrolled, clip):
    said = example("watch_camera.py", enrolled, clip).splitlines()
    assert said
    assert all(line.endswith("s  Eileen Collins") for line in said)


def test_export_json(enrolled, clip):
    records = [json.loads(line) for line in example("export_json.py", enrolled, clip).splitlines()]
    assert {record["name"] for record in records} == {COLLINS.name, None}
    for record in records:
        assert np.linalg.norm(record["embedding"]) == pytest.approx(1, abs=1e-4)
