"""Reads many people at once, each row compared with its checksum: a fifth of the time that one after the other takes.

For people without groups, a last day and negative examples. Whoever is not so, or in whose rows anything is not as it
should be, is left to `reading.stored_person`, which tells what is wrong.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from lrface.embedding.templates import fuse
from lrface.gallery.blocks import Entries
from lrface.gallery.ciphers import Cipher, WrongKey
from lrface.gallery.names import MAX_LENGTH, name_fault
from lrface.gallery.records import DIGEST_SIZE, LARGEST_PX, NO_DETAILS, SHORTEST, SQUARE_TOLERANCE
from lrface.gallery.sums import LONGEST_HASH, LONGEST_TIME, NAME_ROOM, UUID_SIZE, person_sums, photo_sums

PEOPLE = "id, CAST(uuid AS BLOB), CAST(name AS BLOB), details, checksum"
PHOTOS = "person_id, CAST(sha256 AS BLOB), native_px, quality, CAST(added AS BLOB), embedding, crop, checksum"
"""The columns of rows as they are read here: text as bytes, since few of them are looked at one by one."""
Row = tuple[Any, ...]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]
_USUAL = re.compile("(?:[A-Za-z0-9]+(?: [A-Za-z0-9]+)*/)*")  # names, each with a / behind it
_LONGEST_DETAILS = 512  # bytes; longer ones are read one by one, for the sake of memory


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """People with as many photos each.

    Attributes:
        photos: How many each of them has.
        entries: The people.
    """

    photos: int
    entries: Entries

    def without(self, rows: NDArray[np.int64]) -> Shelf:
        """Without some people, by their rows in the table of people."""
        if not len(rows) or not np.isin(self.entries.rows, rows).any():
            return self
        return Shelf(self.photos, self.entries.chosen(np.flatnonzero(~np.isin(self.entries.rows, rows))))


def read_many(people: Sequence[Row], photos: Sequence[Row], dim: int, cipher: Cipher) -> tuple[list[Shelf], list[int]]:
    """Compares people's rows and those of their photos with the checksums.

    Args:
        people: Columns `PEOPLE`, ids rising.
        photos: Columns `PHOTOS` of their photos, ids of people rising, each person's in the order of enrolment.
        dim: Length of an embedding.
        cipher: The gallery's.

    Returns:
        Those who are whole, and the ids of the others; all of them where a value is of another type than all others.
    """
    if not people or not photos:
        return [], [row[0] for row in people]
    try:
        return _read_many(list(zip(*people, strict=True)), list(zip(*photos, strict=True)), dim, cipher)
    except (TypeError, ValueError):
        return [], [row[0] for row in people]


def _read_many(people: Sequence[Row], photos: Sequence[Row], dim: int, cipher: Cipher) -> tuple[list[Shelf], list[int]]:
    """See `read_many`; given the columns, raises where a value is of a wrong type."""
    numbers, owners = np.array(people[0], np.int64), np.array(photos[0], np.int64)
    ids = _joined(people[1], UUID_SIZE)
    digits, whole = _digits(ids)
    firsts = np.searchsorted(owners, numbers)
    counts = np.searchsorted(owners, numbers, "right") - firsts
    whole &= counts > 0
    owner = np.minimum(np.searchsorted(numbers, owners), len(numbers) - 1)
    known = numbers[owner] == owners
    of_photos = _joined(photos[-1], DIGEST_SIZE)
    blobs = _joined(photos[5], cipher.sealed_size(4 * dim))
    right = _whole_photos(photos, ids[owner], blobs, of_photos)
    of_people = _joined(people[-1], DIGEST_SIZE)
    names = _names(people[2], people[3], whole, cipher)
    whole &= _whole_people(people, ids, _added(of_photos[known], owner[known], len(numbers)), counts, of_people)
    opened = _opened(photos[5], 4 * dim, cipher) if cipher.encrypts else blobs
    vectors = opened.view("<f4").astype(np.float32, copy=False)
    with np.errstate(invalid="ignore", over="ignore"):
        right &= np.abs(np.einsum("nd,nd->n", vectors, vectors) - 1) < SQUARE_TOLERANCE
    whole[owner[known & ~right]] = False
    shelves = []
    for count in np.unique(counts[whole]).tolist():
        places = np.flatnonzero(whole & (counts == count))
        sums = vectors[firsts[places]] if len(places) < len(vectors) else vectors
        for later in range(1, count):  # in the order in which one person's are added, to the same bits
            sums += vectors[firsts[places] + later]
        lengths = np.linalg.norm(sums, axis=1)
        usable = lengths > SHORTEST
        if not usable.all():
            whole[places[~usable]] = False
            places, sums, lengths = places[usable], sums[usable], lengths[usable]
        if len(places):
            chosen = [names[place] for place in places.tolist()] if len(places) < len(names) else names
            found = numbers[places], digits[places], of_people[places], lengths / np.float32(count), fuse(sums)
            shelves.append(Shelf(count, Entries(chosen, *found)))
    return shelves, numbers[~whole].tolist()


def _joined(values: Sequence[bytes], size: int) -> NDArray[np.uint8]:
    """uint8 [n, size]. A value of another size shifts those behind it, so that their checksums tell."""
    return np.frombuffer(b"".join(values), np.uint8).reshape(len(values), size)


def _padded(texts: Sequence[bytes], most: int) -> tuple[NDArray[np.uint8], Ints | int]:
    """uint8 [n, a multiple of 4], zeros behind the texts or the end of longer ones cut off, and how long they are."""
    joined, size = b"".join(texts), len(texts[0])
    if len(joined) == size * len(texts) and size <= most:
        made = np.zeros((len(texts), -(-size // 4) * 4), np.uint8)
        made[:, :size] = np.frombuffer(joined, np.uint8).reshape(len(texts), size)
        return made, size
    sizes = np.array(list(map(len, texts)))
    width = -(-min(most, int(sizes.max())) // 4) * 4
    return np.array(texts, f"S{width}").view(np.uint8).reshape(len(texts), width), sizes


def _digits(ids: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Bools]:
    """UUIDs uint8 [n, 16] from their texts [n, 36], and which of them are none."""
    values = _HEXADECIMAL[ids]
    hyphens = ids[:, _HYPHENS] == ord("-")
    digits = np.delete(values, _HYPHENS, axis=1)
    whole = hyphens.all(axis=1) & (digits < 16).all(axis=1)
    return (digits[:, ::2] << 4 | digits[:, 1::2] & 15).astype(np.uint8), whole


_HYPHENS = [8, 13, 18, 23]
_HEXADECIMAL = np.full(256, 255, np.uint8)
_HEXADECIMAL[list(b"0123456789abcdef")] = range(16)


def _whole_photos(
    photos: Sequence[Row], ids: NDArray[np.uint8], blobs: NDArray[np.uint8], checksums: NDArray[np.uint8]
) -> Bools:
    """Which photos' checksums are right, and all that is stored in the clear as it may be."""
    _, sha256, px, quality, added, _, crops, _ = photos
    numbers, unrated = np.empty((len(px), 2), "<f8"), np.zeros(len(px), np.bool_)
    if None in quality:
        unrated = np.array([value is None for value in quality])
        quality = tuple(-1.0 if value is None else value for value in quality)
    numbers[:, 0], numbers[:, 1] = array("d", px), array("d", quality)
    whole = (numbers[:, 0] > 0) & (numbers[:, 0] < LARGEST_PX) & (numbers[:, 1] <= 1) & (unrated | (numbers[:, 1] >= 0))
    sizes = np.empty((len(px), 4), "<u4")
    (hashes, sizes[:, 1]), (times, sizes[:, 2]) = _padded(sha256, LONGEST_HASH), _padded(added, LONGEST_TIME)
    sizes[:, 0], sizes[:, 3] = UUID_SIZE, blobs.shape[1]
    whole &= (sizes[:, 1] > 0) & _printable(hashes, sizes[:, 1]) & _printable(times, sizes[:, 2])
    found = photo_sums(ids, hashes, numbers.view(np.uint8), times, blobs, crops, sizes.view(np.uint8))
    whole &= (found == checksums).all(axis=1)
    return whole


