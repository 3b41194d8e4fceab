"""What a gallery stores of a person, and the checksums by which damage is noticed."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from lrface.gallery.names import name_fault
from lrface.types import FloatArray

DIGEST_SIZE = 16  # bytes
_LARGEST_PX = 1e6  # no face is wider
_SQUARE_TOLERANCE = 2e-3  # of the squared length


class Damage(ValueError):
    """A row that is not what was written."""


@dataclass(frozen=True, slots=True, eq=False)
class PhotoTemplates:
    """What is stored of one photo; the picture itself is not.

    Attributes:
        sha256: Of the photo's bytes, hexadecimal.
        native_px: How wide the face was, in pixels of the photo.
        embeddings: float32 [dim] of unit length, by level.
    """

    sha256: str
    native_px: float
    embeddings: Mapping[int, FloatArray]


@dataclass(frozen=True, slots=True)
class PersonRow:
    """A row of the table of people.

    Attributes:
        row: Its number in the table; used again after a removal.
        id: UUID, never used again.
        name: Normalised.
        checksum: Over id, name and the checksums of all photos, so that it moves with any change.
    """

    row: int
    id: str
    name: str
    checksum: bytes

    @property
    def key(self) -> tuple[str, bytes]:
        """The same key means the same person with the same photos."""
        return self.id, self.checksum


def usable_photo(photo: PhotoTemplates, levels: Iterable[int], dim: int) -> str | None:
    """Why a photo's values cannot be stored or used; None if they can."""
    if not photo.embeddings or not set(photo.embeddings) <= set(levels):
        return "it has no template, or one of an unknown level"
    for vector in photo.embeddings.values():
        if vector.shape != (dim,) or not abs(float(vector @ vector) - 1.0) < _SQUARE_TOLERANCE:
            return "its template is not finite or not of unit length"
    if not (0 < len(photo.sha256) <= 64 and photo.sha256.isascii() and photo.sha256.isprintable()):
        return "its hash is not 1 to 64 ASCII characters"
    if not 0 < photo.native_px < _LARGEST_PX:
        return f"a face cannot be {photo.native_px} px wide"
    return None


def photo_values(person_id: str, photo: PhotoTemplates) -> tuple[str, float, str, bytes, bytes]:
    """The columns sha256, native_px, levels, embeddings and checksum of a photo's row."""
    levels = sorted(photo.embeddings)
    blob = b"".join(np.ascontiguousarray(photo.embeddings[level], "<f4").tobytes() for level in levels)
    text, px = ",".join(map(str, levels)), float(photo.native_px)
    return photo.sha256, px, text, blob, _photo_checksum(person_id, photo.sha256, px, text, blob)


def read_photo(person_id: str, values: tuple[object, ...], levels: Iterable[int], dim: int) -> PhotoTemplates:
    """A photo from the columns that `photo_values` made.

    Raises:
        Damage: They are not what was written.
    """
    sha256, px, text, blob, checksum = values
    if not (isinstance(sha256, str) and isinstance(px, float) and isinstance(text, str) and isinstance(blob, bytes)):
        raise Damage("a photo's row holds values of wrong types")
    if checksum != _photo_checksum(person_id, sha256, px, text, blob):
        raise Damage("the checksum of a photo is wrong")
    parts = text.split(",")
    if not all(part.isdecimal() and len(part) < 6 for part in parts) or len(blob) != 4 * dim * len(parts):
        raise Damage("a photo's templates have a wrong size")
    vectors = np.frombuffer(blob, "<f4").astype(np.float32, copy=False).reshape(len(parts), dim)
    photo = PhotoTemplates(sha256, px, {int(part): vectors[place] for place, part in enumerate(parts)})
    if fault := usable_photo(photo, levels, dim):
        raise Damage(f"a photo cannot be used: {fault}")
    return photo


def person_checksum(person_id: str, name: str, photo_checksums: Iterable[bytes]) -> bytes:
    """Over a person's row and, by their checksums, all photos in any order."""
    return digest(person_id.encode(), name.encode(), *sorted(photo_checksums))


def check_person(person: PersonRow, photo_checksums: Iterable[object]) -> None:
    """Compares a person's row with its checksum.

    Raises:
        Damage: Row or photos are not what was written, or the name may not be one.
    """
    checksums = list(photo_checksums)
    if not all(isinstance(value, bytes) for value in (person.checksum, *checksums)):
        raise Damage("a checksum is missing")
    if not (isinstance(person.id, str) and isinstance(person.name, str)):
        raise Damage("the person's row holds values of wrong types")
    if person.checksum != person_checksum(person.id, person.name, checksums):  # type: ignore[arg-type]
        raise Damage("the checksum of the person is wrong: the name is altered or a photo is missing")
    if not checksums:
        raise Damage("there is no photo")
    if fault := name_fault(person.name):
        raise Damage(f"the name {fault}")


def total(plus: Iterable[bytes], minus: Iterable[bytes] = ()) -> bytes:
    """The sum of checksums less others, modulo their size; in any order the same."""
    number = sum(int.from_bytes(value, "big") for value in plus) - sum(int.from_bytes(value, "big") for value in minus)
    return int(number % 2 ** (8 * DIGEST_SIZE)).to_bytes(DIGEST_SIZE, "big")


def digest(*parts: bytes) -> bytes:
    """BLAKE2b over parts of any length; where one ends matters."""
    framed = [piece for part in parts for piece in (len(part).to_bytes(8, "little"), part)]
    return blake2b(b"".join(framed), digest_size=DIGEST_SIZE).digest()


def _photo_checksum(person_id: str, sha256: str, native_px: float, levels: str, blob: bytes) -> bytes:
    return digest(person_id.encode(), sha256.encode(), struct.pack("<d", native_px), levels.encode(), blob)
