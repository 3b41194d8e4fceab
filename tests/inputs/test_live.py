"""Live sources: the newest frame, connecting again, credentials that appear nowhere."""

from __future__ import annotations

import gc
import http.server
import itertools
import logging
import subprocess
import sys
import threading
import time
import tracemalloc
from typing import ClassVar

import cv2
import numpy as np
import pytest
from fakes import FakeCapture, picture

from lrface.errors import VideoError
from lrface.inputs.live import backoff_s
from lrface.inputs.video import StreamEvent, VideoSource

SECRET = "s3cret"


class Script:
    """Hands out one capture after another, records waits, never sleeps."""

    def __init__(self, *captures, stop_after_waits=None):
        self.captures = list(captures)
        self.waits: list[float] = []
        self.events: list[StreamEvent] = []
        self._stop_after_waits = stop_after_waits

    def open(self, source):
        capture = self.captures.pop(0) if self.captures else FakeCapture([], opened=False)
        if isinstance(capture, Exception):
            raise capture
        return capture

    def wait(self, closed, seconds):
        self.waits.append(seconds)
        if self._stop_after_waits is not None and len(self.waits) >= self._stop_after_waits:
            closed.set()

    def source(self, url="rtsp://camera/1", **options):
        return VideoSource(
            url, open_capture=self.open, wait=self.wait, on_event=self.events.append, **{"stall_s": 0.3, **options}
        )


@pytest.mark.parametrize(("attempt", "seconds"), [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16), (5, 30), (500, 30)])
def test_backoff(attempt, seconds):
    assert backoff_s(attempt) == seconds


@pytest.mark.parametrize(
    ("source", "live", "name"),
    [
        (0, True, "camera 0"),
        ("2", True, "camera 2"),
        ("rtsp://h/1", True, "rtsp://h/1"),
        ("http://h/x", True, "http://h/***"),
    ],
)
def test_what_is_live(source, live, name):
    opened = VideoSource(source)
    assert (opened.live, opened.name) == (live, name)


def paced(count, seconds=0.01, value=None):
    for i in range(count):
        time.sleep(seconds)
        yield picture(value=i % 256 if value is None else value)


def test_newest_frame_wins_for_a_slow_consumer():
    script = Script(FakeCapture(paced(100)), stop_after_waits=1)
    seen = []
    for frame in script.source():
        seen.append((frame.index, int(frame.image[0, 0, 0])))
        time.sleep(0.1)
    assert all(index == value for index, value in seen)  # the number belongs to the picture
    assert 3 <= len(seen) < 40
    assert max(b[0] - a[0] for a, b in itertools.pairwise(seen)) >= 4  # frames were passed over, not queued


def test_memory_of_a_live_source_is_bounded():
    frame_bytes = 640 * 480 * 3

    def frames():
        for _ in range(300):
            time.sleep(0.001)
            yield picture(640, 480)

    script = Script(FakeCapture(frames()), stop_after_waits=1)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in script.source():
            time.sleep(0.02)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * frame_bytes


def test_lost_camera_is_connected_again_with_backoff():
    dead = [FakeCapture([], opened=False) for _ in range(6)]
    script = Script(FakeCapture(paced(3)), *dead, FakeCapture(paced(2, value=200)), stop_after_waits=8)
    frames = list(script.source())
    assert frames[-1].image[0, 0, 0] == 200
    assert script.waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert [event.kind for event in script.events] == ["connected", *["lost"] * 7, "connected", "lost"]
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})


def test_backoff_starts_anew_after_a_long_connection():
    now = itertools.count(step=100.0)
    script = Script(*(FakeCapture(paced(2)) for _ in range(4)), stop_after_waits=4)
    list(script.source(clock=lambda: next(now)))
    assert script.waits == [1, 1, 1, 1]


def test_hung_read_is_left_behind_and_reported():
    never = threading.Event()
    hung = FakeCapture([picture(), never])
    script = Script(hung, FakeCapture(paced(2, value=200)), stop_after_waits=2)
    frames = list(script.source())
    assert frames[-1].image[0, 0, 0] == 200
    assert [event.kind for event in script.events] == ["connected", "stalled", "connected", "lost"]
    never.set()
    assert hung.released.wait(60)  # once the driver comes back, the camera is let go


