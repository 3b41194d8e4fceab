from __future__ import annotations

import itertools
import math
import os
import time

import cv2
import numpy as np
import pytest
from fakes import FakeCapture, picture
from PIL import Image
from videos import encode_video

from lrface.errors import ArgumentError, VideoError
from lrface.inputs.video import StreamEvent, VideoSource

SECRET = "s3cret"


def write_video(path, frames=10, size=(64, 48), code="MJPG"):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 10, size)
    for value in range(frames):
        writer.write(picture(*size, value=20 * value))
    writer.release()
    return path


@pytest.mark.parametrize(("name", "code"), [("clip.avi", "MJPG"), ("clip.mp4", "mp4v")])
@pytest.mark.parametrize(("stride", "indices"), [(1, list(range(10))), (4, [0, 4, 8])])
def test_file_gives_every_nth_frame_with_its_time(tmp_path, name, code, stride, indices):
    with VideoSource(write_video(tmp_path / name, code=code), stride=stride) as source:
        frames = list(source)
    assert not source.live
    assert source.fps == pytest.approx(10)
    assert source.frame_count == 10
    assert [frame.index for frame in frames] == indices
    assert [frame.time_s for frame in frames] == pytest.approx([index / 10 for index in indices])
    assert [frame.image.mean() for frame in frames] == pytest.approx([20 * index for index in indices], abs=4)


def test_file_can_be_iterated_twice(tmp_path):
    source = VideoSource(write_video(tmp_path / "clip.avi"))
    assert len(list(source)) == len(list(source)) == 10


@pytest.mark.parametrize("name", ["classroom.gif", "stage.mp4", "street.mp4"])
def test_real_clips(shared, name):
    with VideoSource(shared / "data" / "video" / name) as source:
        frames = list(itertools.islice(source, 5))
    assert len(frames) == 5
    assert frames[0].time_s == 0
    assert all(b.time_s > a.time_s for a, b in itertools.pairwise(frames))


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
@pytest.mark.parametrize("stride", [1, 2])
def test_frames_of_a_variable_rate_have_their_own_times(tmp_path, name, stride):
    times = [0, 40, 80, 1080, 1100, 3000, 3033, 3500]
    images = [picture(value=30 * value) for value in range(len(times))]
    with VideoSource(encode_video(tmp_path / name, images, times_ms=times), stride=stride) as source:
        frames = list(source)
    assert [frame.time_s for frame in frames] == pytest.approx([ms / 1000 for ms in times[::stride]], abs=0.002)
    assert [frame.image.mean() for frame in frames] == pytest.approx([30 * i for i in range(8)[::stride]], abs=6)


def test_a_gif_has_the_times_of_its_frames(tmp_path):
    images = [Image.new("RGB", (64, 48), (60 * i, 0, 0)) for i in range(4)]
    durations = [100, 500, 50, 200]
    images[0].save(tmp_path / "clip.gif", save_all=True, append_images=images[1:], duration=durations)
    with VideoSource(tmp_path / "clip.gif") as source:
        assert [frame.time_s for frame in source] == pytest.approx([0, 0.1, 0.6, 0.65], abs=0.011)


class Stamped(FakeCapture):
    """Gives each frame the time stamp of a list, in milliseconds."""

    def __init__(self, stamps, fps=10.0):
        super().__init__([picture()] * len(stamps), props={5: fps})
        self._stamps = iter(stamps)

    def read(self):
        self._props[0] = next(self._stamps, 0.0)
        return super().read()


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([0, 100, 200], [0, 0.1, 0.2]),
        ([0, 0, 0], [0, 0.1, 0.2]),  # none
        ([0, 500, 0, 500], [0, 0.5, 0.6, 1.1]),  # two clips in one file
        ([-40, 0, 40], [0, 0.1, 0.14]),
        ([0, float("nan"), 200, float("inf")], [0, 0.1, 0.3, 0.4]),
    ],
)
def test_times_never_go_back(tmp_path, stamps, expected):
    (tmp_path / "any.mp4").write_bytes(b"x")
    source = VideoSource(tmp_path / "any.mp4", open_capture=lambda _: Stamped(stamps))
    assert [frame.time_s for frame in source] == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["pipe", "/dev/zero", "nul"])
