"""Pictures larger than is worked with, and pictures made to be slow to decode."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image
from slow_pictures import avif_of_many_frames, tiff_of_strips

from lrface.errors import ImageError
from lrface.inputs.formats import MAX_SCANS, check_scans, count_scans
from lrface.inputs.images import LIMIT_VARIABLE, SHRINK_ABOVE, read_image


def encoded(image: Image.Image, fmt: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=fmt, **options)
    return buffer.getvalue()


def halves(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Blue above, red below."""
    image = Image.new("RGB", (width, height), (0, 0, 255))
    image.paste((255, 0, 0), (0, height // 2, width, height))
    return image.convert(mode)


@pytest.mark.parametrize(
    ("size", "fmt", "mode", "factor"),
    [
        ((8000, 6000), "JPEG", "RGB", 2),
        ((8192, 6144), "JPEG", "L", 2),
        ((16_320, 12_240), "JPEG", "RGB", 4),  # 200 megapixels
        ((8000, 6000), "PNG", "RGB", 2),
        ((8000, 6000), "PNG", "P", 2),
        ((10_000, 10_000), "PNG", "L", 2),
    ],
)
def test_a_large_photo_is_read_shrunk(size, fmt, mode, factor):
    picture = read_image(encoded(halves(*size, mode), fmt, **({"quality": 50} if fmt == "JPEG" else {})))
    assert picture.shape == (size[1] // factor, size[0] // factor, 3)
    assert picture.shape[0] * picture.shape[1] <= SHRINK_ABOVE
    if mode != "L":
        assert np.abs(picture[10, 10].astype(int) - (255, 0, 0)).max() < 5
        assert np.abs(picture[-10, -10].astype(int) - (0, 0, 255)).max() < 5


def test_a_large_photo_is_turned_as_exif_says():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_image(encoded(halves(8000, 6000), "JPEG", exif=exif)).shape == (4000, 3000, 3)


def test_a_large_picture_with_16_bits_is_shrunk():
    values = np.full((6000, 8000), 40_000, np.uint16)
    picture = read_image(cv2.imencode(".png", values, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())
    assert picture.shape == (3000, 4000, 3)
    assert np.abs(picture.astype(int) - round(40_000 / 257)).max() <= 1


def test_a_decoded_picture_keeps_its_size():
    array = np.zeros((6000, 8000, 3), np.uint8)
    assert np.shares_memory(read_image(array), array)
    assert read_image(Image.new("L", (8000, 6000))).shape == (6000, 8000, 3)


def test_a_very_wide_picture_is_read():
    assert read_image(encoded(Image.new("L", (70_000, 100)), "PNG")).shape == (100, 70_000, 3)


@pytest.mark.parametrize(("value", "allowed"), [("0.9", False), ("1", True), ("400", True)])
def test_the_limit_can_be_changed(monkeypatch, value, allowed):
    data = encoded(Image.new("L", (1000, 1000)), "PNG")
    monkeypatch.setenv(LIMIT_VARIABLE, value)
    if allowed:
        assert read_image(data).shape == (1000, 1000, 3)
    else:
        with pytest.raises(ImageError, match=LIMIT_VARIABLE):
            read_image(data)


@pytest.mark.parametrize("value", ["", "0", "-1", "many", "nan", "inf", "1e400"])
def test_an_unusable_limit_is_named(monkeypatch, value):
    monkeypatch.setenv(LIMIT_VARIABLE, value)
    with pytest.raises(ImageError, match="number of megapixels"):
        read_image(encoded(Image.new("L", (8, 8)), "PNG"))


def scan_bomb(scans: int, size: int = 3000) -> bytes:
    """A progressive JPEG whose last scan is repeated: a few bytes that each rewrite the whole picture."""
    data = encoded(Image.new("L", (size, size), 128), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + b"\xff\xd9"


def test_a_jpeg_of_thousands_of_scans_is_refused_at_once():
    data = scan_bomb(4000)
    assert len(data) < 2**20 * 40
    started = time.thread_time()
    with pytest.raises(ImageError, match=r"40\d\d scans"):
        read_image(data)
    assert time.thread_time() - started < 2


def test_a_progressive_photo_is_read():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8))
    data = encoded(noise, "JPEG", progressive=True, quality=95, exif=b"Exif\0\0" + b"\xff\xda\0\x02" * 200)
    assert 5 <= count_scans(data) <= 20  # not those of what looks like scans inside a segment
    assert read_image(data).shape == (300, 400, 3)
    assert count_scans(encoded(noise, "JPEG")) == 1


@pytest.mark.parametrize(
    ("scans", "size", "allowed"),
    [(10, (16_320, 12_240), True), (MAX_SCANS, (1000, 1000), True), (MAX_SCANS + 1, (8, 8), False),
     (80, (8000, 6000), False)],
)  # fmt: skip
def test_how_many_scans_are_allowed(scans, size, allowed):
    if allowed:
        check_scans(scans, size, "x.jpg")
    else:
        with pytest.raises(ImageError, match="scans"):
            check_scans(scans, size, "x.jpg")


@pytest.mark.parametrize("fmt", ["P3", "P6"])
def test_a_picture_that_takes_too_long_is_given_up(monkeypatch, fmt):
    """Pillow reads these two kinds of PPM in Python: 256 MiB would take minutes."""
    monkeypatch.setattr("lrface.inputs.formats.DECODE_SECONDS", 0.05)
    side = 3000
    body = b"0 " * (side * side * 3) if fmt == "P3" else bytes(side * side * 3)
    started = time.thread_time()
    with pytest.raises(ImageError, match="takes longer than"):
        read_image(f"{fmt}\n{side} {side}\n200\n".encode() + body)
    assert time.thread_time() - started < 5


@pytest.mark.parametrize(
    ("kind", "make"),
    [("avif", lambda: avif_of_many_frames(30_000, 512)), ("tiff", lambda: tiff_of_strips(1_500_000))],
)
def test_a_decoder_that_never_comes_back_is_ended(monkeypatch, kind, make):
    """30,000 frames that are never shown, and a million strips: minutes of work in a file of a few megabytes."""
    monkeypatch.setattr("lrface.inputs.formats.DECODE_SECONDS", 0.5)
    with pytest.raises(ImageError, match="takes longer than"):
        read_image(make())
    monkeypatch.undo()
    assert read_image(encoded(halves(64, 64), kind.upper())).shape == (64, 64, 3)  # another process is there at once


def test_decoders_of_several_threads_do_not_meet():
    pictures = [encoded(Image.new("RGB", (64, 48 + 2 * i), (i, 0, 0)), "TIFF") for i in range(6)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(read_image, pictures * 3))
    assert [(picture.shape[0], picture[0, 0, 2]) for picture in found] == [(48 + 2 * i, i) for i in range(6)] * 3


def test_a_webp_larger_than_what_pillow_allows_is_read(monkeypatch):
    data = encoded(halves(64, 64), "WEBP")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match="exceeds limit"):
        read_image(data)
    monkeypatch.setattr("lrface.inputs.formats.LARGE_WEBP", 1000)
    assert read_image(data).shape == (64, 64, 3)


def test_tiff_strips_that_share_their_bytes_are_refused():
    data = bytearray(encoded(Image.new("L", (64, 4096)), "TIFF", compression="tiff_lzw", tiffinfo={278: 1}))
    kind = 3 if (entry := data.rfind(b"\x17\x01\x03\0")) >= 0 else 4  # StripByteCounts as uint16 or uint32
    entry = entry if kind == 3 else data.rindex(b"\x17\x01\x04\0")
    count, place = (int.from_bytes(data[entry + at : entry + at + 4], "little") for at in (4, 8))
    assert count > 100
    data[place : place + (kind - 2) * 2 * count] = min(len(data), 0xFFFF).to_bytes((kind - 2) * 2, "little") * count
    with pytest.raises(ImageError, match="more data than it holds"):
        read_image(bytes(data))


def test_tiff_strips_whose_lengths_are_no_numbers_are_refused():
    data = bytearray(encoded(Image.new("L", (64, 64)), "TIFF"))
    entry = next(at for at in (data.rfind(b"\x17\x01\x03\0"), data.rfind(b"\x17\x01\x04\0")) if at >= 0)
    data[entry + 2] = 7  # StripByteCounts as opaque bytes
    with pytest.raises(ImageError, match="damaged"):
        read_image(bytes(data))
