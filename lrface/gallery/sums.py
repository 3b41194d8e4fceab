"""Checksums of rows, which numpy computes for thousands of rows at once: BLAKE2b takes ten times as long.

A row is laid out in 32-bit words w and gets two sums of w[i] * m[i] modulo 2**64 with fixed odd multipliers m. Any
number of altered bits within one word changes both sums; other accidents leave both as they were with a probability
below 2**-64. They tell damage, not malice, as any checksum without a key does.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b, shake_128

import numpy as np
from numpy.typing import NDArray

SUM_SIZE = 16  # bytes
UUID_SIZE, LONGEST_HASH, LONGEST_TIME = 36, 64, 40  # characters
NAME_ROOM = 800  # bytes of a name, 200 characters; details come behind
NUMBERS = struct.Struct("<dd")  # of a photo: pixels and quality
_SIZES, _PAIR = struct.Struct("<4I"), struct.Struct("<2Q")
_PERSON = (UUID_SIZE + _SIZES.size + 2 * SUM_SIZE) // 4  # words before a name
Bytes = NDArray[np.uint8]
Words = NDArray[np.uint32]


def photo_sum(person_id: bytes, sha256: bytes, numbers: bytes, added: bytes, blob: bytes, crop: bytes) -> bytes:
    """The checksum of a photo's row.

    Args:
        person_id: The person's UUID, as text.
        sha256: As stored.
        numbers: `NUMBERS` of pixels and quality, -1 for none.
        added: As stored.
        blob: The template as stored.
        crop: As stored.
    """
    sizes = _SIZES.pack(len(person_id), len(sha256), len(added), len(blob))
    texts = person_id.ljust(UUID_SIZE, b"\0"), sha256.ljust(LONGEST_HASH, b"\0"), added.ljust(LONGEST_TIME, b"\0")
    return _sum(b"".join((*texts, numbers, _of_crop(crop), sizes, blob)))


def photo_sums(
    person_ids: Bytes, sha256: Bytes, numbers: Bytes, added: Bytes, blobs: Bytes, crops: Sequence[bytes], sizes: Bytes
) -> Bytes:
    """`photo_sum` of many rows whose templates are as long.

    Args:
        person_ids: uint8 [n, 36].
        sha256: uint8 [n, at most 64], zeros behind the text, a multiple of 4.
        numbers: uint8 [n, 16].
        added: uint8 [n, at most 40], zeros behind the text, a multiple of 4.
        blobs: uint8 [n, size], size a multiple of 4.
        crops: n of them.
        sizes: uint8 [n, 16], of the texts and the template.

    Returns:
        uint8 [n, 16].
    """
    if any(crops):
        of_crops = np.frombuffer(b"".join(map(_of_crop, crops)), np.uint8).reshape(-1, SUM_SIZE)
    else:
        of_crops = np.zeros((len(crops), SUM_SIZE), np.uint8)
    parts: list[tuple[int, Words]] = []
    first = 0
    rooms = UUID_SIZE, LONGEST_HASH, LONGEST_TIME, NUMBERS.size, SUM_SIZE, _SIZES.size, 0
    for room, part in zip(rooms, (person_ids, sha256, added, numbers, of_crops, sizes, blobs), strict=True):
        parts.append((first, part.view("<u4")))
        first += room // 4
    return _sums(parts)


def person_sum(
    person_id: bytes, name: bytes, details: bytes, photos: Sequence[bytes], negatives: Sequence[bytes]
) -> bytes:
    """The checksum of a person's row.

    Args:
        person_id: UUID, as text.
        name: As stored.
        details: As stored.
        photos: Their checksums, in any order.
        negatives: The negative examples' checksums, in any order.
    """
    counts = _SIZES.pack(len(name), len(details), len(photos), len(negatives))
    head = b"".join((person_id.ljust(UUID_SIZE, b"\0"), counts, _added(photos), _added(negatives)))
    return _sum(head + name.ljust(NAME_ROOM, b"\0") + details)


def person_sums(ids: Bytes, names: Bytes, details: Bytes, sizes: Bytes, of_photos: Bytes) -> Bytes:
    """`person_sum` of many people without negative examples.

    Args:
        ids: uint8 [n, 36].
        names: uint8 [n, at most NAME_ROOM], zeros behind the text, a multiple of 4.
        details: uint8 [n, any multiple of 4], zeros behind the text.
        sizes: uint8 [n, 16], of name and details, and the numbers of photos and negative examples.
        of_photos: uint8 [n, 16], the sum of the photos' checksums, each half for itself.

    Returns:
        uint8 [n, 16].
    """
    head = np.concatenate([ids, sizes, of_photos], axis=1).view("<u4")
    return _sums([(0, head), (_PERSON, names.view("<u4")), (_PERSON + NAME_ROOM // 4, details.view("<u4"))])


def _sum(row: bytes) -> bytes:
    words = np.frombuffer(row.ljust(-(-len(row) // 4) * 4, b"\0"), "<u4")
    sums: NDArray[np.uint64] = _multipliers(len(words))[:, : len(words)] @ words
    return sums.astype("<u8", copy=False).tobytes()


def _sums(parts: Sequence[tuple[int, Words]]) -> Bytes:
    """Of rows laid out in parts, each from a word on."""
    made = np.zeros((len(parts[0][1]), 2), "<u8")
    last, width = parts[-1][0], parts[-1][1].shape[1]
    for column, multipliers in enumerate(_multipliers(last + width)):
        for start, words in parts:
            own = multipliers[start : start + words.shape[1]]
            made[:, column] += np.einsum("nd,d->n", words, own, dtype=np.uint64, casting="unsafe")
    return made.view(np.uint8)


def _added(checksums: Iterable[bytes]) -> bytes:
    pairs = [(int.from_bytes(each[:8], "little"), int.from_bytes(each[8:], "little")) for each in checksums]
    return _PAIR.pack(*(sum(column) % 2**64 for column in zip(*pairs, strict=True))) if pairs else bytes(SUM_SIZE)


def _of_crop(crop: bytes) -> bytes:
    return blake2b(crop, digest_size=SUM_SIZE).digest() if crop else bytes(SUM_SIZE)


def _multipliers(words: int) -> NDArray[np.uint64]:
    """At least two for each word, odd; always the same."""
    return _made(max(512, 1 << (words - 1).bit_length()))


@lru_cache(maxsize=4)
def _made(words: int) -> NDArray[np.uint64]:
    texts = [shake_128(name).digest(8 * words) for name in (b"lrface gallery 1", b"lrface gallery 2")]
    return np.frombuffer(b"".join(texts), "<u8").astype(np.uint64).reshape(2, words) | np.uint64(1)