def _printable(texts: NDArray[np.uint8], lengths: NDArray[np.uint32]) -> Bools:
    """Whether all characters are ASCII that is drawn."""
    found: Bools = ((texts - np.uint8(32)) < 95).sum(axis=1, dtype=np.uint32) == lengths
    return found


def _opened(blobs: Sequence[bytes], size: int, cipher: Cipher) -> NDArray[np.uint8]:
    """Decrypted; of one that cannot be, numbers that are not finite."""
    plain = []
    for blob in blobs:
        try:
            plain.append(cipher.unseal(blob))
        except WrongKey:
            plain.append(b"\xff" * size)
    return _joined(plain, size)


class _Details(msgspec.Struct, forbid_unknown_fields=True):
    """What `records.Details` writes."""

    name: str = ""
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    retain_until: str | None = None


_decode = msgspec.json.Decoder(_Details).decode


def _names(texts: Sequence[bytes], details: Sequence[bytes], whole: Bools, cipher: Cipher) -> Sequence[str]:
    """The names, where they may be ones; people with groups or a last day, or whose details are none, are not whole."""
    names: Sequence[str] | None = None
    if cipher.encrypts or set(details) != {NO_DETAILS}:
        told = [_told(text, cipher) for text in details]
        whole &= [found is not None for found in told]
        if cipher.encrypts:
            names = ["" if found is None else found.name for found in told]
    if names is None:
        try:
            names = b"/".join(texts).decode().split("/")
        except UnicodeDecodeError:
            names = []
        if len(names) != len(texts):  # a name holds what none may hold
            names = [_text(text) for text in texts]
    joined = "/".join(names) + "/"
    if max(map(len, names)) > MAX_LENGTH or joined.count("/") > len(names) or not _USUAL.fullmatch(joined):
        whole &= [name_fault(name) is None for name in names]
    return names


