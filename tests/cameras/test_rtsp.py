"""A real RTSP server that is killed, restarted, changes its size and falls silent: the watcher recovers each time."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

import cv2
import pytest
from receivers import Receiver, free_port, until

import lrface
from lrface.cameras.config import Camera
from lrface.cameras.running import watch_cameras
from lrface.outputs.event_sinks import EventSinks
from lrface.outputs.sinks import JsonLines
from lrface.outputs.webhook import Webhook
from lrface.tracks.following import TrackFollower

PYTHON = "/usr/bin/python3"  # Debian's, for which python3-gi is
NEEDED = "gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base gstreamer1.0-plugins-good " \
    "gstreamer1.0-plugins-ugly"  # fmt: skip

FOUND = "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0')"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, portrait):
    """Eileen Collins, moving a little."""
    folder = tmp_path_factory.mktemp("pictures")
    image = cv2.resize(cv2.imread(str(portrait)), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    for i in range(20):
        cv2.imwrite(str(folder / f"{i:03d}.jpg"), image[i : i + 200, 10:210], [cv2.IMWRITE_JPEG_QUALITY, 95])
    return folder


class Server:
    """The server in a process of its own."""

    def __init__(self, pictures: Path, port: int, size: int) -> None:
        script = Path(__file__).parents[1] / "helpers" / "rtsp_server.py"
        command = [PYTHON, str(script), str(port), str(pictures), str(size), str(size)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def resize(self, size: int) -> None:
        self.process.stdin.write(f"{size} {size}\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(pictures):
    """Starts servers; the last one is ended."""
    if not Path(PYTHON).exists() or subprocess.run([PYTHON, "-c", FOUND], capture_output=True).returncode:
        pytest.skip(f"needs an RTSP server: apt-get install {NEEDED}")
    started = []

    def start(port: int, size: int) -> Server:
        started.append(Server(pictures, port, size))
        return started[-1]

    yield start
    for each in started:
        each.end()


class Faults(TrackFollower):
    """Makes the server fail in one way after another, each after the person was named in a few frames."""

    def __init__(self, matcher, camera, start, port):
        super().__init__(matcher, camera=camera.name)
        self._start, self._port = start, port
        self.server = start(port, 200)
        self._steps = [self.resize, self.restart, self.silence, self.finish]
        self._named, self.sizes = 0, []

    def update(self, frame, found, faces):
        events = super().update(frame, found, faces)
        self.sizes.append(frame.image.shape[0])
        self._named += [face.name for face in self.seen] == ["Eileen Collins"]
        if self._named >= 5:
            self._named = 0
            self._steps.pop(0)()
        return events

    def resize(self):
        self.server.resize(320)

    def restart(self):
        self.server.end()
        self.server = self._start(self._port, 160)

    def silence(self):
        self.server.process.send_signal(signal.SIGSTOP)

    def told(self, event):
        if event.kind == "stalled":
            self.server.process.send_signal(signal.SIGCONT)

    def finish(self):
        raise KeyboardInterrupt


def test_the_watcher_recovers_from_every_fault_of_a_real_server(tmp_path, enrolled, server, monkeypatch):
    monkeypatch.setattr("lrface.inputs.live.backoff_s", lambda attempt: 0.2)
    shutil.copy(enrolled, tmp_path / "staff.gallery")
    port = free_port()
    camera = Camera("door", f"rtsp://127.0.0.1:{port}/live", stall_s=4)
    told, events = [], []
    with (
        lrface.FaceMatcher.open(tmp_path / "staff.gallery", networks="fast") as matcher,
        Receiver([503, None]) as receiver,
        EventSinks(JsonLines(tmp_path / "events.jsonl"), tmp_path / "outbox", [Webhook(receiver.url)]) as sinks,
    ):
        tracking = Faults(matcher, camera, server, port)

        def stream_event(_, event):
            told.append(str(event.kind))
            tracking.told(event)

        with pytest.raises(KeyboardInterrupt):
            watch_cameras(
                matcher, [camera], tracking=lambda _: tracking, sinks=sinks, on_events=events.extend,
                on_stream_event=stream_event,
            )  # fmt: skip
        until(lambda: not any(sinks.waiting().values()))
    assert told[0] == told[-1] == "connected"
    assert told.count("connected") >= 3
    assert {"lost", "stalled"} <= set(told)
    assert {200, 160} <= set(tracking.sizes)
    assert {event["name"] for event in events} - {None} == {"Eileen Collins"}
    assert [event["event"] for event in events][-1] == "left"
    assert [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()] == events
    ids = list(dict.fromkeys(receiver.ids))
    assert ids == [event["id"] for event in events]
