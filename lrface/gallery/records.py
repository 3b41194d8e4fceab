"""What a gallery stores of a person, and the checksums by which damage is noticed."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrface.gallery.ciphers import Cipher
from lrface.gallery.names import name_fault
from lrface.gallery.sums import LONGEST_HASH, LONGEST_TIME, NUMBERS, person_sum, photo_sum
from lrface.types import FloatArray

DIGEST_SIZE = 16  # bytes
UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LARGEST_PX = 1e6  # no face is wider
SQUARE_TOLERANCE = 2e-3  # of the squared length
SHORTEST = 1e-3  # sum of a person's embeddings that has a direction
NO_DETAILS = b"{}"  # of a person without any


class Damage(ValueError):
    """A row that is not what was written."""


@dataclass(frozen=True, slots=True, eq=False)
class PhotoTemplate:
    """What is stored of one photo; the picture itself is not.

    Attributes:
        sha256: Of the photo's bytes, hexadecimal.
        native_px: How wide the face was, in pixels of the photo.
        embedding: float32 [dim], of unit length.
        quality: The network's estimate, 0..1; None without one.
        crop: The aligned face as a PNG file, empty unless the gallery keeps crops.
        added: When it was enrolled, ISO 8601 in UTC; empty for one that is not stored yet.
    """

    sha256: str
    native_px: float
    embedding: FloatArray = field(repr=False)
    quality: float | None = None
    crop: bytes = field(default=b"", repr=False)
    added: str = ""


@dataclass(frozen=True, slots=True)
class PersonRow:
    """A row of the table of people.

    Attributes:
        row: Its number in the table; used again after a removal.
        id: UUID, never used again.
        name: As stored: normalised, or a keyed hash of the name in an encrypted gallery.
        details: JSON of `Details`, encrypted in an encrypted gallery.
        checksum: Over all of these and the checksums of all photos and negative examples: it moves with any change.
    """

    row: int
    id: str
    name: str
    details: bytes
    checksum: bytes


@dataclass(frozen=True, slots=True)
class Details:
    """What is known of a person beside name and photos.

    Attributes:
        name: Only in an encrypted gallery, where the row holds its hash.
        tags: Words, sorted.
        groups: Names of the gallery's groups, sorted.
        metadata: Any JSON object.
        retain_until: The last day, ISO 8601, on which the person may be kept; None without a limit.
    """

    name: str = ""
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    retain_until: str | None = None

    def to_json(self) -> bytes:
        """Without what is empty, keys sorted."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({k: v for k, v in values.items() if v}, sort_keys=True, allow_nan=False).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Details:
        """Reads what `to_json` wrote.

        Raises:
            Damage: It is something else.
        """
        if text == NO_DETAILS:
            return _WITHOUT
        try:
            found: dict[str, Any] = json.loads(text)
            details = cls(**{**found, "tags": tuple(found.get("tags", ())), "groups": tuple(found.get("groups", ()))})
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise Damage("the details cannot be read") from error
        words = all(isinstance(word, str) for word in (*details.tags, *details.groups, details.name))
        if not words or not isinstance(details.metadata, dict) or not isinstance(details.retain_until, str | None):
            raise Damage("the details hold values of wrong types")
        return details


_WITHOUT = Details()


def usable_photo(photo: PhotoTemplate, dim: int) -> str | None:
    """Why a photo's values cannot be stored or used; None if they can."""
    vector = photo.embedding
    if vector.shape != (dim,) or not abs(float(vector @ vector) - 1.0) < SQUARE_TOLERANCE:
        return "its template is not finite or not of unit length"
    if not (0 < len(photo.sha256) <= LONGEST_HASH and photo.sha256.isascii() and photo.sha256.isprintable()):
        return "its hash is not 1 to 64 ASCII characters"
    if not 0 < photo.native_px < LARGEST_PX:
        return f"a face cannot be {photo.native_px} px wide"
    if photo.quality is not None and not 0 <= photo.quality <= 1:
        return f"a quality cannot be {photo.quality}"
    if not (len(photo.added) <= LONGEST_TIME and photo.added.isascii() and photo.added.isprintable()):
        return "its time of enrolment is none"
    return None


def photo_values(person_id: str, photo: PhotoTemplate, cipher: Cipher) -> tuple[Any, ...]:
    """The columns `reading.PHOTO_COLUMNS` of a photo's row."""
    values = (
        cipher.lookup(photo.sha256),
        float(photo.native_px),
        None if photo.quality is None else float(photo.quality) + 0.0,  # SQLite stores no -0.0
        photo.added,
        cipher.seal(vector_bytes(photo.embedding)),
        cipher.seal(photo.crop),
    )
    return *values, photo_checksum(person_id, *values)


