"""The gallery's file: an SQLite database, opened with suspicion and written durably."""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from lrface.errors import GalleryError
from lrface.gallery.contract import Contract

APPLICATION_ID = 0x4C524647  # "LRFG"
SCHEMA = 1
BUSY_S = 10.0
MEMORY = ":memory:"

_TABLES = (
    "CREATE TABLE contract (id INTEGER PRIMARY KEY CHECK (id = 1), json TEXT NOT NULL)",
    "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    "CREATE TABLE photos (id INTEGER PRIMARY KEY, person_id INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE, "
    "sha256 TEXT NOT NULL UNIQUE, native_px REAL NOT NULL)",  # a photo shows one person: two would tie for ever
    "CREATE INDEX photos_of ON photos (person_id)",
    "CREATE TABLE templates (photo_id INTEGER NOT NULL REFERENCES photos (id) ON DELETE CASCADE, "
    "level INTEGER NOT NULL, embedding BLOB NOT NULL, UNIQUE (photo_id, level))",
)

# Only in galleries for which somebody chose a rate (`lrface thresholds`).
_CALIBRATION = "CREATE TABLE calibration (id INTEGER PRIMARY KEY CHECK (id = 1), fpir REAL NOT NULL)"

_MENDS = {
    "SQLITE_FULL": "the disk is full: free some space and try again; nothing was stored half-done",
    "SQLITE_BUSY": f"another process has been writing to it for {BUSY_S:.0f} s: wait for it, then try again",
    "SQLITE_LOCKED": "it is in use: try again",
    "SQLITE_READONLY": "it may not be written to: change the permissions of the file and its folder, or copy it",
    "SQLITE_CANTOPEN": "check that the folder exists and may be written to",
    "SQLITE_CORRUPT": "the file is damaged: restore a copy, or enrol the people in a new gallery",
    "SQLITE_NOTADB": "the file is not a gallery: choose another path, or restore a copy",
    "SQLITE_IOERR": "the disk failed or is full: check it, then try again; nothing was stored half-done",
}


@contextmanager
def gallery_errors(where: str) -> Iterator[None]:
    """Turns SQLite's errors into GalleryErrors with a mend."""
    try:
        yield
    except sqlite3.ProgrammingError as error:
        raise GalleryError(f"gallery {where}: {error}: it was closed, open it again") from error
    except UnicodeDecodeError as error:  # a damaged schema or name
        raise GalleryError(f"gallery {where}: {_MENDS['SQLITE_CORRUPT']}") from error
    except sqlite3.Error as error:
        code = str(getattr(error, "sqlite_errorname", "") or "")
        mend = next((text for key, text in _MENDS.items() if code.startswith(key)), "restore a copy, or enrol anew")
        raise GalleryError(f"gallery {where}: {error}: {mend}") from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; committed (and on the disk) when the block is left."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:  # also Ctrl-C: whatever ends the block leaves nothing behind
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def open_database(path: str | PathLike[str], contract: Contract | None) -> tuple[sqlite3.Connection, Contract]:
    """Opens a gallery file, creating it where there is none.

    Args:
        path: The file, or ":memory:".
        contract: The loaded models'; None to open an existing gallery as it is.

    Returns:
        The connection and the contract that the gallery is bound to.

    Raises:
        GalleryError: Not a gallery, damaged, of a newer schema, in use, not writable where it must be.
        ContractError: Made with other models.
    """
    name = os.fspath(path)
    if name != MEMORY:
        try:
            _check_path(Path(name), create=contract is not None)
        except (OSError, ValueError) as error:  # too long, not to be looked at, a NUL
            raise GalleryError(f"gallery {name!r}: {error}: check the path and its permissions") from error
    with gallery_errors(name):
        connection = sqlite3.connect(name, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            return connection, _prepare(connection, name, contract)
        except BaseException:
            connection.close()
            raise


def _check_path(file: Path, create: bool) -> None:
    if file.is_dir():
        raise GalleryError(f"gallery {file}: it is a folder: name a file in it, such as {file / 'staff.gallery'}")
    if not file.exists() and not create:
        raise GalleryError(f"gallery {file}: there is no such file: check the path, or enrol somebody first")
    if file.exists() and not file.is_file():
        raise GalleryError(f"gallery {file}: it is not a regular file: choose another path")
    if not file.resolve().parent.is_dir():
        raise GalleryError(f"gallery {file}: its folder does not exist: create it first")


def _prepare(connection: sqlite3.Connection, name: str, contract: Contract | None) -> Contract:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2**20)  # no row of ours is longer; a hostile file's may be
    for pragma in (
        "trusted_schema = OFF",
        "foreign_keys = ON",
        "secure_delete = ON",  # deleted templates are overwritten with zeros
        "synchronous = EXTRA",  # the journal's removal, which is the commit, is on the disk too
        "temp_store = MEMORY",  # no template in a temporary file
    ):
        connection.execute(f"PRAGMA {pragma}")
    if _is_blank(connection):
        if contract is None:
            raise GalleryError(f"gallery {name}: the file is empty: check the path, or enrol somebody first")
        with transaction(connection):
            if _is_blank(connection):  # else another process has just made it
                _create(connection, contract)
    application, schema = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    if application != APPLICATION_ID:
        raise GalleryError(f"gallery {name}: this is another program's database: choose another path")
    if schema != SCHEMA:
        mend = "update lrface" if schema > SCHEMA else "enrol the people in a new gallery"
        raise GalleryError(f"gallery {name}: its schema is {schema}, this lrface reads {SCHEMA}: {mend}")
    damage = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    tables = {row[0] for row in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
    whole = tables - {_CALIBRATION} == set(_TABLES)
    stored = connection.execute("SELECT json FROM contract").fetchall() if whole else []
    if damage != "ok" or len(stored) != 1 or not isinstance(stored[0][0], str):
        detail = damage if damage != "ok" else "unexpected tables"
        raise GalleryError(f"gallery {name}: the file is damaged ({detail}): restore a copy, or enrol anew")
    bound = Contract.from_json(stored[0][0])
    if contract is not None:
        bound.require(contract, f"gallery {name}")
    return bound


def read_fpir(connection: sqlite3.Connection) -> float | None:
    """The false-positive identification rate chosen for the gallery; None where nobody chose one."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'calibration'").fetchone():
        return None
    row = connection.execute("SELECT fpir FROM calibration").fetchone()
    return None if row is None else row[0] if isinstance(row[0], float) else math.nan


def write_fpir(connection: sqlite3.Connection, fpir: float) -> None:
    """Keeps the rate chosen for the gallery; in a transaction."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'calibration'").fetchone():
        connection.execute(_CALIBRATION)
    connection.execute("INSERT OR REPLACE INTO calibration (id, fpir) VALUES (1, ?)", (fpir,))


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _is_blank(connection: sqlite3.Connection) -> bool:
    """Whether nobody has made anything of the file yet."""
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return tables == 0 and _pragma(connection, "application_id") == 0 and _pragma(connection, "user_version") == 0


def _create(connection: sqlite3.Connection, contract: Contract) -> None:
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute("INSERT INTO contract (id, json) VALUES (1, ?)", (contract.to_json(),))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA}")
