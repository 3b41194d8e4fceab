"""The tables of each schema that an lrface ever made."""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x4C524647  # "LRFG"
SCHEMA = 5

TABLES_1 = (
    "CREATE TABLE contract (id INTEGER PRIMARY KEY CHECK (id = 1), json TEXT NOT NULL)",
    "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    "CREATE TABLE photos (id INTEGER PRIMARY KEY, person_id INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE, "
    "sha256 TEXT NOT NULL UNIQUE, native_px REAL NOT NULL)",
    "CREATE INDEX photos_of ON photos (person_id)",
    "CREATE TABLE templates (photo_id INTEGER NOT NULL REFERENCES photos (id) ON DELETE CASCADE, "
    "level INTEGER NOT NULL, embedding BLOB NOT NULL, UNIQUE (photo_id, level))",
)
RATE_1 = "CREATE TABLE calibration (id INTEGER PRIMARY KEY CHECK (id = 1), fpir REAL NOT NULL)"
"""Only in galleries of schema 1 for which somebody chose a rate."""

TABLES_2 = (
    "CREATE TABLE contract (id INTEGER PRIMARY KEY CHECK (id = 1), json TEXT NOT NULL, checksum BLOB NOT NULL)",
    "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), fpir REAL, people INTEGER NOT NULL, "
    "photos INTEGER NOT NULL, content BLOB NOT NULL, generation INTEGER NOT NULL, checksum BLOB NOT NULL)",
    "CREATE TABLE people (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL, name TEXT NOT NULL UNIQUE, "
    "checksum BLOB NOT NULL)",
    "CREATE TABLE photos (id INTEGER PRIMARY KEY, person_id INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE, "
    "sha256 TEXT NOT NULL UNIQUE, native_px REAL NOT NULL, levels TEXT NOT NULL, embeddings BLOB NOT NULL, "
    "checksum BLOB NOT NULL)",
    "CREATE INDEX photos_of ON photos (person_id)",
)

TABLES_3 = (
    "CREATE TABLE contract (id INTEGER PRIMARY KEY CHECK (id = 1), json TEXT NOT NULL, checksum BLOB NOT NULL)",
    "CREATE TABLE settings (id INTEGER PRIMARY KEY CHECK (id = 1), json TEXT NOT NULL, checksum BLOB NOT NULL)",
    "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), fpir REAL, people INTEGER NOT NULL, "
    "photos INTEGER NOT NULL, content BLOB NOT NULL, generation INTEGER NOT NULL, head BLOB NOT NULL, "
    "checksum BLOB NOT NULL)",
    "CREATE TABLE people (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, "
    "details BLOB NOT NULL, checksum BLOB NOT NULL)",
    "CREATE TABLE photos (id INTEGER PRIMARY KEY, person_id INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE, "
    "sha256 TEXT NOT NULL UNIQUE, native_px REAL NOT NULL, quality REAL, added TEXT NOT NULL, "
    "embedding BLOB NOT NULL, crop BLOB NOT NULL, checksum BLOB NOT NULL)",  # unique: of two people, it would tie them
    "CREATE INDEX photos_of ON photos (person_id)",
    "CREATE TABLE negatives (id INTEGER PRIMARY KEY, "
    "person_id INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE, embedding BLOB NOT NULL, "
    "checksum BLOB NOT NULL)",
    "CREATE INDEX negatives_of ON negatives (person_id)",
    "CREATE TABLE audit (seq INTEGER PRIMARY KEY, at TEXT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, "
    "row INTEGER, person TEXT NOT NULL, detail TEXT NOT NULL, hash BLOB NOT NULL)",
)

TABLES_4 = (
    "CREATE TABLE refusals (sha256 TEXT PRIMARY KEY, judge TEXT NOT NULL, said BLOB NOT NULL, checksum BLOB NOT NULL)",
)
"""New in schema 4."""
TABLES = (*TABLES_3, *TABLES_4)
"""Of schema 4 and 5, whose checksums of photos are others."""


def found_tables(connection: sqlite3.Connection) -> frozenset[str]:
    """What is defined in a file, as SQL."""
    return frozenset(row[0] for row in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"))


def expected_tables(schema: int) -> tuple[frozenset[str], ...]:
    """What may be defined in a file of a schema; empty for a schema that no lrface made."""
    return {
        1: (frozenset(TABLES_1), frozenset((*TABLES_1, RATE_1))),
        2: (frozenset(TABLES_2),),
        3: (frozenset(TABLES_3),),
        4: (frozenset(TABLES),),
        SCHEMA: (frozenset(TABLES),),
    }.get(schema, ())
