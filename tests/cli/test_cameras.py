"""`lrface watch GALLERY cameras.toml`: events on stdout and in files; signals end it within two seconds."""

from __future__ import annotations

import http.server
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import cv2
import pytest
from clips import clip
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


class Camera(http.server.BaseHTTPRequestHandler):
    """A camera that shows one picture without end."""

    picture = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            while True:
                self.wfile.write(
                    b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(self.picture)
                )
                self.wfile.write(self.picture + b"\r\n")
                time.sleep(0.1)
        except OSError:
            return

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def camera(portrait):
    image = cv2.resize(cv2.imread(str(portrait)), None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    Camera.picture = cv2.imencode(".jpg", image)[1].tobytes()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def seconds_to_end(process: subprocess.Popen[str]) -> float:
    """Seconds until a process has ended, less those in which its main thread was ready and had no core."""

    def without_core() -> float:
        return int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[1]) / 1e9

    started, before = time.monotonic(), without_core()
    after = before
    while process.poll() is None and time.monotonic() - started < 60:
        with suppress(OSError, IndexError):
            after = max(after, without_core())
        time.sleep(0.01)
    return time.monotonic() - started - (after - before)


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
