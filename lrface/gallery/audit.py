"""The audit log: who did what when. It holds no name, no template and no hash of a photo, and is only added to.

It is also how readers catch up: each transaction adds at least one entry, and an entry names the row that it changed.
"""

from __future__ import annotations

import datetime as dt
import getpass
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from lrface.gallery.records import DIGEST_SIZE, digest

REMOVED, EXPIRED = "person removed", "person removed: retention ended"
REMOVALS = (REMOVED, EXPIRED)
RENAMED, MERGED, MERGED_INTO = "person renamed", "person merged into another", "another person merged into this"
"""These and the removals are what whoever keeps data of people elsewhere must follow. Of a merge two entries tell."""

_acting: ContextVar[str] = ContextVar("lrface_actor", default="")
START = bytes(DIGEST_SIZE)
"""The hash before the first entry."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change of a gallery.

    Attributes:
        number: From 1 on, without gaps.
        at: When, ISO 8601 in UTC.
        actor: Who: the user of a service, `LRFACE_ACTOR`, or the account of the operating system.
        action: What was done, such as "photos added".
        person: The person's UUID; empty where the change is of the gallery.
        detail: How much, such as "2 photos".
        hash: Over this entry and the hash of the one before: an entry that is altered or taken away breaks the chain.
    """

    number: int
    at: str
    actor: str
    action: str
    person: str
    detail: str
    hash: str


def now() -> str:
    """ISO 8601 in UTC, to the second."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@contextmanager
def acting_as(who: str) -> Iterator[None]:
    """Names who is responsible for changes inside the block, such as the user of a service."""
    token = _acting.set(who)
    try:
        yield
    finally:
        _acting.reset(token)


def actor() -> str:
    """Who acts: named by `acting_as`, else by `LRFACE_ACTOR`, else the account of the operating system."""
    given = _acting.get() or os.environ.get("LRFACE_ACTOR", "")
    if not given:
        try:
            given = getpass.getuser()
        except (OSError, KeyError, ImportError):  # no entry for the user in the system's list, as in containers
            given = f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"
    return "".join(c if c.isprintable() else "?" for c in given)[:100]


Values = tuple[int, str, str, str, int | None, str, str]
"""Number, time, actor, action, row, person and detail of an entry."""


def made(last: tuple[int, bytes], action: str, row: int | None, person: str, detail: str) -> tuple[Values, bytes]:
    """The entry after the last one, by its number and hash: its values and hash."""
    values = last[0] + 1, now(), actor(), action, row, person, detail
    return values, linked(last[1], values)


def append(
    connection: sqlite3.Connection, last: tuple[int, bytes], action: str, row: int | None, person: str, detail: str
) -> tuple[int, bytes]:
    """Adds an entry after the last one; returns its number and hash."""
    values, link = made(last, action, row, person, detail)
    connection.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*values, link))
    return values[0], link


def entries(
    connection: sqlite3.Connection, after: int = 0, before: int | None = None, most: int | None = None
) -> Iterator[AuditEntry]:
    """Those with a higher number than `after` and a lower one than `before`, of these the last `most`, oldest first."""
    bounds = after, 2**63 - 1 if before is None else before, -1 if most is None else most
    query = "SELECT seq, at, actor, action, person, detail, hash FROM audit WHERE seq > ? AND seq < ? "
    found = connection.execute(f"SELECT * FROM ({query} ORDER BY seq DESC LIMIT ?) ORDER BY seq", bounds)
    for number, at, who, action, person, detail, link in found:
        yield AuditEntry(number, at, who, action, person, detail, link.hex() if isinstance(link, bytes) else "")


def chain_fault(connection: sqlite3.Connection, generation: int, head: bytes) -> str | None:
    """What is wrong with the chain, which must end with this number and hash; None for a whole one."""
    number, link = 0, START
    for *values, stored in connection.execute("SELECT * FROM audit ORDER BY seq"):
        number += 1
        try:
            link = linked(link, tuple(values))
        except (TypeError, AttributeError, ValueError):
            return f"entry {number} of the audit log is damaged"
        if values[0] != number or link != stored:
            return f"entry {number} of the audit log is altered, or one before it is missing"
    if (number, link) != (generation, head):
        return "the end of the audit log is missing"
    return None


def is_at(connection: sqlite3.Connection, number: int, link: bytes) -> bool:
    """Whether the log holds this entry: if so, the file is a later state of the one it was read from."""
    if number == 0:
        return True
    found = connection.execute("SELECT hash FROM audit WHERE seq = ?", (number,)).fetchone()
    return found is not None and found[0] == link


def changed_rows(connection: sqlite3.Connection, after: int) -> set[int]:
    """Rows of people that were added, changed or removed by entries after one."""
    query = "SELECT DISTINCT row FROM audit WHERE seq > ? AND row IS NOT NULL"
    return {int(row) for (row,) in connection.execute(query, (after,))}


def linked(before: bytes, values: Values) -> bytes:
    """The hash of an entry, over its values and the hash of the one before."""
    number, at, who, action, row, person, detail = values
    texts = (at, who, action, "" if row is None else str(row), person, detail)
    return digest(before, number.to_bytes(8, "little"), *(text.encode() for text in texts))
