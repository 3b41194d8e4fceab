from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lrface.errors import ImageError
from lrface.inputs.images import read_image

COLOUR = (200, 100, 50)  # RGB


def encoded(image: Image.Image, fmt: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=fmt, **options)
    return buffer.getvalue()


def noise(mode: str = "RGB", size: tuple[int, int] = (96, 64)) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def plain(mode: str = "RGB") -> Image.Image:
    return Image.new("RGB", (40, 24), COLOUR).convert(mode)


def png_header(width: int, height: int) -> bytes:
    """A PNG that states a size and holds no pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def webp_header(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + size
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    ("data", "tolerance"),
    [
        (encoded(plain(), "PNG"), 0),
        (encoded(plain(), "BMP"), 0),
        (encoded(plain(), "TIFF"), 0),
        (encoded(plain(), "PPM"), 0),
        (encoded(plain(), "JPEG", quality=95), 3),
        (encoded(plain(), "WEBP", lossless=True), 0),
        (encoded(plain(), "AVIF", quality=95), 4),
        (encoded(plain("P"), "PNG"), 30),  # the web palette is coarse
        (encoded(plain("P"), "GIF"), 30),
        (encoded(plain("RGBA"), "PNG"), 0),
        (encoded(plain("RGBA"), "WEBP", lossless=True), 0),
        (encoded(plain("CMYK"), "JPEG", quality=95), 4),  # Pillow writes Adobe's inverted inks
        (encoded(plain("CMYK"), "TIFF"), 2),
        (encoded(plain("YCbCr"), "JPEG", quality=95), 4),
    ],
)
def test_the_colours_arrive_as_bgr(data: bytes, tolerance: int) -> None:
    picture = read_image(data)
    assert picture.shape == (24, 40, 3)
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous
    assert np.abs(picture.reshape(-1, 3).mean(0) - COLOUR[::-1]).max() <= tolerance


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
@pytest.mark.parametrize("fmt", ["PNG", "TIFF"])
def test_grey_becomes_three_equal_channels(mode: str, fmt: str) -> None:
    picture = read_image(encoded(noise(mode), fmt))
    assert (picture == picture[:, :, :1]).all()
    assert np.array_equal(picture[:, :, 0], np.asarray(noise(mode).convert("L")))


@pytest.mark.parametrize("fmt", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_not_clipped(fmt: str) -> None:
    values = np.linspace(0, 65535, 64 * 48).astype(np.uint16).reshape(48, 64)
    picture = read_image(encoded(Image.fromarray(values), fmt))
    assert np.abs(picture[:, :, 0].astype(float) - values / 257).max() <= 1


def test_sixteen_bit_colour(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (48, 64, 3), dtype=np.uint16)
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), values)
    assert np.abs(read_image(path).astype(float) - values / 257).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(orientation: int, fmt: str) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24], upright[:16, 24:], upright[16:, :24] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    stored = Image.fromarray(upright)
    inverse = {2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}.get(orientation, [])
    for turn in inverse:
        stored = stored.transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if fmt == "WEBP" else {"quality": 95} if fmt == "JPEG" else {}
    picture = read_image(encoded(stored, fmt, exif=exif.tobytes() if fmt != "TIFF" else exif, **options))
    assert picture.shape == upright.shape
    assert np.abs(picture[:, :, ::-1].astype(int)[4::8, 4::8] - upright[4::8, 4::8]).max() < 40


@pytest.mark.parametrize("fmt", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(fmt: str) -> None:
    frames = [Image.new("RGB", (32, 32), c) for c in ("red", "lime", "blue")]
    options = {"lossless": True} if fmt == "WEBP" else {}
    picture = read_image(encoded(frames[0], fmt, save_all=True, append_images=frames[1:], **options))
    assert np.abs(picture.reshape(-1, 3).mean(0) - (0, 0, 255)).max() < 3


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.98])
@pytest.mark.parametrize(
    ("fmt", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("PPM", {}),
        ("AVIF", {}),
    ],
)
def test_a_truncated_picture_is_refused_never_half_grey(fmt: str, options: dict[str, bool], share: float) -> None:
    data = encoded(noise(), fmt, **options)
    with pytest.raises(ImageError, match=r"again|save it"):
        read_image(data[: int(len(data) * share)])


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_flipped_bytes_end_in_a_picture_or_an_image_error(fmt: str) -> None:
    rng = np.random.default_rng(1)
    data = encoded(noise(), fmt)
    for _ in range(60):
        broken = bytearray(data)
        for place in rng.integers(0, len(data), 4):
            broken[place] = rng.integers(0, 256)
        try:
            assert read_image(bytes(broken)).dtype == np.uint8
        except ImageError:
            continue


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (png_header(30_000, 30_000), "megapixels"),
        (png_header(20_000, 12_000), "20000x12000.*LRFACE_MAX_MEGAPIXELS"),
        (png_header(8_000, 6_000), "truncated or damaged"),
        (webp_header(16_000_000, 16), "megapixels"),
        (webp_header(16_000, 16_000), "megapixels"),
        (b"", "empty"),
        (b"hello", "known format"),
        (b"%PDF-1.7 not for us", "known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "known format"),
        (encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"), "8 bits"),
        (encoded(Image.fromarray(np.full((4, 4), 1 << 20, np.int32)), "TIFF"), "8 bits"),
    ],
    ids=["900Mpx", "240Mpx", "48Mpx", "webp-wide", "webp", "empty", "text", "pdf", "eps", "float", "32-bit"],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bad_bytes(data: bytes, match: str) -> None:
    with pytest.raises(ImageError, match=match):
        read_image(data)


def test_caps_are_checked_before_decoding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="MiB"):
        read_image(encoded(noise(), "BMP"), max_bytes=1000)
    path = tmp_path / "large.bmp"
    path.write_bytes(encoded(noise(), "BMP"))
    with pytest.raises(ImageError, match="MiB"):
        read_image(path, max_bytes=1000)

    def never(*_: object) -> None:
        raise AssertionError("a picture above the cap was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", never)
    with pytest.raises(ImageError, match="megapixels"):
        read_image(encoded(noise(), "PNG"), max_pixels=96 * 64 - 1)


def test_paths(tmp_path: Path) -> None:
    path = tmp_path / "Zoë 1.png"
    path.write_bytes(encoded(plain(), "PNG"))
    assert np.array_equal(read_image(path), read_image(str(path)))
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    for bad, match in [
        (tmp_path, "folder"),
        (tmp_path / "none.jpg", "check the path"),
        ("https://example.org/a.jpg", "downloads nothing"),
        ("a\0b.jpg", "check the path"),
        ("x" * 5000, "check the path"),
        (pipe, "not a regular file"),
        ("/dev/zero", "not a regular file"),
    ]:
        with pytest.raises(ImageError, match=match):
            read_image(bad)


BGR = np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (BGR, BGR),
        (BGR[::2, ::-1], BGR[::2, ::-1]),
        (np.asfortranarray(BGR), BGR),
        (np.dstack([BGR, np.zeros((30, 20), np.uint8)]), BGR),
        (BGR[:, :, 0], np.dstack([BGR[:, :, 0]] * 3)),
        (BGR[:, :, :1], np.dstack([BGR[:, :, 0]] * 3)),
    ],
)
def test_arrays_as_opencv_reads_them(array: np.ndarray, expected: np.ndarray) -> None:
    picture = read_image(array)
    assert np.array_equal(picture, expected)
    assert picture.flags.c_contiguous


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (BGR.astype(np.float32) / 255, "float32.*uint8"),
        (BGR.astype(np.uint16), "uint16"),
        (BGR > 5, "bool"),
        (BGR.transpose(2, 0, 1), "shape"),
        (BGR[None], "shape"),
        (BGR[0, 0], "shape"),
        (BGR[:0], "empty"),
        (np.zeros((0, 0), np.uint8), "empty"),
        (None, "NoneType"),
        (5, "int"),
        ([1, 2], "list"),
    ],
)
def test_arrays_that_are_no_picture(array: object, match: str) -> None:
    with pytest.raises(ImageError, match=match):
        read_image(array)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_damaged_exif_block_does_not_cost_the_picture() -> None:
    data = encoded(plain(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xffgarbage")
    assert read_image(data).shape == (24, 40, 3)
