from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clips import clip
from shell import ENVIRONMENT, lrface

import lrface as package
from lrface.cli.demo_scene import COLLINS
from lrface.inputs.video import VideoSource
from lrface.models.manifest import models_folder


@pytest.fixture
def gallery(tmp_path, enrolled) -> Path:
    return Path(shutil.copy(enrolled, tmp_path / "staff.gallery"))


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["watch", "-h"], ["gallery", "list", "--help"]])
def test_help_and_version(arguments):
    done = lrface(*arguments)
    assert done.returncode == 0
    assert ("0.1.0" if arguments == ["--version"] else "Usage") in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["identify"],
        ["identify", "a.gallery"],
        ["watch", "a.gallery", "b", "--stride", "0"],
        ["watch", "a.gallery", "b", "--detect-every", "often"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments):
    done = lrface(*arguments)
    assert done.returncode == 2
    assert "Usage" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("module", ["lrface", "lrface.cli.app"])
def test_import_is_light(module):
    code = f"import sys, {module}; print([m for m in ('cv2','onnxruntime','faiss','torch','PIL') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.stdout.strip() == "[]", done.stderr


def test_enrol_list_identify_remove(tmp_path, portrait, stranger):
    people, gallery = tmp_path / "people", tmp_path / "new.gallery"
    (people / COLLINS.name).mkdir(parents=True)
    shutil.copy(portrait, people / COLLINS.name)
    first, again = lrface("enroll", gallery, people), lrface("enroll", gallery, people, "--json")
    assert first.returncode == 0, first.stderr
    assert "1 of 1 people in the gallery, 1 new photos" in first.stdout
    assert [json.loads(line)["status"] for line in again.stdout.splitlines()] == ["already enrolled"]
    assert lrface("gallery", "list", gallery).stdout == "Eileen Collins\t1 photos\n"

    done = lrface("identify", gallery, portrait, stranger, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert f"{portrait}: Eileen Collins  similarity " in done.stdout
    assert f"{stranger}: unknown (below threshold)" in done.stdout
    assert done.stdout.count("Eileen Collins") == 1
    assert {path.name for path in (tmp_path / "out" / "run-0001").iterdir()} == {
        "astronaut.jpg",
        "grace_hopper.jpg",
        "identifications.jsonl",
    }

    assert lrface("gallery", "remove", gallery, "Eileen Collins").stdout == "removed Eileen Collins (1 photos)\n"
    assert lrface("gallery", "list", gallery, "--json").stdout == ""
    assert "unknown (gallery is empty)" in lrface("identify", gallery, portrait).stdout


def test_thresholds_chooses_for_the_gallery(gallery, portrait):
    before = [json.loads(line) for line in lrface("thresholds", gallery, "--json").stdout.splitlines()]
    assert {line["fpir"] for line in before} == {0.01}
    assert {line["people"] for line in before} == {1}
    done = lrface("thresholds", gallery, "--fpir", "0.0001", "--json")
    assert done.returncode == 0, done.stderr
    after = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(new["threshold"] > old["threshold"] for new, old in zip(after, before, strict=True))
    assert "at most 0.0001 of strangers named among 1 people" in lrface("thresholds", gallery).stdout
    kept, given = (
        lrface("identify", gallery, portrait, "--json", "--explain"),
        lrface("identify", gallery, portrait, "--fpir", "0.2"),
    )
    face = json.loads(kept.stdout)["faces"][0]
    assert "at most 0.0001 of strangers" in face["explanation"]
    assert 0 <= face["false_match_rate"] < 0.0001
    assert "stranger in" in given.stdout


def test_json_of_other_commands_is_documented(root, tmp_path, portrait):
    (tmp_path / "people" / "Ada").mkdir(parents=True)
    shutil.copy(portrait, tmp_path / "people" / "Ada")
    documented = (root / "docs" / "json.md").read_text("utf-8").partition("## Other commands")[2]
    gallery = tmp_path / "new.gallery"
    for command, more in (("enroll", [tmp_path / "people"]), ("gallery list", []), ("thresholds", [])):
        fields = re.search(rf"- `{command}`: (.*?)\.\n", documented, re.DOTALL)
        assert fields is not None
        for line in lrface(*command.split(), gallery, *more, "--json").stdout.splitlines():
            assert set(json.loads(line)) == {"schema", *re.findall(r"`(\w+)`", fields[1])}


def test_pictures_of_one_name_do_not_overwrite_each_other(tmp_path, gallery, portrait):
    for folder in "ab":
        (tmp_path / "in" / folder).mkdir(parents=True)
        shutil.copy(portrait, tmp_path / "in" / folder / "x.png")
    assert lrface("identify", gallery, tmp_path / "in", "--out", tmp_path / "out").returncode == 0
    assert {path.name for path in (tmp_path / "out").rglob("*.jpg")} == {"x.jpg", "x-1.jpg"}


def test_watch_a_video(tmp_path, gallery, portrait):
    path = clip(tmp_path / "clip.avi", portrait, 20)
    done = lrface(
        "watch", gallery, path, "--out", tmp_path / "out", "--stride", "2", "--detect-every", "auto", "--json"
    )
    assert done.returncode == 0, done.stderr
    (sighting,) = map(json.loads, done.stdout.splitlines())
    assert [face["name"] for face in sighting["faces"]] == [COLLINS.name]
    out = tmp_path / "out" / "run-0001"
    assert re.search(r"10 frames: Eileen Collins in 10;.* latency p50 \d+ ms, p99 \d+ ms", done.stderr)
    frames = [json.loads(line)["frame"] for line in (out / "identifications.jsonl").open()]
    assert frames == list(range(0, 20, 2))
    assert json.loads((out / "identifications.jsonl").open().readline()) == sighting
    with VideoSource(out / "annotated.mp4") as video:
        assert len(list(video)) == 10
        assert video.fps == pytest.approx(5)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_watch_that_is_stopped_leaves_whole_files(tmp_path, gallery, portrait, number, code):
    path, out = clip(tmp_path / "long.avi", portrait, 3000), tmp_path / "out"
    command = [sys.executable, "-m", "lrface", "watch", str(gallery), str(path), "--out", str(out)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert running.stdout is not None
    assert "Eileen Collins" in running.stdout.readline()  # told while the video is still being watched
    give_up = time.monotonic() + 60  # on a busy machine the first frame is written long after it was told
    while not list(out.glob("run-0001/*.mp4*")) and time.monotonic() < give_up:
        time.sleep(0.05)
    time.sleep(0.5)
    running.send_signal(number)
    _, told = running.communicate(timeout=300)
    assert running.returncode == code, told
    assert "Traceback" not in told
    assert "what was finished is kept" in told
    out = out / "run-0001"
    assert {file.name for file in out.iterdir()} == {
        "annotated.mp4", "identifications.jsonl", "events.jsonl", "timeline.png", "contact-sheet.jpg",
    }  # fmt: skip
    lines = (out / "identifications.jsonl").read_text("utf-8").splitlines()
    assert all(json.loads(line)["faces"] for line in lines)
    assert len(lines) <= len(list(VideoSource(out / "annotated.mp4"))) < 3000


def test_reader_that_goes_away(gallery, portrait):
    pictures = [str(portrait)] * 30
    command = [sys.executable, "-m", "lrface", "identify", str(gallery), *pictures]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.readline()
    running.stdout.close()
    assert "Traceback" not in running.stderr.read()
    assert running.wait(60) == 1


def test_models(tmp_path):
    listed, verified = lrface("models", "list"), lrface("models", "verify")
    assert (listed.returncode, verified.returncode) == (0, 0)
    names = {"lrface-16", "lrface-64", "lrface-detector"}
    assert names <= {line.split("\t")[0] for line in listed.stdout.splitlines()}
    assert {line.split("\t")[1] for line in verified.stdout.splitlines()} == {"ok"}
    assert str(models_folder()) in listed.stderr


def test_openvino_is_chosen_and_said(gallery, portrait):
    listed = lrface("models", "list", "--device", "openvino")
    assert listed.returncode == 0, listed.stderr
    said = {line.split("\t")[0]: line.split("\t")[-1] for line in listed.stdout.splitlines()}
    assert said["lrface-16"] == "openvino in int8"
    assert said["lrface-landmarks"] in ("openvino in float32", "openvino in bfloat16")
    found = lrface("identify", gallery, portrait, "--device", "openvino", "--json")
    assert (found.returncode, json.loads(found.stdout)["faces"][0]["name"]) == (0, "Eileen Collins")
    assert f"detector on {said['lrface-detector']}" in found.stderr
    refused = lrface("identify", gallery, portrait, "--device", "openvno")
    assert (refused.returncode, "choose one of cpu, cuda" in refused.stderr) == (1, True)


def test_version_is_one(root):
    assert package.__version__ in lrface("--version").stdout


def test_file_name_that_is_no_unicode(tmp_path, gallery, portrait):
    name = bytes(tmp_path / "caf") + b"\xe9.png"
    with open(name, "wb") as file:
        file.write(portrait.read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "lrface", "identify", str(gallery), name, "--json", "--out", str(tmp_path / "out")],
        capture_output=True,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    for line in (done.stdout, (tmp_path / "out" / "run-0001" / "identifications.jsonl").read_bytes()):
        record = json.loads(line)
        assert os.fsencode(record["source"]) == name
        assert record["faces"][0]["name"] == COLLINS.name