def test_hung_readers_do_not_pile_up():
    never = threading.Event()
    captures = [FakeCapture([picture(), never]) for _ in range(9)]
    script = Script(*captures, stop_after_waits=12)
    before = threading.active_count()
    for _ in script.source(stall_s=0.1):
        assert threading.active_count() <= before + 4
    assert len(captures) - len(script.captures) <= 4
    never.set()


class Failing(FakeCapture):
    """A capture of which one method raises."""

    def __init__(self, method, error):
        super().__init__([picture()])
        setattr(self, method, self._fail)
        self._error = error

    def _fail(self, *_):
        raise self._error


@pytest.mark.parametrize("error", [cv2.error, RuntimeError, OSError, MemoryError, UnicodeDecodeError])
@pytest.mark.parametrize("method", ["read", "isOpened", "get", "release"])
def test_whatever_a_driver_raises_is_a_loss_and_nothing_of_it_is_told(method, error, capfd):
    said = f"rtsp://user:{SECRET}@host/"
    fault = error("utf-8", b"", 0, 1, said) if error is UnicodeDecodeError else error(said)
    script = Script(FakeCapture(paced(1)), Failing(method, fault), FakeCapture(paced(1, value=200)), stop_after_waits=3)
    frames = list(script.source())
    assert (frames[0].image[0, 0, 0], frames[-1].image[0, 0, 0]) == (0, 200)
    assert [event.kind for event in script.events if event.kind != "connected"] == ["lost"] * 3
    assert SECRET not in "".join(capfd.readouterr()) + "".join(event.message for event in script.events)


def test_a_driver_that_hangs_when_it_is_opened_is_left_behind():
    never = threading.Event()
    script = Script(FakeCapture(paced(1)), FakeCapture(paced(2, value=200)), stop_after_waits=3)
    calls = itertools.count()

    def open_second_time_never(source):
        if next(calls) == 1:
            never.wait(20)
            raise OSError
        return script.open(source)

    source = VideoSource(
        "rtsp://camera/1",
        open_capture=open_second_time_never,
        wait=script.wait,
        on_event=script.events.append,
        stall_s=0.2,
    )
    frames = list(source)
    assert frames[-1].image[0, 0, 0] == 200
    assert [event.kind for event in script.events] == ["connected", "lost", "stalled", "connected", "lost"]
    never.set()


def test_a_driver_that_hangs_when_it_is_closed_delays_the_next_attempt_by_a_moment_only():
    never = threading.Event()
    hangs = FakeCapture(paced(1))
    hangs.release = lambda: never.wait(20)
    script = Script(hangs, FakeCapture(paced(1, value=200)), stop_after_waits=2)
    start = time.monotonic()
    assert next(f for f in script.source(stall_s=0.2) if f.image[0, 0, 0] == 200)
    assert time.monotonic() - start < 10  # less than the 20 s of the driver
    never.set()


@pytest.mark.parametrize(
    "unusable",
    [
        np.full((48, 64, 3), 100, np.uint16),
        np.full((48, 64, 3), 0.5, np.float32),
        np.zeros((0, 0, 3), np.uint8),
        np.broadcast_to(np.uint8(1), (30_000, 30_000, 3)),
    ],
    ids=["16 bits", "floating point", "empty", "gigantic"],
)
def test_a_picture_that_cannot_be_used_is_a_loss(unusable):
    script = Script(FakeCapture([picture(), unusable]), FakeCapture(paced(1, value=200)), stop_after_waits=2)
    frames = list(script.source())
    assert {frame.image.shape for frame in frames} == {(48, 64, 3)}
    assert frames[-1].image[0, 0, 0] == 200
    assert [event.kind for event in script.events] == ["connected", "lost", "connected", "lost"]


def test_stream_that_changes_size():
    script = Script(FakeCapture(paced(1)), FakeCapture([picture(320, 240)]), stop_after_waits=2)
    assert [frame.image.shape[:2] for frame in script.source()] == [(48, 64), (240, 320)]


