"""Who may write: one process at a time. Milvus has no transactions and cannot compare before it writes.

Whoever wants to write puts a claim into the collection of notes, and then asks for all claims. It is its turn when
there is no other one. Of two who put claims, the later one always sees the other's, so they never both have the turn.
Where several wait, the one of the lowest number keeps its claim and the others take theirs back for a moment.

A process that dies leaves a claim. Others delete one that has not been renewed for `LEASE_S` seconds of their own
clocks: no clocks are compared. A turn must therefore end, by its own clock, well before that.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from lrface.errors import GalleryError, GalleryInUseError
from lrface.gallery.milvus.connection import CALL_S, Connection
from lrface.gallery.milvus.rows import note_row

LEASE_S = 3 * CALL_S  # a claim that is not renewed for so long is of a process that died
PATIENCE_S = LEASE_S + 15.0  # how long a turn is waited for
_SHORTEST_S, _LONGEST_S = 0.01, 0.05  # between two looks


class Turn:
    """The right to write. Ends by itself; see `renew`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._key = f"claim {uuid.uuid4().hex}"
        self._renewed, self._number = 0.0, 0

    @property
    def suffices(self) -> bool:
        """Whether one more request ends while no other process can have the turn.

        One takes up to twice `CALL_S`: pymilvus sends it again until `CALL_S` are over, and waits as long for the last.
        """
        return self._age() <= LEASE_S / 4

    def check(self) -> None:
        """Sees to it that one more request ends while no other process can have the turn.

        Raises:
            GalleryInUseError: So much time has passed that it may be another one's turn.
        """
        if not self.suffices:
            self.renew()

    def renew(self) -> None:
        """Begins the turn anew, in a change that takes long.

        Raises:
            GalleryInUseError: As `check`.
        """
        if self._age() <= LEASE_S / 2:
            self._claim()
        if not self.suffices:
            raise GalleryInUseError(
                f"gallery {self._connection.address}: a change took too long, nothing of it was stored: try again"
            )

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renews the turn all the time, for a block that reads everybody."""
        done = threading.Event()

        def renew() -> None:
            with contextlib.suppress(GalleryError):  # `check` tells it
                while not done.wait(LEASE_S / 8):
                    self.renew()

        thread = threading.Thread(target=renew, name="lrface-turn")
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def take(self) -> None:
        """Waits until it is the own turn.

        Raises:
            GalleryInUseError: Others have had it for too long.
        """
        end = time.monotonic() + PATIENCE_S
        seen: dict[tuple[str, int], float] = {}
        self._claim()
        while True:
            rows = self._connection.query('kind == "claim"', ["key", "number"], notes=True)
            now = time.monotonic()
            claims = {(str(row["key"]), int(row["number"])) for row in rows}
            own = {claim for claim in claims if claim[0] == self._key}
            others = claims - own
            seen = {claim: seen.get(claim, now) for claim in others}
            dead = [key for (key, _), since in seen.items() if now - since > LEASE_S]
            if dead:
                self._delete(dead)
            elif own and not others and self.suffices:
                return
            elif now > end:
                raise GalleryInUseError(
                    f"gallery {self._connection.address}: another process has been writing it for too long: wait until "
                    "it has finished, then try again; nothing of this call was stored"
                )
            elif own and others and min(others)[0] < self._key:
                self._delete([self._key])  # let the other one go first
                time.sleep(random.uniform(_SHORTEST_S, _LONGEST_S))
            elif not own:
                if not others or self._key < min(others)[0]:
                    self._claim()
                else:
                    time.sleep(random.uniform(_SHORTEST_S, _LONGEST_S))
            elif now - self._renewed > LEASE_S / 8:
                self._claim()
            else:
                time.sleep(_SHORTEST_S)

    def end(self) -> None:
        """Lets others write."""
        with contextlib.suppress(GalleryError):  # else the claim ends by itself
            self._delete([self._key])

    def _age(self) -> float:
        return time.monotonic() - self._renewed

    def _claim(self) -> None:
        if self._number and self._age() > LEASE_S / 2:  # somebody may be about to delete it
            self._delete([self._key])
            self._key = f"claim {uuid.uuid4().hex}"
        self._number += 1
        self._renewed = time.monotonic()  # before: others cannot see it earlier
        self._connection.put([note_row(self._key, "claim", number=self._number)], notes=True)

    def _delete(self, keys: list[str]) -> None:
        listed = ", ".join(f'"{key}"' for key in keys)
        self._connection.delete(f"key in [{listed}]", notes=True)


@contextmanager
def turn_of(connection: Connection) -> Iterator[Turn]:
    """The turn, for a block."""
    turn = Turn(connection)
    try:
        turn.take()
        yield turn
    finally:
        turn.end()
