"""Export and import: a gallery as a zip file of JSON, which any program can read (docs/privacy.md describes it)."""

from __future__ import annotations

import base64
import contextlib
import csv
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from os import PathLike
from typing import Any

import msgspec

from lrface.errors import GalleryError, LrfaceError
from lrface.gallery.contract import Contract
from lrface.gallery.names import normalise_name
from lrface.gallery.opening import is_on_server, open_store
from lrface.gallery.protocol import GalleryStore
from lrface.gallery.reading import StoredPerson
from lrface.gallery.records import UUID, Damage, Details, PhotoTemplate, read_vector, usable_photo, vector_bytes
from lrface.gallery.settings import Settings
from lrface.models.safe_files import open_regular
from lrface.redaction import csv_cell
from lrface.types import FloatArray

FORMAT, VERSION = "lrface-gallery", 1
_HEADER, _PEOPLE = "gallery.json", "people.jsonl"
_LONGEST_LINE = 2**26  # bytes of a person; more is no gallery of ours


def export_gallery(store: GalleryStore, target: str | PathLike[str]) -> int:
    """Writes everybody into a new file, readable by its owner only; returns how many people.

    Raises:
        GalleryError: The file is there already or cannot be written, the gallery is encrypted or damaged.
    """
    name = os.fsdecode(target)
    if store.cipher.encrypts:
        raise GalleryError("an encrypted gallery is not exported in the clear: copy it with `lrface gallery snapshot`")
    contents = store.contents()
    people, settings = contents.people, contents.settings
    header = {
        "format": FORMAT,
        "version": VERSION,
        "contract": json.loads(store.contract.to_json()),
        "fpir": contents.fpir,
        "groups": {name: asdict(group) for name, group in settings.groups.items()},
        "keep_crops": settings.keep_crops,
        "people": len(people),
    }
    try:
        handle = os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except (OSError, ValueError) as error:
        raise GalleryError(f"cannot write {name} ({getattr(error, 'strerror', error)}): choose another path") from error
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_HEADER, json.dumps(header))
            with archive.open(_PEOPLE, "w") as lines:
                for person in people:
                    lines.write(json.dumps(_record(person)).encode() + b"\n")
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(name)
        if isinstance(error, OSError):
            raise GalleryError(f"cannot write {name} ({error.strerror}): free some space, then try again") from error
        raise
    return len(people)


_DAMAGE = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError),  # values of other types, or out of range
    *(EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError),  # RuntimeError: also of recursion
)


def import_gallery(source: str | PathLike[str], target: str | PathLike[str]) -> int:
    """Makes a new gallery of an export, all of it or nothing; returns how many people. Ids stay.

    Raises:
        GalleryError: Not an export, of a newer version or damaged; or the target is there already.
    """
    name, path = os.fsdecode(source), os.fsdecode(target)
    if not is_on_server(path) and os.path.lexists(path):
        is_export = os.path.isfile(path) and zipfile.is_zipfile(path)
        order = ", whose path comes after the export's" if is_export else ""
        raise GalleryError(f"{path} is there already: an export is imported into a new gallery{order}")
    try:
        with open_regular(name) as file, zipfile.ZipFile(file) as archive:
            header = msgspec.json.decode(_content(archive, _HEADER))
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise GalleryError(f"{name} is not a gallery's export: make one with `lrface gallery export`")
            if header.get("version") != VERSION:
                raise GalleryError(f"{name} has version {header.get('version')!r}, not {VERSION}: update lrface")
            contract = Contract.from_json(json.dumps(header["contract"]))
            settings = Settings.from_json(
                json.dumps({"groups": header["groups"], "keep_crops": header["keep_crops"], "key_proof": None})
            )
            people = list(_people(archive, contract.dim))
            if len(people) != header["people"]:
                raise ValueError(f"{len(people)} people are there, not {header['people']}")
            fpir = header["fpir"]
            if fpir is not None and not 0 < float(fpir) < 1:
                raise ValueError("its fpir is no rate")
    except OSError as error:
        raise GalleryError(f"cannot read {name} ({error.strerror or error}): check the path") from error
    except _DAMAGE as error:
        raise GalleryError(f"{name} is no whole export ({str(error)[:200]}): export the gallery again") from error
    store = open_store(path, contract)
    try:
        store.fill(people, settings, None if fpir is None else float(fpir))
    finally:
        store.close()  # which deletes a file into which nothing was written
    return len(people)


