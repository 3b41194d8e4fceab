"""INT, TERM and HUP end `lrface watch SOURCE` within 2 s: tracks are ended, their events and files are whole."""

from __future__ import annotations

import json
import signal
import time

import pytest
from clips import clip
from live_cameras import http_camera, seconds_to_end
from shell import start, wait_for_bytes

from lrface.inputs.video import VideoSource

RUN = "run-0001"
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
SHOWS = {"camera": None, "silent camera": 12}


@pytest.mark.parametrize(
    ("source", "number"),
    [*(("camera", number) for number in CODES), ("silent camera", signal.SIGINT), ("file", signal.SIGTERM)],
)
def test_signals_end_it_with_the_events_of_its_tracks(tmp_path, enrolled, portrait, source, number):
    if source == "file":
        _stop(enrolled, clip(tmp_path / "clip.avi", portrait, 1000), tmp_path, number)
        return
    with http_camera(portrait, SHOWS[source]) as port:
        _stop(enrolled, f"http://127.0.0.1:{port}/live", tmp_path, number, silent=SHOWS[source] is not None)


def _stop(gallery, source, folder, number, silent=False):
    out = folder / "out" / RUN
    with start("watch", gallery, source, "--out", folder / "out", "--networks", "fast") as running:
        try:
            wait_for_bytes(out / "events.jsonl", 600)  # appeared, identified
            if silent:
                time.sleep(1.5)  # all of its frames are seen: the next read waits
            running.send_signal(number)
            seconds = seconds_to_end(running)
        finally:
            running.kill()
        _, told = running.communicate()
    assert running.returncode == CODES[number], told
    assert "Traceback" not in told
    assert seconds < 2
    events = [json.loads(line) for line in (out / "events.jsonl").read_text("utf-8").splitlines()]
    assert [event["event"] for event in events] == ["appeared", "identified", "left"]
    assert {event["name"] for event in events[1:]} == {"Eileen Collins"}
    frames = [json.loads(line)["frame"] for line in (out / "identifications.jsonl").read_text("utf-8").splitlines()]
    assert len(list(VideoSource(out / "annotated.mp4"))) >= len(frames) > 1
    assert {path.name for path in out.iterdir()} == {
        "annotated.mp4", "identifications.jsonl", "events.jsonl", "timeline.png", "contact-sheet.jpg",
    }  # fmt: skip
