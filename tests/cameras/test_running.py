"""Several cameras in one process: one batch for all faces, no camera waits for another, nothing is lost at the end."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_models
from camera_fakes import paced, told
from fakes import FakeCapture, picture
from live_cameras import without_core

from lrface.cameras.config import Camera
from lrface.cameras.running import follower_of, watch_cameras
from lrface.cameras.zones import Zone
from lrface.errors import DetectionError, GalleryInUseError, GalleryServerError, VideoError
from lrface.outputs.event_sinks import EventSinks
from lrface.outputs.webhook import Webhook
from lrface.tracks.strangers import Strangers

SEEN = {name: [("appeared", name), ("identified", name), ("left", name)] for name in ("Ada", "Bob")}
ADA, BOB = tiny_models.scene(("Ada", 20, 20, 32)), tiny_models.scene(("Bob", 120, 60, 40))


@pytest.fixture(scope="module")
def matcher(tmp_path_factory):
    models = tiny_models.write_models(tmp_path_factory.mktemp("models"))
    with tiny_models.open_matcher(":memory:", models) as opened:
        for name in ("Ada", "Bob", "Cid"):
            opened.enroll(name, [tiny_models.portrait(name, photo) for photo in range(3)])
        yield opened


def now():
    """Seconds, less those in which other programs had all cores."""
    return time.monotonic() - without_core(os.getpid())


class Watched:
    """Follows the faces of a camera, and tells a run of each frame."""

    def __init__(self, follower, run):
        self._follower, self._run = follower, run
        self.end, self.wanted = follower.end, follower.wanted

    def update(self, frame, found, faces):
        self._run.frame(self._follower._camera)
        return self._follower.update(frame, found, faces)


class Run:
    """A run over cameras whose captures are given; ends after some events, or when all have ended."""

    def __init__(self, matcher, captures, cameras=None, stop=lambda run: False, sinks=None, embedding_s=0.0, **options):
        self.events, self.told, self.batches, self.frames = [], [], [], Counter()
        self.stop, self._embedding_s = stop, embedding_s
        self._interrupted = now()
        self._captures = {name: list(each) if isinstance(each, list) else [each] for name, each in captures.items()}
        cameras = cameras or [Camera(name, f"rtsp://{name}/", stall_s=0.4) for name in captures]
        strangers = Strangers()
        embed = matcher.networks.embed_crops
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(matcher.networks), "embed_crops", self._counted(embed))
            try:
                self.reports = watch_cameras(
                    matcher,
                    cameras,
                    sinks=sinks or EventSinks(),
                    tracking=lambda camera: Watched(follower_of(matcher, camera, strangers), self),
                    on_events=self._events,
                    on_stream_event=lambda camera, event: self.told.append((camera.name, str(event.kind))),
                    open_capture=self._open,
                    **options,
                )
            except KeyboardInterrupt:
                self.reports = []
            self.ending_s = now() - self._interrupted

    def _counted(self, embed):
        def counted(_, crops, widths):
            self.batches.append(len(crops))
            time.sleep(self._embedding_s)
            return embed(crops, widths)

        return counted

    def frame(self, camera):
        self.frames[camera] += 1
        if self.stop(self):
            self._interrupted = now()
            raise KeyboardInterrupt

    def _events(self, records):
        self.events += records

    def _open(self, source):
        scripts = self._captures[source.split("/")[2]]
        return scripts.pop(0) if scripts else FakeCapture([], opened=False)


def after(seconds):
    began = time.monotonic()
    return lambda run: time.monotonic() - began > seconds


def test_faces_of_all_cameras_go_through_the_networks_together(matcher):
    """Only the first views of a face that does not change are embedded: while one camera's are, the other's arrives."""
    both, done = threading.Barrier(2), after(60)

    def begin_together(pictures):
        both.wait(20)
        yield from pictures

    run = Run(
        matcher,
        {name: FakeCapture(begin_together(paced(face, 10_000))) for name, face in (("a", ADA), ("b", BOB))},
        stop=lambda run: (2 in run.batches and len(run.events) > 3) or done(run),
        embedding_s=0.2,
    )
    assert max(run.batches) == 2
    assert told(run.events, "a") == SEEN["Ada"]
    assert told(run.events, "b") == SEEN["Bob"]
    assert len({event["id"] for event in run.events}) == 6


FAULTS = {
    "never answers": lambda: FakeCapture([], opened=False),
    "hangs at once": lambda: FakeCapture([threading.Event()]),
    "hangs later": lambda: FakeCapture(chain(paced(BOB, 20), [threading.Event()])),
    "ends": lambda: FakeCapture(paced(BOB, 20)),
    "breaks": lambda: FakeCapture(chain(paced(BOB, 20), [cv2.error("rtsp://user:s3cret@host/")])),
    "empty pictures": lambda: FakeCapture([np.zeros((0, 0, 3), np.uint8)]),
    "changes its size": lambda: FakeCapture(chain(paced(BOB, 20), paced(picture(32, 24), 20), paced(BOB, 20))),
    "raises": lambda: FakeCapture(chain(paced(BOB, 20), [RuntimeError("rtsp://user:s3cret@host/")])),
    "16 bits": lambda: FakeCapture(chain(paced(BOB, 20), [BOB.astype(np.uint16)])),
    "grows": lambda: FakeCapture(chain(paced(BOB, 20), [np.broadcast_to(np.uint8(1), (30_000, 30_000, 3))])),
    "other types": lambda: FakeCapture([np.zeros((48, 64), np.uint8), np.zeros((48, 64, 4), np.uint8)]),
    "gigantic": lambda: FakeCapture([BOB], props={3: 30_000, 4: 30_000}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_camera_with_a_fault_delays_no_other(matcher, fault):
    done = after(15)  # a read that hangs does so for 20 seconds
    captures = {"bad": FAULTS[fault](), "good": FakeCapture(paced(ADA, 10_000))}
    run = Run(matcher, captures, stop=lambda run: run.frames["good"] > 40 or done(run))
    assert told(run.events, "good") == SEEN["Ada"]
    assert run.frames["good"] > 40
    assert told(run.events, "bad") in ([], SEEN["Bob"])


def test_a_fault_of_the_reading_thread_ends_that_camera_alone_and_is_told_without_the_address(matcher):
    events, done = [], threading.Event()

    def told_of(camera, _):
        if camera.name == "bad":
            raise ValueError("rtsp://user:s3cret@host/")

    def seen(records):
        events.extend(records)
        if ("identified", "Ada") in told(events, "good"):
            done.set()

    reports = watch_cameras(
        matcher,
        [Camera(name, f"rtsp://{name}/", stall_s=0.4) for name in ("bad", "good")],
        sinks=EventSinks(),
        on_events=seen,
        on_stream_event=told_of,
        open_capture=lambda _: FakeCapture(paced(ADA, 10_000)),
        stop=done,
    )
    assert told(events, "good") == SEEN["Ada"]
    assert "ValueError" in str(reports[0].error)
    assert "s3cret" not in str(reports[0].error)
    assert reports[1].error is None


def test_a_frame_in_which_the_detector_fails_is_passed_over(matcher, monkeypatch):
    real, calls = matcher.detector.detect, []

    class Detector:
        def detect(self, image):
            calls.append(1)
            if len(calls) % 3 == 1:
                raise DetectionError("boxes are not all finite")
            return real(image)

    monkeypatch.setattr(matcher, "detector", Detector())
    run = Run(matcher, {"a": FakeCapture(paced(ADA, 10_000))}, stop=lambda run: run.frames["a"] > 20)
    assert told(run.events, "a") == SEEN["Ada"]


def test_a_lost_camera_is_connected_again_and_names_the_same_people(matcher):
    def answers(run):
        return ("a", "connected") in run.told[1:]

    captures = [FakeCapture(paced(ADA, 20)), FakeCapture(paced(ADA, 10_000))]
    run = Run(matcher, {"a": captures}, stop=answers)
    assert run.told[:3] == [("a", "connected"), ("a", "lost"), ("a", "connected")]
    assert {name for _, name in told(run.events, "a")} == {"Ada"}


def test_tracks_of_a_camera_that_is_gone_are_ended(matcher):
    hung = threading.Event()
    run = Run(
        matcher,
        {"a": FakeCapture(chain(paced(ADA, 20), [hung])), "b": FakeCapture(paced(BOB, 10_000))},
        stop=lambda run: ("left", "Ada") in told(run.events, "a"),
        clock=lambda: 5 * time.monotonic(),  # two seconds without a frame are long
    )
    assert told(run.events, "a") == SEEN["Ada"]
    hung.set()


def test_zones_masks_and_sizes_choose_what_is_embedded(matcher):
    both = tiny_models.scene(("Ada", 20, 20, 32), ("Bob", 220, 60, 40))
    left = ((0, 0), (0.5, 0), (0.5, 1), (0, 1))
    cameras = [
        Camera("zone", "rtsp://zone/", zones=(Zone("left", left),)),
        Camera("mask", "rtsp://mask/", masks=(Zone("left", left),)),
        Camera("size", "rtsp://size/", min_face=36),
        Camera("none", "rtsp://none/", zones=(Zone("left", left, 36),)),
    ]
    run = Run(
        matcher,
        {camera.name: FakeCapture(paced(both, 10_000)) for camera in cameras},
        cameras,
        stop=lambda run: min(run.frames[camera.name] for camera in cameras) > 10,
    )
    names = {camera.name: {name for _, name in told(run.events, camera.name)} for camera in cameras}
    assert names == {"zone": {"Ada"}, "mask": {"Bob"}, "size": {"Bob"}, "none": set()}


def test_every_frame_of_a_file_is_seen_and_the_run_ends_with_it(matcher, tmp_path):
    captures = {}
    cameras = []
    for name, count, detect_every in (("first", 30, 1), ("second", 7, 1), ("third", 30, 3)):
        (tmp_path / f"{name}.mp4").write_bytes(b"x")
        cameras.append(Camera(name, str(tmp_path / f"{name}.mp4"), detect_every=detect_every))
        captures[name] = [FakeCapture([ADA] * count)]
    cameras.append(Camera("missing", str(tmp_path / "missing.mp4")))
    events = []
    reports = watch_cameras(
        matcher,
        cameras,
        sinks=EventSinks(),
        on_events=events.extend,
        open_capture=lambda path: captures[Path(path).stem].pop(),
    )
    assert told(events, "first") == told(events, "third") == SEEN["Ada"]
    assert [report.frames for report in reports] == [30, 7, 10, 0]
    assert [report.events for report in reports] == [3, 3, 3, 0]
    assert isinstance(reports[3].error, VideoError)
    assert reports[0].error is reports[1].error is None
    median, late = reports[0].latency.percentiles()
    assert 0 < median <= late < 10
    assert "p99" in str(reports[0].latency)


def test_a_gallery_in_use_costs_frames_only(matcher, monkeypatch):
    real, calls = type(matcher.gallery).search_index, []

    def busy(gallery):
        calls.append(1)
        if len(calls) < 5:
            raise GalleryInUseError("busy")
        return real(gallery)

    monkeypatch.setattr(type(matcher.gallery), "search_index", busy)
    run = Run(matcher, {"a": FakeCapture(paced(ADA, 10_000))}, stop=lambda run: run.frames["a"] > 20)
    assert told(run.events, "a") == SEEN["Ada"]


def test_a_gallery_whose_server_is_gone_is_told(matcher, monkeypatch):
    def gone(gallery):
        raise GalleryServerError("no connection")

    monkeypatch.setattr(type(matcher.gallery), "search_index", gone)
    with pytest.raises(GalleryServerError):
        Run(matcher, {"a": FakeCapture(paced(ADA, 10_000))}, stop=lambda run: run.frames["a"] > 20)


def test_an_interrupted_run_ends_within_two_seconds_with_all_its_events(matcher, tmp_path):
    never = threading.Event()
    captures = {
        "good": FakeCapture(paced(ADA, 10_000)),
        "dead": FakeCapture([], opened=False),
        "hung": FakeCapture(chain(paced(BOB, 20), [never])),
        "hung too": FakeCapture([never]),
    }
    hooks = [Webhook(f"http://127.0.0.1:9/{i}") for i in range(3)]
    done = after(60)

    def identified(run):
        return {("identified", "Ada"), ("identified", "Bob")} <= {*told(run.events, "good"), *told(run.events, "hung")}

    with EventSinks(outbox=tmp_path / "outbox", transports=hooks) as sinks:
        run = Run(matcher, captures, stop=lambda run: identified(run) or done(run), sinks=sinks)
        started = now()
        left = sinks.close()
        closing_s = now() - started
    assert run.ending_s + closing_s < 2.0
    assert sorted(told(run.events, "good") + told(run.events, "hung")) == sorted(SEEN["Ada"] + SEEN["Bob"])
    assert set(left.values()) == {6}
    never.set()