def write_csv(store: GalleryStore, target: str | PathLike[str]) -> int:
    """Writes a table of who is enrolled into a new file, readable by its owner only; returns how many people.

    Raises:
        GalleryError: The file is there already or cannot be written.
    """
    name, people = os.fsdecode(target), store.people()
    try:
        handle = os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(("id", "name", "photos", "tags", "groups", "retain_until"))
            for p in people:
                details = p.details
                tags, groups = csv_cell("; ".join(details.tags)), csv_cell("; ".join(details.groups))
                table.writerow((p.id, csv_cell(p.name), p.photos, tags, groups, details.retain_until or ""))
    except (OSError, ValueError) as error:
        raise GalleryError(f"cannot write {name} ({getattr(error, 'strerror', error)}): choose another path") from error
    return len(people)


def _record(person: StoredPerson) -> dict[str, Any]:
    details = person.details
    return {
        "id": person.id,
        "name": person.name,
        "tags": details.tags,
        "groups": details.groups,
        "metadata": details.metadata,
        "retain_until": details.retain_until,
        "photos": [
            {
                "sha256": photo.sha256,
                "native_px": photo.native_px,
                "quality": photo.quality,
                "added": photo.added,
                "embedding": _vector_text(photo.embedding),
                "crop": _text(photo.crop),
            }
            for photo in person.photos
        ],
        "negatives": [_vector_text(vector) for vector in person.negatives],
    }


def _people(archive: zipfile.ZipFile, dim: int) -> Iterator[StoredPerson]:
    with archive.open(_PEOPLE) as lines:
        while line := lines.readline(_LONGEST_LINE + 1):
            if len(line) > _LONGEST_LINE:
                raise ValueError("a person's entry is too long")
            yield _person(msgspec.json.decode(line), dim)


def _person(found: dict[str, Any], dim: int) -> StoredPerson:
    try:
        name = normalise_name(found["name"])
    except LrfaceError as error:
        raise ValueError(str(error)) from error
    if not UUID.fullmatch(found["id"]):
        raise ValueError("an id is none")
    known = {key: found[key] for key in ("tags", "groups", "metadata", "retain_until")}
    details = Details.from_json(json.dumps(known).encode())
    photos = tuple(
        PhotoTemplate(
            str(photo["sha256"]),
            float(photo["native_px"]),
            _vector(photo["embedding"], dim),
            None if photo["quality"] is None else float(photo["quality"]),
            _bytes(photo["crop"]),
            str(photo["added"]),
        )
        for photo in found["photos"]
    )
    faults = [fault for photo in photos if (fault := usable_photo(photo, dim))]
    if faults or not photos:
        raise ValueError(f"a photo cannot be used, {faults[0]}" if faults else "a person has no photo")
    return StoredPerson(0, found["id"], name, details, photos, tuple(_vector(v, dim) for v in found["negatives"]), b"")


def _content(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as file:
        content = file.read(_LONGEST_LINE + 1)
    if len(content) > _LONGEST_LINE:
        raise ValueError(f"{name} is too long")
    return content


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _vector_text(vector: FloatArray) -> str:
    return _text(vector_bytes(vector))


def _vector(text: str, dim: int) -> FloatArray:
    try:
        return read_vector(_bytes(text), dim)
    except Damage as error:
        raise ValueError(str(error)) from error