def photo_checksum(
    person_id: str, sha256: str, px: float, quality: float | None, added: str, blob: bytes, crop: bytes
) -> bytes:
    """Over a photo's row, as stored."""
    numbers = NUMBERS.pack(px, -1.0 if quality is None else quality)
    return photo_sum(person_id.encode(), sha256.encode(), numbers, added.encode(), blob, crop)


def read_photo(person_id: str, values: Sequence[Any], dim: int, cipher: Cipher) -> PhotoTemplate:
    """A photo from the columns that `photo_values` made.

    Raises:
        Damage: They are not what was written.
    """
    sha256, px, quality, added, blob, crop, checksum = values
    if not (
        isinstance(sha256, str)
        and isinstance(px, float)
        and isinstance(quality, float | None)
        and isinstance(added, str)
        and all(isinstance(value, bytes) for value in (blob, crop))
    ):
        raise Damage("a photo's row holds values of wrong types")
    if checksum != photo_checksum(person_id, sha256, px, quality, added, blob, crop):
        raise Damage("the checksum of a photo is wrong")
    photo = PhotoTemplate(sha256, px, read_vector(cipher.unseal(blob), dim), quality, cipher.unseal(crop), added)
    if fault := usable_photo(photo, dim):
        raise Damage(f"a photo cannot be used: {fault}")
    return photo


def vector_bytes(vector: FloatArray) -> bytes:
    """An embedding as stored."""
    return np.asarray(vector, "<f4").tobytes()


def read_vector(blob: bytes, dim: int) -> FloatArray:
    """An embedding from its bytes.

    Raises:
        Damage: They are too many or too few.
    """
    if len(blob) != 4 * dim:
        raise Damage("a photo's template has a wrong size")
    return np.frombuffer(blob, "<f4").astype(np.float32, copy=False)


def person_checksum(
    person_id: str, name: str, details: bytes, photos: Iterable[bytes], negatives: Iterable[bytes] = ()
) -> bytes:
    """Over a person's row and, by their checksums, all photos and negative examples in any order."""
    return person_sum(person_id.encode(), name.encode(), details, list(photos), list(negatives))


def check_person(person: PersonRow, photos: Sequence[object], negatives: Sequence[object]) -> None:
    """Compares a person's row with its checksum.

    Raises:
        Damage: Row, photos or negative examples (by their checksums) are not what was written.
    """
    if not all(isinstance(value, bytes) for value in (person.checksum, *photos, *negatives)):
        raise Damage("a checksum is missing")
    if not (isinstance(person.id, str) and isinstance(person.name, str) and isinstance(person.details, bytes)):
        raise Damage("the person's row holds values of wrong types")
    if not UUID.fullmatch(person.id):
        raise Damage("the person's id is none")
    wanted = person_checksum(person.id, person.name, person.details, photos, negatives)  # type: ignore[arg-type]
    if person.checksum != wanted:
        raise Damage("the checksum of the person is wrong: the entry is altered or a photo is missing")
    if not photos:
        raise Damage("there is no photo")


def read_details(person: PersonRow, cipher: Cipher) -> tuple[str, Details]:
    """Name and details of a person whose checksum is right.

    Raises:
        Damage: They are not what may be written, or the name may not be one.
    """
    details = Details.from_json(cipher.unseal(person.details))
    name = details.name if cipher.encrypts else person.name
    if fault := name_fault(name):
        raise Damage(f"the name {fault}")
    return name, details


def total(plus: Iterable[bytes], minus: Iterable[bytes] = ()) -> bytes:
    """The sum of checksums less others, modulo their size; in any order the same."""
    number = sum(map(int.from_bytes, plus)) - sum(map(int.from_bytes, minus))
    return int(number % 2 ** (8 * DIGEST_SIZE)).to_bytes(DIGEST_SIZE, "big")


def total_of_rows(checksums: NDArray[np.uint8]) -> bytes:
    """The sum of checksums uint8 [n, 16], as `total` gives it."""
    words = np.ascontiguousarray(checksums).view(">u4").sum(axis=0, dtype=np.uint64)
    number = sum(int(word) << (32 * (len(words) - 1 - place)) for place, word in enumerate(words))
    return int(number % 2 ** (8 * DIGEST_SIZE)).to_bytes(DIGEST_SIZE, "big")


def digest(*parts: bytes) -> bytes:
    """BLAKE2b over parts of any length; where one ends matters."""
    frame = struct.pack(f"<{len(parts)}I", *map(len, parts))
    return blake2b(frame + b"".join(parts), digest_size=DIGEST_SIZE).digest()
