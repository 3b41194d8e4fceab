"""Reads many people at once, each row compared with its checksum: a third of the time that one after the other takes.

For people without groups, a last day and negative examples. Whoever is not so, or in whose rows anything is not as it
should be, is left to `reading.stored_person`, which tells what is wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrface.embedding.templates import fuse
from lrface.gallery.blocks import Entries
from lrface.gallery.ciphers import Cipher, WrongKey
from lrface.gallery.names import name_fault
from lrface.gallery.records import (
    DIGEST_SIZE,
    LARGEST_PX,
    LONGEST_HASH,
    LONGEST_TIME,
    NUMBERS,
    SQUARE_TOLERANCE,
    UUID,
    Damage,
    Details,
    person_checksum,
)

Row = tuple[Any, ...]
_SHORTEST = 1e-3  # sum of a person's embeddings that has a direction
_FRAME = struct.Struct("<6I")


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


def read_many(
    people: Sequence[Row], photos: Mapping[int, Sequence[Row]], dim: int, cipher: Cipher
) -> tuple[list[Shelf], list[Row]]:
    """Compares people's rows and those of their photos with the checksums.

    Args:
        people: Columns id, uuid, name, details and checksum.
        photos: `PHOTO_COLUMNS` of the photos of each person, by the person's id.
        dim: Length of an embedding.
        cipher: The gallery's.

    Returns:
        Those who are whole, and the rows of the others, in no order.
    """
    kept: list[Row] = []
    names: list[str] = []
    others: list[Row] = []
    blobs: list[bytes] = []
    counts: list[int] = []
    for person in people:
        own = photos.get(person[0], ())
        found = _opened(person, own, 4 * dim, cipher) if _is_whole(person, own) else None
        if found is not None:
            kept.append(person)
            names.append(found[0])
            counts.append(len(own))
            blobs += found[1]
        else:
            others.append(person)
    if not kept:
        return [], others
    vectors = np.frombuffer(b"".join(blobs), "<f4").reshape(-1, dim).astype(np.float32, copy=False)
    with np.errstate(invalid="ignore", over="ignore"):
        unit = np.abs(np.einsum("nd,nd->n", vectors, vectors) - 1) < SQUARE_TOLERANCE
    numbers = np.array(counts)
    firsts = np.cumsum(numbers) - numbers
    whole = np.logical_and.reduceat(unit, firsts)
    shelves = []
    for count in np.unique(numbers).tolist():
        places = np.flatnonzero(numbers == count)
        sums = vectors[firsts[places]]
        for later in range(1, count):  # in the order in which one person's are added, to the same bits
            sums += vectors[firsts[places] + later]
        lengths = np.linalg.norm(sums, axis=1)
        usable = whole[places] & (lengths > _SHORTEST)
        others += [kept[place] for place in places[~usable].tolist()]
        places, sums, lengths = places[usable], sums[usable], lengths[usable]
        if not len(places):
            continue
        chosen = [kept[place] for place in places.tolist()]
        ids = bytes.fromhex("".join(person[1] for person in chosen).replace("-", ""))
        entries = Entries(
            [names[place] for place in places.tolist()],
            np.array([person[0] for person in chosen], np.int64),
            np.frombuffer(ids, np.uint8).reshape(-1, 16),
            np.frombuffer(b"".join(person[4] for person in chosen), np.uint8).reshape(-1, DIGEST_SIZE),
            lengths / np.float32(count),
            fuse(sums),
        )
        shelves.append(Shelf(count, entries))
    return shelves, others


def _opened(person: Row, photos: Sequence[Row], size: int, cipher: Cipher) -> tuple[str, list[bytes]] | None:
    """Name and embeddings of a person whose checksums are right; None if there is more to tell, or something wrong."""
    _, _, name, details, _ = person
    blobs = [photo[4] for photo in photos]
    try:
        if cipher.encrypts:
            blobs = [cipher.unseal(blob) for blob in blobs]
        told = Details.from_json(cipher.unseal(details))
    except (Damage, WrongKey):
        return None
    if told.groups or told.retain_until is not None:
        return None
    name = told.name if cipher.encrypts else name
    if name_fault(name) or any(len(blob) != size for blob in blobs):
        return None
    return name, blobs


def _is_whole(person: Row, photos: Sequence[Row]) -> bool:
    """Whether all checksums of a person are right, and all that is stored in the clear is as it may be."""
    _, identity, name, details, checksum = person
    if not photos or not (type(identity) is type(name) is str and type(details) is type(checksum) is bytes):
        return False
    if not UUID.fullmatch(identity):
        return False
    encoded, sealed = identity.encode(), []
    for sha256, px, quality, added, blob, crop, stored in photos:
        if not (type(sha256) is type(added) is str and type(blob) is type(crop) is type(stored) is bytes):
            return False
        if type(px) is not float or not 0 < px < LARGEST_PX:
            return False
        if quality is None:
            numbers = NUMBERS.pack(px, -1.0)
        elif type(quality) is float and 0 <= quality <= 1:
            numbers = NUMBERS.pack(px, quality)
        else:
            return False
        text = sha256 + added
        if not (
            0 < len(sha256) <= LONGEST_HASH and len(added) <= LONGEST_TIME and text.isascii() and text.isprintable()
        ):
            return False
        frame = _FRAME.pack(len(encoded), len(sha256), NUMBERS.size, len(added), len(blob), len(crop))
        content = b"".join((frame, encoded, sha256.encode(), numbers, added.encode(), blob, crop))
        if stored != blake2b(content, digest_size=DIGEST_SIZE).digest():
            return False
        sealed.append(stored)
    return bool(checksum == person_checksum(identity, name, details, sealed))
