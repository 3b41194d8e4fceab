"""Rows of the collection: a person with all photos and negative examples, as Milvus stores them and back."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256

import numpy as np

from lrface.embedding.templates import fuse
from lrface.errors import GalleryError
from lrface.gallery.ciphers import Plain
from lrface.gallery.index import PersonTemplates
from lrface.gallery.milvus.connection import Row
from lrface.gallery.reading import StoredPerson, negative_checksum, stored_person
from lrface.gallery.records import (
    SHORTEST,
    Damage,
    PersonRow,
    PhotoTemplate,
    person_checksum,
    photo_values,
    vector_bytes,
)
from lrface.types import FloatArray

PERSON, PHOTO, NEGATIVE, STATE, BLANK = "person", "photo", "negative", "state", "blank"
FIELDS = ("key", "kind", "row", "person", "name", "lookup", "photos", "checksum", "text", "blob", "vector")
"""Of which a person is made again."""
_PLAIN = Plain()


def empty_row(key: str, kind: str, dim: int) -> Row:
    """A row that is found by its key only."""
    texts = dict.fromkeys(("person", "name", "lookup", "checksum", "until", "text", "blob"), "")
    numbers = dict.fromkeys(("row", "photos", "negatives"), 0)
    return {"key": key, "kind": kind, **texts, **numbers, "length": 0.0, "groups": [], "vector": [0.0] * dim}


def note_row(key: str, kind: str, judge: str = "", number: int = 0, text: str = "") -> Row:
    """A row of the collection of notes, of which each has to have a vector."""
    return {"key": key, "kind": kind, "judge": judge, "number": number, "text": text, "vector": [0.0, 0.0]}


def mark(text: str) -> str:
    """By which a name or a group is looked for: 64 hexadecimal digits need no quoting in an expression."""
    return sha256(text.encode()).hexdigest()


def group_mark(name: str) -> str:
    """By which the people of a group are looked for."""
    return mark(name)[:16]


def photo_key(sha256: str) -> str:
    """Of a photo's row: a photo belongs to one person. Any text may be a hash."""
    return f"photo {sha256 if sha256.isascii() and sha256.isalnum() else mark(sha256)}"


def sealed(person: StoredPerson) -> StoredPerson:
    """A person with the checksum that belongs to what is known now."""
    photos = [photo_values(person.id, photo, _PLAIN)[-1] for photo in person.photos]
    negatives = [negative_checksum(person.id, vector_bytes(vector)) for vector in person.negatives]
    text = person.details.to_json()
    return replace(person, checksum=person_checksum(person.id, person.name, text, photos, negatives))


def rows_of(person: StoredPerson, numbers: dict[str, int]) -> dict[str, Row]:
    """The rows of a sealed person, by key.

    Args:
        person: Sealed.
        numbers: The place of each photo and negative example in the order of enrolment, by key.

    Raises:
        GalleryError: The photos have no mean direction.
    """
    known, dim = PersonTemplates.of(person), len(person.photos[0].embedding)
    length = float(np.linalg.norm(known.total))
    if not length > SHORTEST:
        raise GalleryError(f"the photos of {person.name} have nothing in common: enrol other ones")
    details = person.details
    key = f"person {person.id}"
    made = {
        key: empty_row(key, PERSON, dim)
        | {
            "row": person.row,
            "person": person.id,
            "name": person.name,
            "lookup": mark(person.name),
            "photos": known.photos,
            "negatives": len(person.negatives),
            "length": length / known.photos,
            "until": details.retain_until or "",
            "groups": [group_mark(name) for name in details.groups],
            "text": details.to_json().decode(),
            "checksum": person.checksum.hex(),
            "vector": fuse(known.total[None])[0].tolist(),
        }
    }
    for photo in person.photos:
        key, values = photo_key(photo.sha256), photo_values(person.id, photo, _PLAIN)
        made[key] = empty_row(key, PHOTO, dim) | {
            "row": numbers[key],
            "person": person.id,
            "lookup": photo.sha256,
            "text": json.dumps(values[1:4]),
            "blob": base64.b64encode(photo.crop).decode(),
            "checksum": values[-1].hex(),
            "vector": photo.embedding.tolist(),
        }
    for vector in person.negatives:
        checksum = negative_checksum(person.id, vector_bytes(vector)).hex()
        key = negative_key(checksum)
        made[key] = empty_row(key, NEGATIVE, dim) | {
            "row": numbers[key],
            "person": person.id,
            "checksum": checksum,
            "vector": vector.tolist(),
        }
    return made


def keys_of(person: StoredPerson) -> list[str]:
    """Of the rows of photos and negative examples."""
    negatives = [negative_checksum(person.id, vector_bytes(vector)).hex() for vector in person.negatives]
    return [*(photo_key(photo.sha256) for photo in person.photos), *map(negative_key, negatives)]


def same_keys(old: StoredPerson, new: StoredPerson) -> list[str]:
    """Of the rows of photos and negative examples that a person has before and after a change."""
    if old.id != new.id:
        return []
    there = {id(value) for value in (*old.photos, *old.negatives)}
    kept = zip(keys_of(new), (*new.photos, *new.negatives), strict=True)
    return [key for key, value in kept if id(value) in there]


def negative_key(checksum: str) -> str:
    """Of the row of a negative example."""
    return f"negative {checksum}"


def person_of(rows: Iterable[Row], dim: int) -> tuple[StoredPerson, dict[str, int]]:
    """A person from all rows, each compared with its checksum; and the place of each photo and negative example.

    Raises:
        Damage: Something is not what was written.
        LookupError: There is no such person.
    """
    of_kind: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: int(row["row"])):
        of_kind.setdefault(str(row["kind"]), []).append(row)
    if PERSON not in of_kind:
        raise LookupError("no such person")
    own = of_kind[PERSON][0]
    photos, negatives = of_kind.get(PHOTO, []), of_kind.get(NEGATIVE, [])
    try:
        text = str(own["text"]).encode()
        checksum = bytes.fromhex(own["checksum"])
        found = stored_person(
            PersonRow(int(own["row"]), str(own["person"]), str(own["name"]), text, checksum),
            [_photo(photo) for photo in photos],
            [(vector_bytes(_vector(each)), bytes.fromhex(each["checksum"])) for each in negatives],
            dim,
            _PLAIN,
        )
    except (ValueError, TypeError, LookupError) as error:
        raise error if isinstance(error, Damage) else Damage("a row holds values of wrong types") from error
    template = fuse(PersonTemplates.of(found).total[None])[0]
    if int(own["photos"]) != len(photos) or own["lookup"] != mark(found.name):
        raise Damage("what the person is found by is not what was written")
    if not np.allclose(_vector(own), template, atol=1e-6):
        raise Damage("the template is not the mean of the photos")
    return found, {str(each["key"]): int(each["row"]) for each in (*photos, *negatives)}


def by_person(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows of people, photos and negative examples by the person's id."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["person"]:
            found.setdefault(str(row["person"]), []).append(row)
    return found


def without_crops(photos: Sequence[PhotoTemplate]) -> tuple[PhotoTemplate, ...]:
    """The photos without their crops."""
    return tuple(replace(photo, crop=b"") for photo in photos)


def _photo(row: Row) -> tuple[object, ...]:
    px, quality, added = json.loads(row["text"])
    crop = base64.b64decode(row["blob"], validate=True)
    return row["lookup"], float(px), quality, added, vector_bytes(_vector(row)), crop, bytes.fromhex(row["checksum"])


def _vector(row: Row) -> FloatArray:
    return np.array(row["vector"], np.float32)
