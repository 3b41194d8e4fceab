"""`lrface watch GALLERY cameras.toml`: events on stdout and in files; signals end it within two seconds."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys

import pytest
from clips import clip
from live_cameras import http_camera, seconds_to_end
from receivers import Receiver, free_port

from lrface.cli.app import FAILED, WRONG_USAGE, run
from lrface.outputs.outbox import Outbox


@pytest.fixture
def staff(tmp_path, enrolled):
    shutil.copy(enrolled, tmp_path / "staff.gallery")
    return str(tmp_path / "staff.gallery")


def write(folder, text):
    (folder / "cameras.toml").write_text(text, "utf-8")
    return str(folder / "cameras.toml")


def test_two_clips_with_a_webhook(tmp_path, staff, portrait, capsys):
    for name in ("a", "b"):
        clip(tmp_path / f"{name}.avi", portrait, 4)
    with Receiver() as receiver:
        text = f"""
        [[cameras]]
        name = "door"
        source = "a.avi"
        [[cameras]]
        name = "poster"
        source = "b.avi"
        [[cameras.masks]]
        polygon = [[0, 0], [1, 0], [1, 1], [0, 1]]
        [[events.webhooks]]
        url = "{receiver.url}"
        """
        assert run(["watch", staff, write(tmp_path, text), "--json", "--out", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    events = [json.loads(line) for line in out.splitlines()]
    assert [(e["event"], e["camera"], e["name"]) for e in events] == [
        (kind, "door", "Eileen Collins") for kind in ("appeared", "identified", "left")
    ]  # fmt: skip
    written = (tmp_path / "out" / "run-0001" / "events.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in written] == events
    assert receiver.ids == [event["id"] for event in events]
    assert "door: 4 frames, 3 events, latency p50" in err
    assert "poster: 4 frames, 0 events" in err


def test_a_camera_that_cannot_be_read_is_told_at_the_end(tmp_path, staff, portrait, capsys):
    clip(tmp_path / "a.avi", portrait, 2)
    text = '[[cameras]]\nname = "a"\nsource = "a.avi"\n[[cameras]]\nname = "b"\nsource = "gone.avi"\n'
    assert run(["watch", staff, write(tmp_path, text)]) == FAILED
    out, err = capsys.readouterr()
    assert "a  track 1 identified: Eileen Collins  similarity 0." in out
    assert "1 of 2 cameras could not be read: b (" in err


@pytest.mark.parametrize(
    ("text", "options", "code", "message"),
    [
        ('[[cameras]]\nname = "a"\nsource = 0\nrotate = 5', [], FAILED, "cameras.toml, line 4: cameras[1].rotate"),
        ('[[cameras]]\nname = "a"\nsource = 0', ["--rotate", "90"], WRONG_USAGE, "fields of each camera"),
    ],
)
def test_wrong_use(tmp_path, staff, capsys, text, options, code, message):
    assert run(["watch", staff, write(tmp_path, text), *options]) == code
    assert message in capsys.readouterr().err


@pytest.fixture
def camera(portrait):
    with http_camera(portrait) as port:
        yield port


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_end_it_with_whole_files(tmp_path, staff, camera, number, code):
    text = f"""
    [[cameras]]
    name = "door"
    source = "http://127.0.0.1:{camera}/live"
    stall_s = 20
    [[cameras]]
    name = "dead"
    source = "rtsp://127.0.0.1:{free_port()}/live"
    [[events.webhooks]]
    url = "http://127.0.0.1:{free_port()}/hook"
    [[events.webhooks]]
    url = "http://127.0.0.1:{free_port()}/hook"
    """
    command = [sys.executable, "-m", "lrface", "watch", staff, write(tmp_path, text), "--out", str(tmp_path / "out")]
    command += ["--json", "--networks", "fast"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        first = process.stdout.readline() + process.stdout.readline()  # appeared, identified
        process.send_signal(number)
        seconds = seconds_to_end(process)
        rest, told = process.communicate()
    assert process.returncode == code, told
    assert seconds < 2
    events = [json.loads(line) for line in (first + rest).splitlines()]
    assert [event["event"] for event in events][-1] == "left"
    written = (tmp_path / "out" / "run-0001" / "events.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in written] == events
    assert told.count(f"{len(events)} events wait for webhook") == 2
    with Outbox(tmp_path / "cameras.outbox") as outbox:
        waiting = [name for name in told.split() if name.startswith("(") and name.endswith(");")]
        assert len(waiting) == 2
        kept = outbox._database.execute("SELECT body FROM event ORDER BY number").fetchall()
    assert sorted(json.loads(body)["id"] for (body,) in kept) == sorted(2 * [event["id"] for event in events])
