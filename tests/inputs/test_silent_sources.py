"""Cameras that accept a connection and then stay silent: nothing else waits for them."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from videos import encode_video

from lrface.inputs.stream_process import StreamProcess, open_source
from lrface.inputs.video import VideoSource

WAITING = "import sys, lrface; print('go', flush=True); list(lrface.VideoSource(sys.argv[1], stall_s=60))"


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_silent_camera_delays_no_other_video(tmp_path, silent, scheme):
    clip = encode_video(tmp_path / "clip.mp4", [np.zeros((48, 64, 3), np.uint8)] * 3)
    source = VideoSource(f"{scheme}://127.0.0.1:{silent}/live", stall_s=20)
    waiting = threading.Thread(target=lambda: list(source), daemon=True)
    waiting.start()
    time.sleep(1.0)  # until the other process is at it
    started = time.monotonic()
    with VideoSource(clip) as video:
        assert len(list(video)) == 3
    assert time.monotonic() - started < 10  # less than stall_s: nothing waited for the silent one
    source.close()
    waiting.join(15)  # less than stall_s
    assert not waiting.is_alive()


def test_ctrl_c_ends_the_wait_for_a_silent_camera(silent):
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, f"rtsp://127.0.0.1:{silent}/live"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "go\n"
    time.sleep(2.0)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=300)
    assert time.monotonic() - started < 20  # less than stall_s
    assert "KeyboardInterrupt" in told


def children(pid: int) -> list[int]:
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in lists for child in file.read_text().split()]


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")
def test_no_reader_is_left_when_its_program_is_killed(silent):
    with subprocess.Popen(
        [sys.executable, "-c", WAITING, f"rtsp://127.0.0.1:{silent}/live"], stdout=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        deadline = time.monotonic() + 60
        while not (readers := children(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.0)
        process.kill()
    assert readers
    deadline = time.monotonic() + 30  # less than stall_s
    while any(runs(pid) for pid in readers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(runs(pid) for pid in readers)


@pytest.mark.parametrize(
    ("attribute", "value"), [("frozen", True), ("executable", "/usr/bin/uwsgi"), ("executable", "")]
)
def test_without_a_python_to_start_the_stream_is_opened_here(monkeypatch, attribute, value):
    monkeypatch.setattr(sys, attribute, value, raising=False)
    capture = open_source("http://127.0.0.1:9/live")
    assert not isinstance(capture, StreamProcess)
    assert not capture.isOpened()


def test_a_reader_that_crashes_is_a_lost_connection(tmp_path):
    clip = encode_video(tmp_path / "clip.mp4", [np.full((48, 64, 3), 30 * i, np.uint8) for i in range(5)], rate=5)
    capture = StreamProcess(f"file://{clip}")
    assert capture.isOpened()
    assert capture.get(5) == pytest.approx(5)
    ok, image = capture.read()
    assert ok
    assert image.shape == (48, 64, 3)
    capture.read()
    assert capture.get(0) == pytest.approx(200)  # milliseconds
    capture._process.kill()
    capture._process.wait()
    assert [capture.read()[0] for _ in range(5)][-1] is False
    capture.release()
