"""`--out`, signals and kills, through real processes: no file of the user is touched, and what was seen is kept."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import time
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import clip
from shell import lrface, refused, start, wait_for_bytes

from lrface.cli.demo_scene import COLLINS
from lrface.inputs.video import VideoSource

RUN = "run-0001"


def state(folder: Path) -> dict[str, str]:
    """What lies in a folder, but for the folders of runs."""
    files = [path for path in folder.rglob("*") if path.is_file() and "run-" not in str(path.relative_to(folder))]
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


def wait_for_line(running: subprocess.Popen[str]) -> None:
    assert running.stdout is not None
    assert "Eileen Collins" in running.stdout.readline()


# -- the user's own files ---------------------------------------------------------------------------------------------


def test_identify_in_place_keeps_the_originals_and_earlier_runs(tmp_path, enrolled, portrait):
    cv2.imwrite(str(tmp_path / "a.jpg"), cv2.imread(str(portrait)))
    (tmp_path / "identifications.jsonl").write_text("mine")
    before = state(tmp_path)
    for run in (RUN, "run-0002"):  # the second must not take the first one's pictures for pictures to identify
        done = lrface("identify", enrolled, tmp_path, "--out", tmp_path)
        assert done.returncode == 0, done.stderr
        assert {path.name for path in (tmp_path / run).iterdir()} == {"a.jpg", "identifications.jsonl"}
        assert f"wrote {tmp_path / run}" in done.stderr
        assert ("left out 1 pictures" in done.stderr) == (run != RUN)
    assert state(tmp_path) == before
    assert stat.S_IMODE((tmp_path / RUN).stat().st_mode) == 0o700


def test_watch_in_place_keeps_the_original_and_earlier_runs(tmp_path, enrolled, portrait):
    video = clip(tmp_path / "annotated.avi", portrait, 5).rename(tmp_path / "annotated.mp4")
    before = state(tmp_path)
    for run in (RUN, "run-0002"):
        done = lrface("watch", enrolled, video, "--out", tmp_path)
        assert done.returncode == 0, done.stderr
        assert len(list(VideoSource(tmp_path / run / "annotated.mp4"))) == 5
    assert state(tmp_path) == before


def test_links_in_the_way_lead_nowhere(tmp_path, enrolled, portrait):
    out, treasure = tmp_path / "out", tmp_path / "treasure"
    treasure.write_text("kept")
    out.mkdir()
    for name in ("identifications.part.jsonl", "identifications.jsonl", "astronaut.jpg", RUN):
        (out / name).symlink_to(treasure)
    assert lrface("identify", enrolled, portrait, "--out", out).returncode == 0
    assert treasure.read_text() == "kept"
    assert len(list((out / "run-0002").iterdir())) == 2


def test_two_watches_with_one_out_both_keep_all(tmp_path, enrolled, portrait):
    video = clip(tmp_path / "clip.avi", portrait, 30)
    both = [start("watch", enrolled, video, "--out", tmp_path / "out") for _ in range(2)]
    assert [running.wait(120) for running in both] == [0, 0]
    for run in (RUN, "run-0002"):
        assert len((tmp_path / "out" / run / "identifications.jsonl").read_text().splitlines()) == 30
        assert len(list(VideoSource(tmp_path / "out" / run / "annotated.mp4"))) == 30


@pytest.mark.parametrize("command", ["identify", "watch"])
def test_full_disk_is_told_and_nothing_else_is_lost(tmp_path, enrolled, portrait, command):
    source = portrait if command == "identify" else clip(tmp_path / "clip.avi", portrait, 200)
    limit = 30_000
    done = lrface(
        command, enrolled, source, "--out", tmp_path / "out",
        before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    refused(done, "cannot write", "free some space")
    assert all(cv2.imread(str(path)) is not None for path in (tmp_path / "out" / RUN).glob("*.jpg"))  # whole, or none


# -- ends -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_identify_that_is_stopped_leaves_whole_files(tmp_path, enrolled, portrait, number):
    running = start("identify", enrolled, *[portrait] * 500, "--out", tmp_path / "out")
    wait_for_line(running)
    time.sleep(0.3)
    running.send_signal(number)
    _, told = running.communicate(timeout=300)
    assert running.returncode == 128 + number, told
    assert "Traceback" not in told
    folder = tmp_path / "out" / RUN
    pictures = [path for path in folder.iterdir() if path.suffix == ".jpg"]
    assert len(pictures) + 1 == len(list(folder.iterdir()))
    lines = [json.loads(line) for line in (folder / "identifications.jsonl").open()]
    assert 0 < len(lines) <= len(pictures) <= len(lines) + 1
    assert all(cv2.imread(str(path)) is not None for path in pictures)


def test_watch_that_is_killed_leaves_files_that_can_be_read(tmp_path, enrolled, portrait):
    running = start("watch", enrolled, clip(tmp_path / "clip.avi", portrait, 1000), "--out", tmp_path / "out")
    lines = tmp_path / "out" / RUN / "identifications.jsonl"
    wait_for_bytes(lines, 60_000)
    running.kill()
    running.communicate()
    seen = [json.loads(line) for line in lines.read_text("utf-8").splitlines()[:-1]]  # the last may be half a line
    kept = list(VideoSource(tmp_path / "out" / RUN / "annotated.mp4"))
    assert len(seen) - 12 <= len(kept) <= len(seen) + 2  # at most the last second is missing
    assert not list(tmp_path.rglob("*.part*"))


def test_service_managers_send_two_signals(tmp_path, enrolled, portrait):
    path = clip(tmp_path / "clip.avi", portrait, 1000)
    running = start("watch", enrolled, path, "--out", tmp_path / "out", ignored=signal.SIGINT)  # as `... &` in a script
    wait_for_bytes(tmp_path / "out" / RUN / "identifications.jsonl", 1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
        running.send_signal(number)
    _, told = running.communicate(timeout=300)
    assert running.returncode in (143, 129)
    assert "Traceback" not in told
    assert (tmp_path / "out" / RUN / "contact-sheet.jpg").exists()


def test_nohup_is_respected(tmp_path, enrolled, portrait):
    done = lrface(
        "identify",
        enrolled,
        portrait,
        before=lambda: (signal.signal(signal.SIGHUP, signal.SIG_IGN), os.kill(os.getpid(), 1)),
    )
    assert done.returncode == 0


# -- one picture's trouble --------------------------------------------------------------------------------------------


def test_odd_names_and_sizes_end_no_batch(tmp_path, enrolled, portrait):
    inbox, out = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    for name in ("x" * 251 + ".png", "x" * 250 + "y.png", "é" * 125 + ".png", "plain.png"):
        shutil.copy(portrait, inbox / name)
    cv2.imwrite(str(inbox / "wide.png"), np.full((8, 65_501, 3), 100, np.uint8))
    done = lrface("identify", enrolled, inbox, "--out", out)
    assert done.returncode == 0, done.stderr
    names = [path.name for path in (out / RUN).iterdir()]
    assert len(names) == 6
    assert {"plain.jpg", "wide.png", "é" * 100 + ".jpg", "x" * 200 + ".jpg", "x" * 200 + "-1.jpg"} < set(names)


def test_rotate_and_aspect(tmp_path, enrolled, portrait):
    image = cv2.imread(str(portrait))
    squeezed = cv2.resize(cv2.rotate(image, cv2.ROTATE_180), (256, 512), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(tmp_path / "mounted.png"), squeezed)
    done = lrface("identify", enrolled, tmp_path / "mounted.png", "--rotate", "180", "--aspect", "1:1", "--json")
    (face,) = [face for face in json.loads(done.stdout)["faces"] if face["name"]]
    assert face["name"] == COLLINS.name
    x1, y1, x2, y2 = face["box"]
    assert 178 < (x1 + x2) / 2 < 269  # in the picture as it should be seen
    assert 65 < (y1 + y2) / 2 < 176
    refused(lrface("identify", enrolled, portrait, "--aspect", "wide"), "4:3")


def test_watch_rotates_and_stretches(tmp_path, enrolled, portrait):
    image = cv2.resize(cv2.imread(str(portrait)), (160, 160), interpolation=cv2.INTER_AREA)
    squeezed = cv2.resize(cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE), (80, 160), interpolation=cv2.INTER_AREA)
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (80, 160))
    for _ in range(3):
        writer.write(squeezed)
    writer.release()
    options = ("--rotate", "270", "--aspect", "1:1", "--out", tmp_path / "out")
    done = lrface("watch", enrolled, tmp_path / "clip.avi", *options)
    assert "Eileen Collins in 3" in done.stderr
    assert next(iter(VideoSource(tmp_path / "out" / RUN / "annotated.mp4"))).image.shape == (160, 160, 3)