def _text(raw: bytes) -> str:
    """Nothing for what is no UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return ""


def _told(text: bytes, cipher: Cipher) -> _Details | None:
    """A person's details; None if there is more to tell, or something wrong."""
    try:
        found = _decode(cipher.unseal(text))
    except (WrongKey, msgspec.DecodeError, RecursionError):
        return None
    return None if found.groups or found.retain_until is not None else found


def _whole_people(
    people: Sequence[Row],
    ids: NDArray[np.uint8],
    of_photos: NDArray[np.uint8],
    counts: Ints,
    checksums: NDArray[np.uint8],
) -> Bools:
    """Whose checksum is right."""
    sizes = np.zeros((len(ids), 4), "<u4")
    (names, sizes[:, 0]), (details, sizes[:, 1]) = _padded(people[2], NAME_ROOM), _padded(people[3], _LONGEST_DETAILS)
    sizes[:, 2] = counts
    both = np.concatenate([of_photos, np.zeros_like(of_photos)], axis=1)  # the others' are of negative examples
    found: Bools = (person_sums(ids, names, details, sizes.view(np.uint8), both) == checksums).all(axis=1)
    return found


def _added(checksums: NDArray[np.uint8], owner: Ints, people: int) -> NDArray[np.uint8]:
    """The sums of the checksums of each person's photos, each half for itself: uint8 [people, 16]."""
    made = np.zeros((people, 2), "<u8")
    np.add.at(made, owner, checksums.view("<u8"))
    return made.view(np.uint8)