def test_what_is_no_file_is_refused_at_once(tmp_path, kind):
    path = {"pipe": tmp_path / "pipe.mp4", "nul": "a\0b.mp4"}.get(kind, kind)
    if kind == "pipe":
        os.mkfifo(path)
    started = time.monotonic()
    with pytest.raises(VideoError, match=r"regular file|check the path"):
        VideoSource(path)
    assert time.monotonic() - started < 10  # reading them would not end


BAD_FILES = {
    "missing.mp4": (None, "no such file"),
    "empty.mp4": (b"", "empty"),
    "text.mp4": (b"this is not a video\n" * 50, "not a video"),
    "clip.mp4": (bytes(range(256)) * 40, "not a video"),
    "header.avi": (b"RIFF\x00\x00\x00\x00AVI LIST", "not a video"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file(tmp_path, name):
    content, message = BAD_FILES[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(VideoError, match=message):
        list(VideoSource(tmp_path / name))


def test_folder_is_no_video(tmp_path):
    with pytest.raises(VideoError, match="folder"):
        VideoSource(tmp_path)


def test_cut_off_avi_gives_the_frames_that_are_there(tmp_path):
    path = write_video(tmp_path / "clip.avi", frames=12, size=(320, 240))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    events = []
    assert 1 <= len(list(VideoSource(path, on_event=events.append))) < 12
    assert [event.kind for event in events] == ["truncated"]


def test_cut_off_mp4_has_no_index_and_is_refused(tmp_path):
    path = write_video(tmp_path / "clip.mp4", code="mp4v")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VideoError, match="not a video"):
        VideoSource(path)


@pytest.mark.parametrize("stride", [0, -1])
def test_stride_must_be_positive(tmp_path, stride):
    with pytest.raises(ArgumentError, match="stride"):
        VideoSource(tmp_path / "x.mp4", stride=stride)


def injected(tmp_path, script, props=None):
    path = tmp_path / "any.mp4"
    path.write_bytes(b"x")
    return VideoSource(path, open_capture=lambda _: FakeCapture(script, props=props))


@pytest.mark.parametrize("get", [RuntimeError(SECRET), math.inf, math.nan], ids=["raises", "infinite", "no number"])
def test_what_a_driver_cannot_tell_of_a_file(tmp_path, get):
    """Without time stamps frames come at the usual rate; what does not tell its size is no video."""
    fails = {cv2.CAP_PROP_POS_MSEC, cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT}

    class Capture(FakeCapture):
        def get(self, prop, /):
            if prop not in fails:
                return 0.0
            if isinstance(get, Exception):
                raise get
            return get

    (tmp_path / "clip.mp4").write_bytes(b"x")
    if isinstance(get, Exception):
        with pytest.raises(VideoError, match="is not a video that can be read") as caught:
            VideoSource(tmp_path / "clip.mp4", open_capture=lambda _: Capture([picture()]))
        assert SECRET not in repr(caught.value)
        fails = {cv2.CAP_PROP_POS_MSEC}
    source = VideoSource(tmp_path / "clip.mp4", open_capture=lambda _: Capture([picture()] * 3))
    assert [frame.time_s for frame in source] == pytest.approx([0, 0.04, 0.08])
    assert source.frame_count is None


def test_file_without_a_frame(tmp_path):
    with pytest.raises(VideoError, match="no frame"):
        list(injected(tmp_path, []))


def test_file_with_gigantic_frames_is_not_read(tmp_path):
    with pytest.raises(VideoError, match="too large"):
        injected(tmp_path, [picture()], props={3: 30_000, 4: 30_000})


def test_file_shorter_than_its_header_says(tmp_path):
    events: list[StreamEvent] = []
    path = tmp_path / "any.mp4"
    path.write_bytes(b"x")
    source = VideoSource(
        path, on_event=events.append, open_capture=lambda _: FakeCapture([picture()] * 3, props={5: 25, 7: 100})
    )
    assert [frame.time_s for frame in source] == pytest.approx([0, 0.04, 0.08])
    assert [event.kind for event in events] == ["truncated"]


@pytest.mark.parametrize(
    "image", [np.zeros((4, 6), np.uint8), np.zeros((4, 6, 1), np.uint8), np.zeros((4, 6, 4), np.uint8)]
)
def test_grey_and_alpha_become_bgr(tmp_path, image):
    assert next(iter(injected(tmp_path, [image]))).image.shape == (4, 6, 3)
