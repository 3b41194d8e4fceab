"""Writes single rows of people, photos and negative examples, with their checksums; in a transaction."""

from __future__ import annotations

import sqlite3

from lrface.gallery.ciphers import Cipher
from lrface.gallery.reading import PHOTO_COLUMNS, negative_checksum
from lrface.gallery.records import Details, PersonRow, PhotoTemplate, person_checksum, photo_values, vector_bytes
from lrface.types import FloatArray


def insert_person(
    connection: sqlite3.Connection, cipher: Cipher, name: str, details: Details, identity: str
) -> PersonRow:
    """A person without photos; `seal_person` gives the row its checksum."""
    lookup, text = cipher.lookup(name), cipher.seal(details.to_json())
    query = "INSERT INTO people (uuid, name, details, checksum) VALUES (?, ?, ?, x'')"
    row = connection.execute(query, (identity, lookup, text))
    return PersonRow(int(row.lastrowid or 0), identity, lookup, text, b"")


def insert_photo(connection: sqlite3.Connection, cipher: Cipher, person: PersonRow, photo: PhotoTemplate) -> bool:
    """A photo of a person; False if it is somebody's already."""
    query = f"INSERT INTO photos (person_id, {PHOTO_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    values = photo_values(person.id, photo, cipher)
    return bool(connection.execute(f"{query} ON CONFLICT DO NOTHING", (person.row, *values)).rowcount)


def insert_negative(connection: sqlite3.Connection, cipher: Cipher, person: PersonRow, embedding: FloatArray) -> None:
    """A face that is not the person's."""
    blob = cipher.seal(vector_bytes(embedding))
    connection.execute(
        "INSERT INTO negatives (person_id, embedding, checksum) VALUES (?, ?, ?)",
        (person.row, blob, negative_checksum(person.id, blob)),
    )


def delete_negative(connection: sqlite3.Connection, cipher: Cipher, person: PersonRow, embedding: FloatArray) -> bool:
    """Takes a face that is not the person's out again; whether it was there."""
    wanted = vector_bytes(embedding)
    rows = connection.execute("SELECT id, embedding FROM negatives WHERE person_id = ? ORDER BY id", (person.row,))
    for number, blob in rows.fetchall():
        if cipher.unseal(blob) == wanted:
            connection.execute("DELETE FROM negatives WHERE id = ?", (number,))
            return True
    return False


def seal_person(connection: sqlite3.Connection, person: PersonRow) -> bytes:
    """Writes a person's row with the checksum that belongs to it and to the rows that are there; returns it."""
    photos, negatives = (
        [row[0] for row in connection.execute(f"SELECT checksum FROM {table} WHERE person_id = {person.row}")]
        for table in ("photos", "negatives")
    )
    checksum = person_checksum(person.id, person.name, person.details, photos, negatives)
    connection.execute(
        "UPDATE people SET name = ?, details = ?, checksum = ? WHERE id = ?",
        (person.name, person.details, checksum, person.row),
    )
    return checksum
