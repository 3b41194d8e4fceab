from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from fakes import FakeCapture
from videos import encode_video

from lrface.errors import ArgumentError
from lrface.inputs.correction import parse_aspect, square_pixels
from lrface.inputs.video import VideoSource


def disc(width: int, height: int, shown_width: int) -> np.ndarray:
    """A frame of width x height in which a circle is stored, squeezed from shown_width; its upper left is red."""
    image = np.zeros((height, shown_width, 3), np.uint8)
    cv2.circle(image, (shown_width // 2, height // 2), height // 4, (255, 255, 255), -1)
    image[: height // 8, : shown_width // 8] = (0, 0, 255)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def extent(image: np.ndarray) -> tuple[int, int]:
    """Width and height of the white disc."""
    rows, columns = np.nonzero(image.min(axis=2) > 127)
    return int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


RECORDERS = [(704, 576, Fraction(12, 11)), (352, 288, Fraction(12, 11)), (352, 576, Fraction(24, 11))]


@pytest.mark.parametrize(("width", "height", "ratio"), RECORDERS)
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi", "clip.ts"])
def test_circles_of_a_recorder_are_circles_again(tmp_path, width, height, ratio, name):
    shown = round(width * ratio)
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = encode_video(tmp_path / name, [disc(width, height, shown)] * 3, codec=codec, sample_aspect=ratio)
    with VideoSource(path) as source:
        frames = [frame.image for frame in source]
    assert {frame.shape for frame in frames} == {(height, shown, 3)}
    across, down = extent(frames[0])
    assert across / down == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("width", "height", "aspect", "shape"),
    [
        (352, 576, "4:3", (576, 768)),
        (704, 576, "4/3", (576, 768)),
        (704, 240, 4 / 3, (528, 704)),  # one field of a picture: too few lines
        (352, 288, "16:9", (288, 512)),
        (64, 48, "4:3", (48, 64)),
    ],
)
def test_aspect_given_by_the_user(tmp_path, width, height, aspect, shape):
    path = encode_video(tmp_path / "clip.mp4", [np.zeros((height, width, 3), np.uint8)] * 2)
    assert next(iter(VideoSource(path, aspect=aspect))).image.shape[:2] == shape


def test_aspect_overrules_the_stream(tmp_path):
    image = np.zeros((288, 352, 3), np.uint8)
    path = encode_video(tmp_path / "clip.mp4", [image] * 2, sample_aspect=Fraction(2))
    assert next(iter(VideoSource(path, aspect="352:288"))).image.shape == image.shape


@pytest.mark.parametrize(("degrees", "turns"), [(0, 0), (90, -1), (180, 2), (270, 1)])
def test_rotation_is_clockwise(tmp_path, degrees, turns):
    image = disc(64, 48, 64)
    (tmp_path / "any.mp4").write_bytes(b"x")
    source = VideoSource(tmp_path / "any.mp4", rotate=degrees, open_capture=lambda _: FakeCapture([image]))
    assert np.array_equal(next(iter(source)).image, np.rot90(image, turns))


def test_live_frames_are_corrected_too():
    capture = FakeCapture([disc(352, 576, 768)], props={40: 24, 41: 11})
    source = VideoSource("rtsp://camera/1", rotate=90, open_capture=lambda _: capture)
    assert next(iter(source)).image.shape == (768, 576, 3)


@pytest.mark.parametrize(
    ("props", "shape"),
    [
        ({}, (40, 60)),
        ({40: 0, 41: 1}, (40, 60)),
        ({40: 1, 41: 1}, (40, 60)),
        ({40: 1, 41: 0}, (40, 60)),
        ({40: 65535, 41: 1}, (40, 60)),  # a damaged header
        ({40: float("nan"), 41: 1}, (40, 60)),
        ({40: -2, 41: 1}, (40, 60)),
        ({40: 1000, 41: 1001}, (40, 60)),
        ({40: 2, 41: 1}, (40, 120)),
        ({40: 1, 41: 2}, (80, 60)),
        ({40: 2, 41: 1, 48: 90}, (80, 60)),  # OpenCV has turned the frame already, not its pixels' ratio
        ({40: 2, 41: 1, 48: 180}, (40, 120)),
    ],
)
def test_ratio_that_the_stream_states(tmp_path, props, shape):
    (tmp_path / "any.mp4").write_bytes(b"x")
    capture = FakeCapture([np.zeros((40, 60, 3), np.uint8)], props=props)
    source = VideoSource(tmp_path / "any.mp4", open_capture=lambda _: capture)
    assert next(iter(source)).image.shape[:2] == shape


@pytest.mark.parametrize(
    "aspect",
    ["", "wide", "4:0", "0:3", "-4:3", "100:1", "1:100", "4:3:2", "nan", "inf", float("nan"), "9" * 400, 16**5000],
    ids=lambda aspect: str(aspect)[:9] if isinstance(aspect, str) else type(aspect).__name__,
)
def test_unusable_aspect(tmp_path, aspect):
    with pytest.raises(ArgumentError, match="like 4:3"):
        VideoSource(tmp_path / "x.mp4", aspect=aspect)


@pytest.mark.parametrize(
    ("text", "value"), [("4:3", 4 / 3), (" 16 / 9 ", 16 / 9), ("1.5", 1.5), (2, 2), ("2.35:1", 2.35), (None, None)]
)
def test_aspect_as_it_is_written(text, value):
    assert parse_aspect(text) == (None if value is None else pytest.approx(value))


@pytest.mark.parametrize("degrees", [45, -90, 360, 1])
def test_unusable_rotation(tmp_path, degrees):
    with pytest.raises(ArgumentError, match="0, 90, 180 or 270"):
        VideoSource(tmp_path / "x.mp4", rotate=degrees)


def test_a_large_frame_is_not_stretched_above_the_cap():
    wide = square_pixels(np.zeros((2000, 12_000, 3), np.uint8), 4.0)
    tall = square_pixels(np.zeros((12_000, 2000, 3), np.uint8), 0.25)
    assert wide.shape == (500, 12_000, 3)
    assert tall.shape == (12_000, 500, 3)
