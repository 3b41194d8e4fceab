"""Photos that enrolment refused, remembered by their hashes: at the next run nobody has to look at them again.

Remembered is what the photo alone decides (no face, several, too poor) and which photo it is a copy of; never a name.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from lrface.gallery.ciphers import Cipher, WrongKey
from lrface.gallery.records import digest

_LONGEST = 1000  # characters of a reason


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a photo was not enrolled.

    Attributes:
        reason: In words, without a name.
        native_px: How large the face is; 0 where it was not measured.
        quality: The network's estimate, 0..1; None without one.
        copy_of: The stored hash of the enrolled photo that it is a copy of; empty for none.
    """

    reason: str
    native_px: float = 0.0
    quality: float | None = None
    copy_of: str = ""

    def to_json(self) -> str:
        """One line."""
        return json.dumps([self.reason[:_LONGEST], self.native_px, self.quality, self.copy_of])

    @classmethod
    def from_json(cls, text: str | bytes) -> Refusal | None:
        """Reads what `to_json` wrote; None for something else."""
        try:
            reason, px, quality, copy_of = json.loads(text)
        except (ValueError, TypeError, RecursionError):
            return None
        numbers = isinstance(px, float | int) and isinstance(quality, float | int | None)
        if not (isinstance(reason, str) and len(reason) <= _LONGEST and isinstance(copy_of, str) and numbers):
            return None
        return cls(reason, float(px), quality, copy_of)


def write_refusals(connection: sqlite3.Connection, cipher: Cipher, judge: str, refusals: Mapping[str, Refusal]) -> None:
    """Remembers refusals by the photos' hashes, and forgets those of other judges; in a transaction."""
    connection.execute("DELETE FROM refusals WHERE judge <> ?", (judge,))
    for sha256, refusal in refusals.items():
        key, said = cipher.lookup(sha256), cipher.seal(refusal.to_json().encode())
        connection.execute(
            "INSERT OR REPLACE INTO refusals VALUES (?, ?, ?, ?)", (key, judge, said, _checksum(key, judge, said))
        )


def read_refusal(connection: sqlite3.Connection, cipher: Cipher, judge: str, sha256: str) -> Refusal | None:
    """What is remembered of a photo; None for nothing, for damage, and where another judge refused it."""
    key = cipher.lookup(sha256)
    row = connection.execute("SELECT judge, said, checksum FROM refusals WHERE sha256 = ?", (key,)).fetchone()
    if row is None or row[0] != judge or not isinstance(row[1], bytes) or row[2] != _checksum(key, *row[:2]):
        return None
    try:
        return Refusal.from_json(cipher.unseal(row[1]))
    except WrongKey:
        return None


def forget_refusals(connection: sqlite3.Connection) -> None:
    """In a transaction. Whoever was refused may be who is removed: hashes of their photos go too."""
    connection.execute("DELETE FROM refusals")


def _checksum(key: str, judge: str, said: bytes) -> bytes:
    return digest(b"refusal", key.encode(), judge.encode(), said)
