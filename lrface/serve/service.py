"""What the parts of the service share: gallery, store, cameras, accounts; and the threads that work for requests."""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import anyio
import anyio.to_thread

from lrface.cameras.config import Settings
from lrface.errors import LrfaceError
from lrface.gallery.audit import acting_as
from lrface.inputs.capture import Capture
from lrface.serve.access import Access, Identity
from lrface.serve.instep import FILE, InStep, forget_waiting
from lrface.serve.live import LatestFrames
from lrface.serve.metrics import Metrics
from lrface.serve.names import Names
from lrface.serve.options import ServeOptions
from lrface.serve.problems import Problem
from lrface.serve.sessions import Sessions
from lrface.serve.store import ServiceStore
from lrface.serve.watcher import Watcher

if TYPE_CHECKING:
    from lrface.matcher import FaceMatcher

P = ParamSpec("P")
T = TypeVar("T")
KNOWN_DAYS, UNKNOWN_DAYS = 30.0, 7.0
"""Events and tracks of people with a name, and tracks of strangers, are kept so long unless chosen otherwise."""

_EXPIRE_EVERY_S = 600.0
_FOLLOW_EVERY_S = 2.0
_ACCESS = "access told"
_log = logging.getLogger("lrface.serve")


class Service:
    """Everything that requests need.

    Args:
        matcher: Open; closed by its owner.
        settings: The cameras; None: no camera is watched.
        options: Where the service listens, and its limits.
        open_capture: See VideoSource.

    Attributes:
        options: As given.
        matcher: As given.
        store: Events and tracks.
        names: Of the enrolled people, in order.
        in_step: Keeps the store in step with the gallery.
        access: Accounts and tokens.
        sessions: Who is logged in.
        frames: What cameras show now.
        watcher: Runs the cameras; None without cameras.
        metrics: What is counted.
        closing: Set when the service ends: answers that never end do then.

    Raises:
        LrfaceError: A file of the service cannot be used.
    """

    def __init__(
        self,
        matcher: FaceMatcher,
        settings: Settings | None,
        options: ServeOptions,
        *,
        open_capture: Callable[[str | int], Capture] | None = None,
    ) -> None:
        self.options, self.matcher = options, matcher
        _make_folder(options.folder)
        self.store = ServiceStore(options.folder / FILE, cipher=matcher.gallery.cipher)
        self.access = Access(options.folder / "access.json")
        self.sessions = Sessions(self.access, self.store)
        self.frames = LatestFrames([] if settings is None else [camera.name for camera in settings.cameras])
        self.metrics = Metrics(lambda: len(matcher.gallery), lambda: self._waiting, self.store, self.frames)
        self.watcher = None
        if settings is not None:
            self.watcher = Watcher(
                matcher,
                settings,
                self.store,
                self.frames,
                keep_unknown=lambda: self.unknown_days > 0,
                open_capture=open_capture,
            )
        self.names = Names(matcher.gallery)
        self.in_step = InStep(self.store, matcher.gallery, self._forget_outside)
        self.closing = asyncio.Event()
        self.streams = 0
        self._waiting = 0
        self._working: anyio.CapacityLimiter | None = None
        self._checking: anyio.CapacityLimiter | None = None
        self._ended = threading.Event()

    @property
    def known_days(self) -> float:
        """Days for which events and tracks of people with a name are kept."""
        return float(self.store.setting("known_days", KNOWN_DAYS))

    @property
    def unknown_days(self) -> float:
        """Days for which tracks of strangers are kept; 0: no template and no crop of a stranger is."""
        return float(self.store.setting("unknown_days", UNKNOWN_DAYS))

    def choose_retention(self, known_days: float, unknown_days: float) -> None:
        """Chooses for how many days what was seen is kept, and deletes what is older now.

        Args:
            known_days: Events, and tracks of people with a name.
            unknown_days: Tracks of strangers; 0: no template and no crop of a stranger is kept from now on.

        Raises:
            LrfaceError: A file cannot be written.
        """
        if (known_days, unknown_days) != (self.known_days, self.unknown_days):
            self.matcher.gallery.log("retention of the service changed", f"{known_days:g}, {unknown_days:g} days")
            self.store.set_setting("known_days", known_days)
            self.store.set_setting("unknown_days", unknown_days)
        self.store.expire(known_days, unknown_days)

    def start(self) -> None:
        """Starts the cameras; follows the gallery, and deletes what is too old, from now on."""
        self._follow()
        if self.watcher is not None:
            self.watcher.start()
        for name, work, every_s in (
            ("expire", lambda: self.store.expire(self.known_days, self.unknown_days), _EXPIRE_EVERY_S),
            ("follow", self._follow, _FOLLOW_EVERY_S),
        ):
            args = (work, every_s)
            threading.Thread(target=self._repeat, args=args, name=f"lrface-{name}", daemon=True).start()

    def forget_person(self, person: str) -> None:
        """Deletes what is kept of somebody who was removed from the gallery: in the store, in memory, in the outbox.

        Args:
            person: UUID.

        Raises:
            LrfaceError: A file cannot be written.
        """
        self.store.forget_person(person)
        self._forget_outside(person)

    def close(self) -> None:
        """Ends the cameras and closes the store."""
        self._ended.set()
        if self.watcher is not None:
            self.watcher.stop()
        self.store.close()

    async def read(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs what waits for a file in a thread."""
        return await anyio.to_thread.run_sync(functools.partial(call, *args, **kwargs))

    async def check(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Compares a secret with its slow hash, one at a time: guesses must not take the threads of others."""
        if self._checking is None:
            self._checking = anyio.CapacityLimiter(1)
        return await anyio.to_thread.run_sync(functools.partial(call, *args, **kwargs), limiter=self._checking)

    async def change(self, who: Identity, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a change in a thread; the audit log names who made it."""
        with acting_as(who.actor):
            return await self.read(call, *args, **kwargs)

    async def work(self, who: Identity, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs what needs the networks in a thread, when there is a free place.

        Raises:
            Problem: Too many wait, or it took too long. What has begun is finished all the same.
        """
        limits = self.options.limits
        if self._waiting >= limits.waiting:
            raise Problem(503, "the service has more to do than it can: ask again later", {"Retry-After": "2"})
        if self._working is None:
            self._working = anyio.CapacityLimiter(self.options.workers)
        self._waiting += 1
        try:
            with acting_as(who.actor), anyio.fail_after(limits.work_s):
                return await anyio.to_thread.run_sync(
                    functools.partial(call, *args, **kwargs), limiter=self._working, abandon_on_cancel=True
                )
        except TimeoutError:
            raise Problem(
                504, f"it took longer than {limits.work_s:.0f} s; it may be done all the same: look, then ask again"
            ) from None
        finally:
            self._waiting -= 1

    async def news_or_end(self, news: asyncio.Event) -> None:
        """Waits for news, or for the end of the service."""
        waits = [asyncio.ensure_future(each.wait()) for each in (news, self.closing)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    def _follow(self) -> None:
        """Does here what was changed in the gallery; tells the gallery's log who may use the service by now."""
        self.in_step.follow()
        self.access.refresh()
        now = self.access.marks()
        before = {name: tuple(mark) for name, mark in self.store.setting(_ACCESS, {}).items()}
        if now == before:
            return
        with acting_as("lrface access"):
            for name in sorted({*now, *before}):
                if name not in now:
                    self.matcher.gallery.log("access taken", name)
                elif now[name] != before.get(name):
                    self.matcher.gallery.log("access given", f"{name}: {now[name][0]}")
        self.store.set_setting(_ACCESS, now)

    def _forget_outside(self, person: str) -> None:
        """Erases what there is of somebody besides the store."""
        self.frames.forget_person(person)
        if self.watcher is not None:
            self.watcher.forget_person(person)
        else:  # of an earlier run, with cameras
            forget_waiting(self.store, person)

    def _repeat(self, work: Callable[[], object], every_s: float) -> None:
        while not self._ended.is_set():
            try:
                work()
            except Exception:  # a disk that is full for a while must not end it
                if not self._ended.is_set():
                    _log.exception("what the service does by itself failed; it is tried again in %.0f s", every_s)
            self._ended.wait(every_s)


def new_request_id() -> str:
    """An identifier of a request."""
    return secrets.token_hex(8)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LrfaceError(
            f"cannot make the folder {folder} ({error.strerror}): choose another one by --data"
        ) from error
