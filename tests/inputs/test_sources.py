"""All that is taken as a picture, and what is refused with which words."""

from __future__ import annotations

import base64
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lrface.errors import ImageError
from lrface.inputs.images import read_image
from lrface.inputs.sources import is_picture

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8))
BGR = np.asarray(PICTURE)[:, :, ::-1]


def png(image: Image.Image = PICTURE) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


class Slow(io.RawIOBase):
    """Gives seven bytes at a time, as a network may."""

    def __init__(self) -> None:
        self._data = io.BytesIO(png())

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        part = self._data.read(min(7, len(buffer)))
        buffer[: len(part)] = part
        return len(part)


def member() -> object:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.png", png())
    return zipfile.ZipFile(packed).open("a.png")


@pytest.mark.parametrize(
    "source",
    [png(), bytearray(png()), memoryview(png()), io.BytesIO(png()), Slow(), member(), PICTURE,
     Image.open(io.BytesIO(png())), PICTURE.convert("RGBA"), np.ascontiguousarray(BGR)],
    ids=["bytes", "bytearray", "memoryview", "BytesIO", "raw", "zip", "PIL", "PIL-file", "PIL-alpha", "array"],
)  # fmt: skip
def test_kinds_of_pictures(source) -> None:
    assert is_picture(source)
    assert np.array_equal(read_image(source), BGR)


def test_an_open_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    with open(tmp_path / "a.png", "rb") as file:
        assert np.array_equal(read_image(file), BGR)
        with pytest.raises(ImageError, match="seek"):
            read_image(file)
    with pytest.raises(ImageError, match="open it again"):
        read_image(file)
    with open(tmp_path / "a.png", encoding="latin-1") as text, pytest.raises(ImageError, match="binary mode"):
        read_image(text)


def test_a_pil_image_with_exif_is_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    PICTURE.save(buffer, "PNG", exif=exif)
    assert np.array_equal(read_image(Image.open(buffer)), np.rot90(BGR, -1))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "YCbCr", "I;16", "HSV", "LAB"])
def test_pil_images_of_any_mode(mode: str) -> None:
    image = PICTURE.convert("I").convert("I;16") if mode == "I;16" else PICTURE.convert(mode)
    assert read_image(image).shape == (24, 40, 3)


def test_a_truncated_pil_image() -> None:
    with pytest.raises(ImageError, match="truncated"):
        read_image(Image.open(io.BytesIO(png()[:-400])))


class Asynchronous:
    async def read(self, size: int = -1) -> bytes:
        return b""


class Endless(io.RawIOBase):
    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return len(buffer)


@pytest.mark.parametrize(
    ("source", "match"),
    [
        (io.StringIO("text"), "binary mode"),
        (io.BytesIO(), "no bytes"),
        (Asynchronous(), "asynchronous"),
        (base64.b64encode(png()).decode(), "base64"),
        ("data:image/png;base64," + base64.b64encode(png()).decode(), "base64"),
        ("data:image/png;base64,iVBORw0KGgo=", "base64"),
        ("/dev/zero", "not a regular file"),
        ({"a": 1}, "dict"),
    ],
)
def test_what_is_no_picture(source, match: str) -> None:
    with pytest.raises(ImageError, match=match) as caught:
        read_image(source)
    assert len(str(caught.value)) < 400


def test_an_endless_file_object_is_read_no_further_than_the_limit() -> None:
    with pytest.raises(ImageError, match="longer than"):
        read_image(Endless(), max_bytes=2**20)


@pytest.mark.parametrize(("value", "one"), [("a.jpg", True), (["a.jpg"], False), (("a", "b"), False), (None, False)])
def test_one_picture_or_several(value: object, one: bool) -> None:
    assert is_picture(value) is one


def heic() -> bytes:
    import pillow_heif

    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    pillow_heif.from_pillow(PICTURE.resize((160, 96))).save(buffer, quality=95, exif=exif.tobytes())
    return buffer.getvalue()


def test_heic_is_read_the_right_way_up(tmp_path: Path) -> None:
    (tmp_path / "photo.heic").write_bytes(heic())
    picture = read_image(tmp_path / "photo.heic")
    expected = np.asarray(PICTURE.resize((160, 96)))[:, :, ::-1]
    candidates = (expected, np.rot90(expected, -1))
    close = [c.shape == picture.shape and np.abs(picture.astype(int) - c).mean() < 20 for c in candidates]
    assert any(close)


def test_heic_without_its_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"lrface\[heic\]"):
        read_image(data)


def test_damaged_heic() -> None:
    data = heic()
    for length in (40, 200, len(data) // 2):
        with pytest.raises(ImageError):
            read_image(data[:length])


def test_every_call_takes_pil_images_and_file_objects(portrait: Path) -> None:
    import lrface

    with lrface.FaceMatcher.open(":memory:") as matcher:
        with open(portrait, "rb") as photo:
            assert matcher.enroll("Eileen Collins", photo).photos[0].status == "enrolled"
        image = Image.open(portrait)
        assert [face.name for face in matcher.identify(image) if face.name] == ["Eileen Collins"]
        assert [face.name for face in matcher.identify(io.BytesIO(portrait.read_bytes())) if face.name]
        report = matcher.enroll("Eileen Collins", [image.crop((60, 0, 400, 330)), io.BytesIO(portrait.read_bytes())])
        assert [photo.status for photo in report.photos] == ["already enrolled", "already enrolled"]  # a copy, cropped
    with lrface.FaceMatcher.open(":memory:") as matcher:
        assert matcher.enroll("Eileen Collins", image.crop((60, 0, 400, 330))).photos[0].status == "enrolled"
