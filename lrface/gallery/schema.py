"""A gallery's file: made, recognised, checked, brought up to this version's tables."""

from __future__ import annotations

import sqlite3

from lrface.errors import GalleryError
from lrface.gallery.contract import Contract
from lrface.gallery.migrations import migrate
from lrface.gallery.pages import check_pages, refuse_damaged
from lrface.gallery.settings import Settings
from lrface.gallery.state import State, read_contract, write_contract, write_settings, write_state
from lrface.gallery.tables import APPLICATION_ID, SCHEMA, TABLES, expected_tables, found_tables
from lrface.gallery.transactions import transaction

MAX_VALUE_BYTES = 2**20  # no value of ours is longer; a hostile file's may be


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


def create(connection: sqlite3.Connection, contract: Contract, settings: Settings) -> None:
    """Makes the tables of a gallery without people; in a transaction."""
    for statement in TABLES:
        connection.execute(statement)
    write_contract(connection, contract)
    write_settings(connection, settings)
    write_state(connection, State())
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA}")


def check(connection: sqlite3.Connection, name: str, thorough: bool) -> Contract:
    """Recognises a gallery, and brings one of an earlier schema up to this one; returns the contract in it.

    Args:
        name: For messages.
        connection: Open.
        thorough: Whether every page and index is checked, which reads the whole file; always before a migration.

    Raises:
        GalleryError: Another program's file, of a newer version, or damaged.
    """
    _check_kind(connection, name)
    if str(connection.execute("PRAGMA journal_mode").fetchone()[0]) not in ("delete", "memory"):
        # A log beside the file would outlive a copy over the file and be written into the copy.
        connection.execute("PRAGMA journal_mode = DELETE")
    if _check_pages(connection, name, thorough) < SCHEMA:
        with transaction(connection):
            version = _check_pages(connection, name, True)  # another process may have been faster
            if version < SCHEMA:
                migrate(connection, version)
    return read_contract(connection, name)


def _check_kind(connection: sqlite3.Connection, name: str) -> None:
    application, schema = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    if application != APPLICATION_ID:
        raise GalleryError(f"gallery {name}: this is another program's database: choose another path")
    if schema > SCHEMA:
        raise GalleryError(f"gallery {name}: a newer lrface made it (schema {schema}, not {SCHEMA}): update lrface")


def _check_pages(connection: sqlite3.Connection, name: str, thorough: bool) -> int:
    """The schema of the file, whose tables (and pages, if `thorough`) are whole."""
    version = _pragma(connection, "user_version")
    known = found_tables(connection) in expected_tables(version)
    refuse_damaged("ok" if known else "unexpected tables", name)  # first: nothing of others' tables is run or checked
    if thorough:
        check_pages(connection, name)
    return version


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
