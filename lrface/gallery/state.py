"""The rows of a gallery's file of which there is one each: contract, settings, state; each has a checksum."""

from __future__ import annotations

import sqlite3
import struct
from dataclasses import dataclass

from lrface.errors import GalleryError
from lrface.gallery.contract import Contract
from lrface.gallery.records import DIGEST_SIZE, digest
from lrface.gallery.settings import Settings
from lrface.gallery.transactions import AGAIN


@dataclass(frozen=True, slots=True)
class State:
    """What changes with each transaction.

    Attributes:
        fpir: The false-positive identification rate chosen for the gallery; None where nobody chose one.
        people: How many there are.
        photos: How many there are of all people.
        content: The sum of the checksums of all people: it tells whether all are there, of one and the same moment.
        generation: The number of the last entry of the audit log; moves with each transaction.
        head: The hash of that entry.
    """

    fpir: float | None = None
    people: int = 0
    photos: int = 0
    content: bytes = bytes(DIGEST_SIZE)
    generation: int = 0
    head: bytes = bytes(DIGEST_SIZE)

    def checksum(self) -> bytes:
        """Over all values."""
        rate = b"" if self.fpir is None else struct.pack("<d", self.fpir)
        return digest(rate, self.content, self.head, struct.pack("<qqq", self.people, self.photos, self.generation))


def read_contract(connection: sqlite3.Connection, name: str) -> Contract:
    """The models that the templates were made with.

    Raises:
        GalleryError: It is damaged.
    """
    return Contract.from_json(_checked_text(connection, "contract", name))


def write_contract(connection: sqlite3.Connection, contract: Contract) -> None:
    """In a transaction."""
    text = contract.to_json()
    connection.execute("INSERT OR REPLACE INTO contract VALUES (1, ?, ?)", (text, digest(text.encode())))


def read_settings(connection: sqlite3.Connection, name: str) -> Settings:
    """What was chosen for the gallery.

    Raises:
        GalleryError: It is damaged.
    """
    return Settings.from_json(_checked_text(connection, "settings", name))


def write_settings(connection: sqlite3.Connection, settings: Settings) -> None:
    """In a transaction."""
    text = settings.to_json()
    connection.execute("INSERT OR REPLACE INTO settings VALUES (1, ?, ?)", (text, digest(text.encode())))


def read_state(connection: sqlite3.Connection) -> State | None:
    """None if it is damaged."""
    rows = connection.execute("SELECT fpir, people, photos, content, generation, head, checksum FROM state").fetchall()
    if len(rows) != 1:
        return None
    fpir, people, photos, content, generation, head, checksum = rows[0]
    counts = people, photos, generation
    if not (fpir is None or isinstance(fpir, float)) or not all(isinstance(n, int) and n >= 0 for n in counts):
        return None
    if not all(isinstance(value, bytes) and len(value) == DIGEST_SIZE for value in (content, head)):
        return None
    state = State(fpir, people, photos, content, generation, head)
    return state if checksum == state.checksum() else None


def write_state(connection: sqlite3.Connection, state: State) -> None:
    """In a transaction."""
    connection.execute(
        "INSERT OR REPLACE INTO state VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
        (state.fpir, state.people, state.photos, state.content, state.generation, state.head, state.checksum()),
    )


def _checked_text(connection: sqlite3.Connection, table: str, name: str) -> str:
    stored = connection.execute(f"SELECT json, checksum FROM {table}").fetchall()
    damage = ""
    if len(stored) != 1 or not isinstance(stored[0][0], str):
        damage = f"the {table} is missing"
    elif stored[0][1] != digest(stored[0][0].encode()):
        damage = f"the checksum of the {table} is wrong"
    if damage:
        raise GalleryError(f"gallery {name}: the file is damaged ({damage}): {AGAIN}")
    return str(stored[0][0])
