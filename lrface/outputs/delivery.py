"""Sending the events of an outbox to one receiver, in a thread: in order, again after a failure, each with its id."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from lrface.errors import LrfaceError
from lrface.outputs.outbox import Outbox, Waiting

LONGEST_WAIT_S = 300.0
CLOSING_S = 0.8  # given to receivers to take the last events when the run ends
_log = logging.getLogger("lrface.events")


class Answer(Enum):
    """What became of an event that was sent."""

    TAKEN = "taken"
    AWAY = "away"  # no answer, or one that says "later": the same event goes first again
    REFUSED = "refused"  # an answer about this very event: the others go on


class Transport(Protocol):
    """How events get to a receiver. Used by one thread.

    Attributes:
        name: Of the receiver, fit to be shown; events in the outbox belong to it.
    """

    name: str

    def send(self, event: Waiting) -> tuple[Answer, str]:
        """Sends one event within seconds; the answer, and what went wrong, fit to be shown."""
        ...

    def idle(self) -> None:
        """Called when nothing waits, about once a second."""
        ...

    def close(self) -> None:
        """Closes connections."""
        ...


def delivery_wait_s(failures: int) -> float:
    """Seconds to wait after failure 1, 2, 3 ... in a row: 1, 2, 4 ... up to `LONGEST_WAIT_S`."""
    return float(min(LONGEST_WAIT_S, 2 ** min(failures - 1, 20)))


class Delivery:
    """A thread that sends what waits in an outbox for one receiver.

    The order of events is kept while the receiver takes them or is away. What the process did not deliver before it
    ended (or was killed) is sent by the next one. An event whose answer was lost is sent again, with the same id.

    Args:
        outbox: Open; closed by its owner, after `stop` and `join`.
        transport: To the receiver.
        report: Called with a message when the receiver is lost, and when it takes events again; by default the log
            "lrface.events" is.
        wait: Waits until the event is set, for so many seconds at most.
    """

    def __init__(
        self,
        outbox: Outbox,
        transport: Transport,
        *,
        report: Callable[[str], None] | None = None,
        wait: Callable[[threading.Event, float], object] = threading.Event.wait,
    ) -> None:
        self.name = transport.name
        self._outbox, self._transport = outbox, transport
        self._report = report or _log.warning
        self._wait = wait
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="lrface-delivery", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Says that there may be new events."""
        self._wake.set()

    def stop(self) -> None:
        """Asks the thread to end when the receiver has taken what waits, or does not take it."""
        self._closing.set()
        self._wake.set()

    def join(self, timeout_s: float) -> None:
        """Waits until the thread has ended; one whose receiver hangs is not waited for any longer."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while True:
                self._wake.clear()
                event = self._outbox.next(self.name)
                if event is None:
                    if self._closing.is_set():
                        return
                    self._transport.idle()
                    self._wake.wait(1.0)
                elif not self._deliver(event) and self._closing.is_set():
                    return
        except LrfaceError as error:  # the outbox is closed, or its disk is full
            if not self._closing.is_set():
                self._report(f"{self.name}: no event is sent any more: {error}")
        finally:
            self._transport.close()

    def _deliver(self, event: Waiting) -> bool:
        """Sends one event; after a failure it waits, longer each time."""
        answer, why = self._transport.send(event)
        if answer is Answer.TAKEN:
            self._outbox.delivered(event)
            if self._failures:
                self._report(f"{self.name}: takes events again")
            self._failures = 0
            return True
        if answer is Answer.REFUSED:
            self._outbox.refused(event)
        self._failures += 1
        delay = delivery_wait_s(self._failures)
        if self._failures == 1 or delay == LONGEST_WAIT_S:
            kept = f"{self._outbox.waiting(self.name)} events wait in {self._outbox.path}"
            self._report(f"{self.name}: {why}; {kept}; trying again in {delay:.0f} s")
        self._wait(self._closing, delay)
        return False
