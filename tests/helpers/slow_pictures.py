"""Pictures of a few kilobytes that keep a decoder busy for minutes."""

from __future__ import annotations

import io
import struct

from PIL import Image


def avif_of_many_frames(frames: int, side: int) -> bytes:
    """An AVIF whose item holds its picture of side x side pixels so many times; a decoder decodes each of them."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (90, 60, 30)).save(buffer, "AVIF")
    whole = buffer.getvalue()
    start = whole.index(b"mdat") - 4
    coded = whole[start + 8 :]
    lengths = struct.pack(">I", len(coded)), struct.pack(">I", frames * len(coded))
    assert whole[:start].count(lengths[0]) == 1  # in the box that says where the item lies
    return whole[:start].replace(*lengths) + struct.pack(">I", 8 + frames * len(coded)) + b"mdat" + frames * coded


def tiff_of_strips(strips: int) -> bytes:
    """A TIFF one pixel wide with a strip for each row; all strips are the same byte."""
    entries = [(256, 1, 1), (257, 1, strips), (258, 1, 8), (259, 1, 1), (262, 1, 1), (277, 1, 1), (278, 1, 1)]
    lists = 8 + 2 + 12 * 9 + 4
    entries += [(273, strips, lists), (279, strips, lists + 4 * strips)]
    directory = b"".join(struct.pack("<HHII", tag, 4, count, value) for tag, count, value in sorted(entries))
    pixels = struct.pack("<I", lists + 8 * strips) * strips + struct.pack("<I", 1) * strips + bytes(strips)
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + directory + bytes(4) + pixels