@pytest.mark.parametrize(
    "first", [FakeCapture([], opened=False), FakeCapture([]), cv2.error("no"), FakeCapture([threading.Event()])]
)
def test_source_that_never_worked_is_an_error(first):
    script = Script(first)
    with pytest.raises(VideoError, match="rtsp://camera/1"):
        list(script.source(stall_s=0.1))


def test_close_from_another_thread_ends_a_waiting_iteration():
    never = threading.Event()
    source = Script(FakeCapture([picture(), never])).source(stall_s=30)
    threading.Timer(0.3, source.close).start()
    start = time.monotonic()
    assert len(list(source)) == 1
    assert time.monotonic() - start < 20  # less than stall_s
    never.set()


# -- credentials ------------------------------------------------------------------------------------------------------

URLS = [
    f"rtsp://admin:{SECRET}@10.0.0.5/live",
    f"rtsp://admin:p@{SECRET}@10.0.0.5:554/live",
    f"rtsp://admin:p/{SECRET}@10.0.0.5:554/live",
    f"rtsp://admin:p?{SECRET}@10.0.0.5:554/live",
    f"rtsp://admin:p#{SECRET}@10.0.0.5:554/live",
    f"http://10.0.0.5/video.cgi?user=admin&pwd={SECRET}",
    f"rtsp://10.0.0.5/user=admin&password={SECRET}&channel=1",
    f"rtsps://{SECRET}@10.0.0.5/live#{SECRET}",
]


@pytest.mark.parametrize("url", URLS)
def test_no_credentials_in_events_log_or_errors(url, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    leaky = cv2.error(f"cannot open {url}")
    script = Script(FakeCapture([picture()]), leaky, FakeCapture([picture(), leaky]), stop_after_waits=3)
    source = script.source(url)
    list(source)
    with pytest.raises(VideoError) as caught:
        list(Script(leaky).source(url))
    logged = VideoSource(url, open_capture=script.open)
    with pytest.raises(VideoError):
        list(logged)
    told = [source.name, repr(source), *(event.message for event in script.events), caplog.text, *capfd.readouterr()]
    error: BaseException | None = caught.value
    while error is not None:
        told.append(repr(error))
        error = error.__cause__ or error.__context__
    assert SECRET not in "\n".join(told)


def test_no_credentials_on_stderr_from_ffmpeg():
    code = (
        "import lrface\n"
        "for url in ('rtsp://u:%s@127.0.0.1:9/x', 'http://u:%s@127.0.0.1:9/x?pwd=%s'):\n"
        "    try:\n        next(iter(lrface.VideoSource(url, stall_s=5)))\n"
        "    except lrface.VideoError as error:\n        print(error)\n"
    ).replace("%s", SECRET)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.count("does not answer") == 2
    assert done.stderr == ""
    assert SECRET not in done.stdout


class MotionJpeg(http.server.BaseHTTPRequestHandler):
    """A camera that wants a password, sends a second of pictures, then drops the connection."""

    connections: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.connections.append(self.headers.get("Authorization", ""))
        size = (64, 48) if len(self.connections) < 3 else (128, 96)
        if not self.connections[-1]:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for value in range(20):
            data = cv2.imencode(".jpg", picture(*size, value=10 * value))[1].tobytes()
            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data))
            self.wfile.write(data + b"\r\n")
            time.sleep(0.03)

    def log_message(self, *_: object) -> None: ...


def test_a_real_stream_that_drops_is_connected_again(capfd):
    events: list[StreamEvent] = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), MotionJpeg) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://admin:{SECRET}@127.0.0.1:{server.server_port}/live"
        sizes = []
        with VideoSource(url, on_event=events.append, wait=lambda closed, _: closed.wait(0.05)) as source:
            for frame in source:
                sizes.append(frame.image.shape[:2])
                if sizes[-1] == (96, 128):
                    break
        server.shutdown()
    assert sizes.count((48, 64)) >= 3
    assert [event.kind for event in events][:3] == ["connected", "lost", "connected"]
    assert SECRET not in "".join(event.message for event in events) + "".join(capfd.readouterr())


def test_an_event_is_its_text():
    from lrface.inputs.live import StreamEventKind

    assert [str(kind) for kind in StreamEventKind] == ["connected", "lost", "stalled", "truncated"]
    assert StreamEvent(StreamEventKind.LOST, "gone").kind == "lost"
