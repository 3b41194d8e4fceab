"""Brings a gallery's file from an earlier schema to this one, step by step, within one transaction.

People, photos' hashes and templates stay. Templates of another model are of no use (the contract, which stays too,
tells so), but names and hashes are what `lrface gallery upgrade` needs.
"""

from __future__ import annotations

import sqlite3
import struct
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from lrface.errors import GalleryError
from lrface.gallery import audit
from lrface.gallery.ciphers import Plain
from lrface.gallery.contract import Contract
from lrface.gallery.records import (
    DIGEST_SIZE,
    PhotoTemplate,
    digest,
    person_checksum,
    photo_checksum,
    photo_values,
    read_vector,
    total,
)
from lrface.gallery.settings import Settings
from lrface.gallery.state import State, read_state, write_contract, write_settings, write_state
from lrface.gallery.tables import SCHEMA, TABLES_2, TABLES_3, TABLES_4

_DAMAGED = "restore a copy, or enrol the photos again in a new gallery"


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Runs every step from a version on; in a transaction, the tables of that version are there.

    Raises:
        GalleryError: What the file holds is not what was written.
    """
    for step in range(version, SCHEMA):
        try:
            _STEPS[step](connection)
        except (ValueError, TypeError, AttributeError, LookupError, OverflowError, struct.error) as error:
            raise GalleryError(
                f"the gallery of schema {step} cannot be brought to schema {step + 1} ({error}): {_DAMAGED}"
            ) from error
        connection.execute(f"PRAGMA user_version = {step + 1}")


def _to_2(connection: sqlite3.Connection) -> None:
    """Ids, checksums, one row for all templates of a photo."""
    (contract,) = connection.execute("SELECT json FROM contract").fetchone()
    rate = connection.execute("SELECT name FROM sqlite_master WHERE name = 'calibration'").fetchone()
    fpir = connection.execute("SELECT fpir FROM calibration").fetchone()[0] if rate else None
    people = connection.execute("SELECT id, name FROM people ORDER BY id").fetchall()
    photos = connection.execute("SELECT id, person_id, sha256, native_px FROM photos ORDER BY id").fetchall()
    templates = connection.execute("SELECT photo_id, level, embedding FROM templates ORDER BY level").fetchall()
    by_photo: dict[int, list[tuple[int, bytes]]] = {}
    for photo, level, blob in templates:
        by_photo.setdefault(photo, []).append((level, blob))
    _replace_tables(connection, ("templates", "photos", "people", "contract", *(("calibration",) if rate else ())))
    for statement in TABLES_2:
        connection.execute(statement)
    connection.execute("INSERT INTO contract VALUES (1, ?, ?)", (contract, _digest_2(contract.encode())))
    ids = {row: str(uuid.uuid4()) for row, _ in people}
    checksums: dict[int, list[bytes]] = {row: [] for row in ids}
    connection.executemany("INSERT INTO people VALUES (?, ?, ?, x'')", [(row, ids[row], name) for row, name in people])
    for number, person, sha256, px in photos:
        of_levels = by_photo.get(number, [])
        levels, blob = ",".join(str(level) for level, _ in of_levels), b"".join(blob for _, blob in of_levels)
        checksum = _photo_checksum_2(ids[person], sha256, px, levels, blob)
        checksums[person].append(checksum)
        connection.execute(
            "INSERT INTO photos VALUES (?, ?, ?, ?, ?, ?, ?)", (number, person, sha256, px, levels, blob, checksum)
        )
    sums = [_digest_2(ids[row].encode(), name.encode(), *sorted(checksums[row])) for row, name in people]
    connection.executemany(
        "UPDATE people SET checksum = ? WHERE id = ?", [(c, row) for c, (row, _) in zip(sums, people, strict=True)]
    )
    values = fpir, len(people), len(photos), total(sums), 1
    connection.execute("INSERT INTO state VALUES (1, ?, ?, ?, ?, ?, ?)", (*values, _state_checksum_2(*values)))


def _to_3(connection: sqlite3.Connection) -> None:
    """One template a photo, details of people, settings, negative examples, the audit log.

    Whoever is damaged stays so (without a checksum), and is listed by `verify`.
    """
    contract = _contract_2(connection)
    state = connection.execute("SELECT fpir, people, photos, content, generation, checksum FROM state").fetchall()
    if len(state) != 1 or state[0][-1] != _state_checksum_2(*state[0][:-1]):
        raise ValueError("the checksum of the state is wrong")
    people = connection.execute("SELECT id, uuid, name, checksum FROM people ORDER BY id").fetchall()
    photos = connection.execute(
        "SELECT id, person_id, sha256, native_px, levels, embeddings, checksum FROM photos ORDER BY id"
    ).fetchall()
    if (len(people), len(photos)) != state[0][1:3] or total(row[-1] for row in people) != state[0][3]:
        raise ValueError("a person or a photo is missing")
    _replace_tables(connection, ("photos", "people", "contract", "state"))
    for statement in TABLES_3:
        connection.execute(statement)
    write_contract(connection, contract)
    write_settings(connection, Settings())
    ids = {row: identity for row, identity, *_ in people}
    old: dict[int, list[bytes]] = {row: [] for row in ids}
    new: dict[int, list[bytes]] = {row: [] for row in ids}
    whole = set(ids)
    connection.executemany(
        "INSERT INTO people VALUES (?, ?, ?, ?, x'')",
        [(row, identity, name, b"{}") for row, identity, name, _ in people],
    )
    for number, person, sha256, px, levels, blob, checksum in photos:
        if checksum != _photo_checksum_2(ids[person], sha256, px, levels, blob):
            whole.discard(person)
            continue
        old[person].append(checksum)
        last = read_vector(blob[len(blob) - 4 * contract.dim :], contract.dim)  # that of the largest level
        values = photo_values(ids[person], PhotoTemplate(sha256, px, last), Plain())[:-1]
        values = *values, _photo_checksum_4(ids[person], *values)
        new[person].append(values[-1])
        columns = ", ".join("?" * (2 + len(values)))
        connection.execute(f"INSERT INTO photos VALUES ({columns})", (number, person, *values))
    sums = []
    for row, identity, name, checksum in people:
        whole_row = row in whole and checksum == _digest_2(identity.encode(), name.encode(), *sorted(old[row]))
        sums.append(_person_checksum_4(identity, name, b"{}", new[row]) if whole_row else b"")
        connection.execute("UPDATE people SET checksum = ? WHERE id = ?", (sums[-1], row))
    counted = connection.execute("SELECT count(*) FROM photos").fetchone()[0]
    number, head = audit.append(connection, (0, audit.START), "schema 3", None, "", f"{len(people)} people")
    write_state(connection, State(state[0][0], len(people), counted, total(sums), number, head))


def _to_4(connection: sqlite3.Connection) -> None:
    """What is remembered of photos that were refused."""
    for statement in TABLES_4:
        connection.execute(statement)


def _to_5(connection: sqlite3.Connection) -> None:
    """Checksums of photos that numpy computes for many rows at once.

    Whoever is damaged stays so (without a checksum), and is listed by `verify`; what the state says of who should be
    there, right or wrong, holds as before.
    """
    state = read_state(connection)
    if state is None:  # `verify` says so
        return
    before = after = bytes(DIGEST_SIZE)
    for (number,) in connection.execute("SELECT id FROM people").fetchall():
        query = "SELECT uuid, name, details, checksum FROM people WHERE id = ?"
        *person, old = connection.execute(query, (number,)).fetchone()
        new = _person_to_5(connection, number, person, old)
        connection.execute("UPDATE people SET checksum = ? WHERE id = ?", (new, number))
        before, after = total([before, *([old] if isinstance(old, bytes) else [])]), total([after, new])
    write_state(connection, replace(state, content=total([state.content, after], [before])))


def _person_to_5(connection: sqlite3.Connection, number: int, person: Sequence[Any], checksum: object) -> bytes:
    """Gives the photos of a person their new checksums; returns the person's, empty if anything is damaged."""
    identity, name, details = person
    columns = "id, sha256, native_px, quality, added, embedding, crop, checksum"
    photos = connection.execute(f"SELECT {columns} FROM photos WHERE person_id = ?", (number,)).fetchall()
    query = "SELECT checksum FROM negatives WHERE person_id = ?"
    negatives = [row[0] for row in connection.execute(query, (number,))]
    try:
        old = [_photo_checksum_4(identity, *row[1:-1]) for row in photos]
        new = [photo_checksum(identity, *row[1:-1]) for row in photos]
        whole = old == [row[-1] for row in photos]
        if not whole or checksum != _person_checksum_4(identity, name, details, old, negatives):
            return b""
        made = person_checksum(identity, name, details, new, negatives)
    except (TypeError, AttributeError, ValueError, struct.error):
        return b""
    for row, value in zip(photos, new, strict=True):
        connection.execute("UPDATE photos SET checksum = ? WHERE id = ?", (value, row[0]))
    return made


