"""The tables of the service's own file: events, tracks with their best crops, settings."""

from __future__ import annotations

APPLICATION = 0x6C727376  # "lrsv"
VERSION = 2

SEALED = {"event": ("name", "body"), "track": ("name", "template"), "crop": ("jpeg",), "action": ("body",)}
"""What is encrypted where the gallery is: columns by table."""

SESSIONS = """
CREATE TABLE session (
  digest BLOB PRIMARY KEY, user TEXT NOT NULL, mark TEXT NOT NULL, began REAL NOT NULL, used REAL NOT NULL
) WITHOUT ROWID;
"""
"""What version 1 did not have."""

SCHEMA = """
CREATE TABLE event (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, at REAL NOT NULL, camera TEXT NOT NULL,
  track INTEGER, kind TEXT NOT NULL, person TEXT, name TEXT, body TEXT NOT NULL
);
CREATE INDEX event_at ON event (at);
CREATE INDEX event_person ON event (person, seq);
CREATE TABLE track (
  id INTEGER PRIMARY KEY AUTOINCREMENT, camera TEXT NOT NULL, number INTEGER NOT NULL,
  first_at REAL NOT NULL, last_at REAL NOT NULL, open INTEGER NOT NULL,
  person TEXT, name TEXT, similarity REAL, threshold REAL, reason TEXT, unknown TEXT,
  quality REAL, native_px REAL, views REAL, template BLOB, label TEXT,
  said INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX track_last ON track (last_at);
CREATE INDEX track_person ON track (person, last_at);
CREATE TABLE crop (
  track INTEGER NOT NULL REFERENCES track ON DELETE CASCADE, rank INTEGER NOT NULL, quality REAL, native_px REAL,
  at REAL NOT NULL, jpeg BLOB NOT NULL, PRIMARY KEY (track, rank)
) WITHOUT ROWID;
CREATE TABLE together (
  one INTEGER NOT NULL REFERENCES track ON DELETE CASCADE, other INTEGER NOT NULL REFERENCES track ON DELETE CASCADE,
  PRIMARY KEY (one, other)
) WITHOUT ROWID;
CREATE INDEX together_other ON together (other);
CREATE TABLE action (
  id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, actor TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL,
  undone INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
