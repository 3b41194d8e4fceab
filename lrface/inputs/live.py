"""Newest frames of a live source, reconnected without end once it has worked.

One thread reads and keeps the newest frame only, so memory is bounded and a slow consumer never lags behind. OpenCV
cannot interrupt a read: a reader that hangs is left behind and a new one started, up to a few.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from enum import Enum, StrEnum

from lrface.errors import VideoError
from lrface.inputs.capture import Capture, read_frame
from lrface.types import ImageArray

MAX_HUNG = 3
_POLL_S = 0.1


class StreamEventKind(StrEnum):
    """What can happen to a source; each is equal to its text."""

    CONNECTED = "connected"
    LOST = "lost"
    STALLED = "stalled"
    TRUNCATED = "truncated"
    """A file that ended long before its time."""


class Outcome(Enum):
    """Why a reader has no newer frame."""

    ENDED = "ended"
    HUNG = "hung"
    CLOSED = "closed"


class Reader:
    """A thread that opens a source, reads it, and keeps the newest frame.

    Args:
        connect: Opens the source or raises VideoError.
    """

    def __init__(self, connect: Callable[[], Capture]) -> None:
        self._connect = connect
        self._fresh = threading.Condition()
        self._count = 0
        self._newest: ImageArray | None = None
        self._read_at = 0.0
        self._done = False
        self._stop = False
        self.error: VideoError | None = None
        self.thread = threading.Thread(target=self._run, name="lrface-reader", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            capture = self._connect()
            try:
                while not self._stop and (image := read_frame(capture)) is not None:
                    with self._fresh:
                        self._newest, self._count, self._read_at = image, self._count + 1, time.monotonic()
                        self._fresh.notify_all()
            finally:
                capture.release()
        except VideoError as error:
            self.error = error
        except Exception:  # a driver's fault is a lost connection; a traceback may hold the URL
            self.error = None
        finally:
            with self._fresh:
                self._done = True
                self._fresh.notify_all()

    def newer_than(
        self, count: int, timeout_s: float, closed: threading.Event
    ) -> tuple[int, ImageArray, float] | Outcome:
        """The newest frame after number `count`, as soon as there is one: its number (from 1), and when it was read."""
        waited = 0.0
        with self._fresh:
            while self._count <= count or self._newest is None:
                if closed.is_set():
                    return Outcome.CLOSED
                if self._done:
                    return Outcome.ENDED
                if waited >= timeout_s:
                    return Outcome.HUNG
                if not self._fresh.wait(_POLL_S):
                    waited += _POLL_S
            image, self._newest = self._newest, None
            return self._count, image, self._read_at

    def stop(self) -> None:
        """Asks the thread to release the source; waits a moment, since a camera can be opened only once."""
        self._stop = True
        self.thread.join(timeout=0.5)


def backoff_s(attempt: int) -> float:
    """Seconds to wait before attempt 0, 1, 2 ... to connect again: 1, 2, 4, 8, 16, 30, 30 ..."""
    return float(min(30, 2 ** min(attempt, 5)))


def newest_frames(
    name: str,
    connect: Callable[[], Capture],
    *,
    stall_s: float,
    closed: threading.Event,
    wait: Callable[[float], object],
    clock: Callable[[], float],
    report: Callable[[StreamEventKind, str], None],
    patient: bool = False,
) -> Iterator[tuple[int, float, ImageArray, float]]:
    """Gives (number of the frame as read, seconds since the first, image, when it was read) until `closed` is set.

    Args:
        name: The source, fit to be shown.
        connect: Opens the source or raises VideoError.
        stall_s: Seconds without a frame after which the source counts as hung (the first of a connection may
            take twice as long).
        closed: Ends the iteration when set.
        wait: Waits so many seconds, or until `closed` is set.
        clock: Monotonic seconds.
        report: Called with each event's kind and message.
        patient: Whether a source that never worked is tried again, too.

    Raises:
        VideoError: The first attempt to connect failed, and it is not `patient`.
    """
    start: float | None = None
    base = attempt = 0
    hung: list[Reader] = []
    while not closed.is_set():
        reader = Reader(connect)
        count, connected_at = 0, clock()
        try:
            while True:
                got = reader.newer_than(count, stall_s if count else 2 * stall_s, closed)
                if isinstance(got, Outcome):
                    break
                if count == 0:
                    report(StreamEventKind.CONNECTED, "connected" if start is None else "connected again")
                count, image, read_at = got
                start = clock() if start is None else start
                yield base + count - 1, clock() - start, image, read_at
        finally:
            reader.stop()
        if got is Outcome.CLOSED:
            return
        if start is None and not patient:
            raise reader.error or VideoError(
                f"{name}: gave no frame. Check address, user, password and network; does another program show it?"
            )
        base += count
        if clock() - connected_at > stall_s and count:
            attempt = 0
        if got is Outcome.HUNG:
            hung.append(reader)
        delay = backoff_s(attempt)
        attempt += 1
        kind, why = StreamEventKind.LOST, "connection lost" if count else "does not answer"
        if got is Outcome.HUNG:
            kind, why = StreamEventKind.STALLED, f"no frame for {stall_s:g} s"
        report(kind, f"{why}; trying again in {delay:.0f} s")
        wait(delay)
        while len(hung := [reader for reader in hung if reader.thread.is_alive()]) >= MAX_HUNG and not closed.is_set():
            report(StreamEventKind.STALLED, f"{len(hung)} reads hang in the driver; waiting for one to return")
            wait(backoff_s(attempt))