_STEPS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _to_2, 2: _to_3, 3: _to_4, 4: _to_5}


def _contract_2(connection: sqlite3.Connection) -> Contract:
    ((text, checksum),) = connection.execute("SELECT json, checksum FROM contract").fetchall()
    if checksum != _digest_2(text.encode()):
        raise ValueError("the checksum of the contract is wrong")
    return Contract.from_json(text)


def _replace_tables(connection: sqlite3.Connection, names: Iterable[str]) -> None:
    """Drops tables, those that refer to others first."""
    for name in names:
        connection.execute(f"DROP TABLE {name}")


def _digest_2(*parts: bytes) -> bytes:
    framed = [piece for part in parts for piece in (len(part).to_bytes(8, "little"), part)]
    return blake2b(b"".join(framed), digest_size=DIGEST_SIZE).digest()


def _photo_checksum_2(person_id: str, sha256: str, native_px: float, levels: str, blob: bytes) -> bytes:
    return _digest_2(person_id.encode(), sha256.encode(), struct.pack("<d", native_px), levels.encode(), blob)


def _photo_checksum_4(
    person_id: str, sha256: str, px: float, quality: float | None, added: str, blob: bytes, crop: bytes
) -> bytes:
    numbers = struct.pack("<dd", px, -1.0 if quality is None else quality)
    return digest(person_id.encode(), sha256.encode(), numbers, added.encode(), blob, crop)


def _person_checksum_4(
    person_id: str, name: str, details: bytes, photos: Sequence[bytes], negatives: Sequence[bytes] = ()
) -> bytes:
    return digest(person_id.encode(), name.encode(), details, b"".join(sorted(photos)), b"".join(sorted(negatives)))


def _state_checksum_2(fpir: float | None, people: int, photos: int, content: bytes, generation: int) -> bytes:
    rate = b"" if fpir is None else struct.pack("<d", fpir)
    return _digest_2(rate, content, struct.pack("<qqq", people, photos, generation))
