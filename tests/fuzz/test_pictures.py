"""Damaged pictures of every format: a picture or an ImageError, in bounded time.

`LRFACE_FUZZ_CASES=10000 pytest tests/fuzz/test_pictures.py` runs more cases than the 200 of every test run.
"""

from __future__ import annotations

import io
import os
import random
import time
import warnings

import numpy as np
import pytest
from PIL import Image

from lrface.errors import ImageError
from lrface.inputs.images import read_image

CASES = int(os.environ.get("LRFACE_FUZZ_CASES", "200"))
SECONDS = 25.0  # of the processor, for one picture
KINDS: dict[str, tuple[str, str, dict[str, object]]] = {
    "jpeg": ("JPEG", "RGB", {}),
    "jpeg-progressive": ("JPEG", "RGB", {"progressive": True}),
    "jpeg-cmyk": ("JPEG", "CMYK", {}),
    "png": ("PNG", "RGBA", {}),
    "png-palette": ("PNG", "P", {}),
    "webp": ("WEBP", "RGB", {}),
    "webp-lossless": ("WEBP", "RGBA", {"lossless": True}),
    "gif": ("GIF", "P", {}),
    "bmp": ("BMP", "RGB", {}),
    "tiff": ("TIFF", "RGB", {}),
    "tiff-lzw": ("TIFF", "L", {"compression": "tiff_lzw"}),
    "tiff-jpeg": ("TIFF", "RGB", {"compression": "jpeg"}),
    "tiff-16": ("TIFF", "I;16", {}),
    "ppm": ("PPM", "RGB", {}),
    "avif": ("AVIF", "RGB", {}),
    "heic": ("HEIF", "RGB", {}),
}
WORDS = [
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xda",
    b"\xff\xd8",
    b"\0\0\xff\xff",
    b"IHDR",
    b"\n99999",
]


def sound(kind: str) -> bytes:
    name, mode, options = KINDS[kind]
    values = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    image = Image.fromarray(values).resize((96, 64))
    image = image.convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
    buffer = io.BytesIO()
    if name == "HEIF":
        from pillow_heif import from_pillow

        from_pillow(image).save(buffer)
    else:
        image.save(buffer, name, **options)
    return buffer.getvalue()


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Flipped bits, other bytes, lengths at their extremes, pieces cut out or repeated; most in the header."""
    broken = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        end = len(broken) if rng.random() < 0.5 else min(len(broken), 200)
        at = rng.randrange(max(1, end))
        match rng.randrange(7):
            case 0:
                broken[at : at + 1] = bytes([broken[at] ^ 1 << rng.randrange(8)]) if broken else b""
            case 1:
                broken[at : at + 1] = bytes([rng.randrange(256)])
            case 2:
                word = rng.choice(WORDS)
                broken[at : at + len(word)] = word
            case 3:
                del broken[at : at + rng.randint(1, 64)]
            case 4:
                piece = broken[at : at + rng.randint(1, 64)]
                broken[at:at] = piece * rng.randint(1, 50)
            case 5:
                broken[at:at] = rng.randbytes(rng.randint(1, 16))
            case _:
                del broken[max(1, len(broken) - rng.randint(0, len(broken) // 2)) :]
    return bytes(broken)


@pytest.mark.timeout(0 if CASES > 200 else 300)
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_picture_is_read_or_refused(kind: str) -> None:
    whole = sound(kind)
    assert read_image(whole).shape == (64, 96, 3)
    share = -(-CASES // len(KINDS))
    for case in range(share):
        data = damaged(whole, random.Random(f"{kind} {case}"))
        started = time.thread_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of damaged EXIF and large pictures
            try:
                picture = read_image(data, max_pixels=4_000_000)
            except ImageError:
                pass
            else:
                assert picture.dtype == np.uint8, (kind, case)
                assert picture.ndim == 3, (kind, case)
                assert picture.shape[0] * picture.shape[1] <= 4_000_000, (kind, case)
        assert time.thread_time() - started < SECONDS, (kind, case)
