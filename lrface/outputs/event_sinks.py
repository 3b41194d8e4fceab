"""All receivers of events together: JSON lines, and deliveries out of an outbox."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from lrface.outputs.delivery import CLOSING_S, Delivery, Transport
from lrface.outputs.outbox import Outbox
from lrface.outputs.sinks import JsonLines

_log = logging.getLogger("lrface.events")


class EventSinks:
    """Gives each event an `id` and hands it to every receiver. A context manager.

    Args:
        lines: A file of JSON lines, closed with this; None: none.
        outbox: Path of the outbox; only opened where there are transports.
        transports: To the receivers.
        report: Called with a message when a receiver is lost, when it takes events again, and when events are dropped;
            None: the log "lrface.events" is.

    Raises:
        LrfaceError: The outbox cannot be used.
    """

    def __init__(
        self,
        lines: JsonLines | None = None,
        outbox: str | os.PathLike[str] | None = None,
        transports: Sequence[Transport] = (),
        report: Callable[[str], None] | None = None,
    ) -> None:
        self._lines = lines
        self._report = report or _log.warning
        self._told_of_dropped = False
        self._outbox = Outbox(outbox) if outbox is not None and transports else None
        if self._outbox is not None:
            for name, count in self._outbox.receivers().items():
                if name not in [each.name for each in transports]:
                    self._report(f"{count} events in {outbox} are for {name}, which gets no events any more")
        self._deliveries = [Delivery(self._outbox, each, report=report) for each in transports] if self._outbox else []

    def __enter__(self) -> EventSinks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Stores events for every receiver; they are on the disk when this returns.

        Args:
            records: Events, as `TrackEvent.to_dict` gives them.

        Returns:
            The records as they are sent, each with its `id`.

        Raises:
            LrfaceError: The disk is full, or a file cannot be written.
        """
        named = [{"id": uuid.uuid4().hex, **record} for record in records]
        if self._outbox is not None and named:
            self._outbox.put([each.name for each in self._deliveries], named)
            for each in self._deliveries:
                each.wake()
            if self._outbox.dropped and not self._told_of_dropped:
                self._told_of_dropped = True
                self._report(f"{self._outbox.path} is full: the oldest events of receivers that are away are dropped")
        if self._lines is not None:
            for record in named:
                self._lines.write(record)
        return named

    def waiting(self) -> dict[str, int]:
        """How many events wait for each receiver."""
        return {each.name: self._outbox.waiting(each.name) for each in self._deliveries} if self._outbox else {}

    def people(self) -> set[str]:
        """Ids of the people whom waiting events name."""
        outbox = self._outbox
        return set() if outbox is None else outbox.people()

    def forget_person(self, person: str) -> bool:
        """Erases what waits of a person who was removed, as `Outbox.forget_person` does; False without an outbox."""
        outbox = self._outbox
        if outbox is None:
            return False
        outbox.forget_person(person)
        return True

    def close(self) -> dict[str, int]:
        """Gives the receivers a moment to take what waits; the rest is sent by the next run with this outbox.

        Returns:
            How many events wait for each receiver.
        """
        deadline = time.monotonic() + CLOSING_S
        for each in self._deliveries:
            each.stop()
        for each in self._deliveries:
            each.join(max(0.0, deadline - time.monotonic()))
        left = self.waiting()
        if self._outbox is not None:
            self._outbox.close()
            self._outbox = None
        if self._lines is not None:
            self._lines.close()
        return left
