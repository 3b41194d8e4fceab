"""The tables of a gallery's file: made, recognised, checked."""

from __future__ import annotations

import sqlite3
import struct
from dataclasses import dataclass

from lrface.errors import GalleryError
from lrface.gallery.contract import Contract
from lrface.gallery.records import DIGEST_SIZE, digest
from lrface.gallery.transactions import AGAIN

APPLICATION_ID = 0x4C524647  # "LRFG"
SCHEMA = 2
MAX_VALUE_BYTES = 2**20  # no value of ours is longer; a hostile file's may be

_TABLES = (
    "CREATE TABLE contract (id INTEGER PRIMARY KEY CHECK (id = 1), json TEXT NOT NULL, checksum BLOB NOT NULL)",
    "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), fpir REAL, people INTEGER NOT NULL, "
    "photos INTEGER NOT NULL, content BLOB NOT NULL, generation INTEGER NOT NULL, checksum BLOB NOT NULL)",
    "CREATE TABLE people (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL, name TEXT NOT NULL UNIQUE, "
    "checksum BLOB NOT NULL)",
    "CREATE TABLE photos (id INTEGER PRIMARY KEY, person_id INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE, "
    "sha256 TEXT NOT NULL UNIQUE, native_px REAL NOT NULL, levels TEXT NOT NULL, embeddings BLOB NOT NULL, "
    "checksum BLOB NOT NULL)",  # a photo shows one person: two would tie for ever
    "CREATE INDEX photos_of ON photos (person_id)",
)


@dataclass(frozen=True, slots=True)
class State:
    """What changes with each transaction.

    Attributes:
        fpir: The false-positive identification rate chosen for the gallery; None where nobody chose one.
        people: How many there are.
        photos: How many there are of all people.
        content: The sum of the checksums of all people: it tells whether all are there, of one and the same moment.
        generation: Moves with each transaction.
    """

    fpir: float | None = None
    people: int = 0
    photos: int = 0
    content: bytes = bytes(DIGEST_SIZE)
    generation: int = 0

    def checksum(self) -> bytes:
        """Over all values."""
        rate = b"" if self.fpir is None else struct.pack("<d", self.fpir)
        return digest(rate, self.content, struct.pack("<qqq", self.people, self.photos, self.generation))


def prepare(connection: sqlite3.Connection) -> None:
    """The settings of a connection; nothing is read or written yet."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    for pragma in (
        "trusted_schema = OFF",
        "foreign_keys = ON",
        "secure_delete = ON",  # deleted templates are overwritten with zeros
        "synchronous = EXTRA",  # the journal's removal, which is the commit, is on the disk too
        "temp_store = MEMORY",  # no template in a temporary file
    ):
        connection.execute(f"PRAGMA {pragma}")


def is_blank(connection: sqlite3.Connection) -> bool:
    """Whether nobody has made anything of the file yet."""
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return tables == 0 and _pragma(connection, "application_id") == 0 and _pragma(connection, "user_version") == 0


def create(connection: sqlite3.Connection, contract: Contract) -> None:
    """Makes the tables of a gallery without people; in a transaction."""
    for statement in _TABLES:
        connection.execute(statement)
    text, state = contract.to_json(), State()
    connection.execute("INSERT INTO contract VALUES (1, ?, ?)", (text, digest(text.encode())))
    write_state(connection, state)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA}")


def check(connection: sqlite3.Connection, name: str, thorough: bool) -> Contract:
    """Recognises a gallery of this version; returns the contract in it.

    Args:
        name: For messages.
        connection: Open.
        thorough: Whether every page and index is checked, which reads the whole file.

    Raises:
        GalleryError: Another program's file, of another version, or damaged.
    """
    application, schema = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    if application != APPLICATION_ID:
        raise GalleryError(f"gallery {name}: this is another program's database: choose another path")
    if schema > SCHEMA:
        raise GalleryError(f"gallery {name}: a newer lrface made it (schema {schema}, not {SCHEMA}): update lrface")
    if schema < SCHEMA:
        raise GalleryError(
            f"gallery {name}: an older lrface made it with other models (schema {schema}, not {SCHEMA}): "
            "enrol the photos again in a new gallery"
        )
    if str(connection.execute("PRAGMA journal_mode").fetchone()[0]) not in ("delete", "memory"):
        # A log beside the file would outlive a copy over the file and be written into the copy.
        connection.execute("PRAGMA journal_mode = DELETE")
    tables = {row[0] for row in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
    damage, stored = "unexpected tables", []
    if tables == set(_TABLES):  # first: nothing of others' tables is run or checked
        damage = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0]) if thorough else "ok"
        stored = connection.execute("SELECT json, checksum FROM contract").fetchall() if damage == "ok" else []
    if damage == "ok" and (len(stored) != 1 or not isinstance(stored[0][0], str)):
        damage = "the contract is missing"
    elif damage == "ok" and stored[0][1] != digest(stored[0][0].encode()):
        damage = "the checksum of the contract is wrong"
    if damage != "ok":
        raise GalleryError(f"gallery {name}: the file is damaged ({damage}): {AGAIN}")
    return Contract.from_json(stored[0][0])


def read_state(connection: sqlite3.Connection) -> State | None:
    """None if it is damaged."""
    rows = connection.execute("SELECT fpir, people, photos, content, generation, checksum FROM state").fetchall()
    if len(rows) != 1:
        return None
    fpir, people, photos, content, generation, checksum = rows[0]
    counts = people, photos, generation
    if not (fpir is None or isinstance(fpir, float)) or not all(isinstance(n, int) and n >= 0 for n in counts):
        return None
    if not (isinstance(content, bytes) and len(content) == DIGEST_SIZE):
        return None
    state = State(fpir, people, photos, content, generation)
    return state if checksum == state.checksum() else None


def write_state(connection: sqlite3.Connection, state: State) -> None:
    """In a transaction."""
    connection.execute(
        "INSERT OR REPLACE INTO state VALUES (1, ?, ?, ?, ?, ?, ?)",
        (state.fpir, state.people, state.photos, state.content, state.generation, state.checksum()),
    )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
