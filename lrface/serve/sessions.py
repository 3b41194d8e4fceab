"""Who is logged in to the console: sessions, known by the hash of a random cookie, kept in the service's file."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from lrface.errors import LrfaceError
from lrface.serve.access import Access, Identity
from lrface.serve.store import ServiceStore

IDLE_S = 12 * 3600.0
LONGEST_S = 7 * 24 * 3600.0
_MOST = 1000
_log = logging.getLogger("lrface.serve")
_WRITE_S = 600.0  # the last use is kept in the file to so many seconds


@dataclass(slots=True)
class _Session:
    user: str
    mark: str
    began: float
    used: float
    written: float


class Sessions:
    """Sessions of the console. Thread-safe; they outlive the process.

    Args:
        access: The accounts. Somebody who was removed, or has a new password, has no session any more.
        store: Where they are kept, without what a browser needs to use one.
        clock: Seconds since 1970.
    """

    def __init__(self, access: Access, store: ServiceStore, clock: Callable[[], float] = time.time) -> None:
        self._access, self._store, self._clock = access, store, clock
        self._lock = threading.Lock()
        self._to_drop: set[bytes] = set()  # of the file, which could not be written so far
        self._sessions = {
            digest: _Session(user, mark, began, used, used) for digest, user, mark, began, used in store.sessions()
        }

    def begin(self, user: str) -> str:
        """Begins a session after a login; returns the cookie's value, always a new one."""
        cookie, now = secrets.token_urlsafe(32), self._clock()
        with self._lock:
            self._forget(now)
            while len(self._sessions) >= _MOST:
                self._drop([next(iter(self._sessions))])
            self._keep(_digest(cookie), _Session(user, self._access.mark_of(user) or "", now, now, now))
        return cookie

    def identity(self, cookie: str) -> Identity | None:
        """Who a cookie belongs to; None if the session is unknown or over."""
        now, digest = self._clock(), _digest(cookie)
        with self._lock:
            self._forget(now)
            found = self._sessions.get(digest)
            if found is None:
                return None
            role = self._access.role_of(found.user)
            if role is None or found.mark != self._access.mark_of(found.user):
                self._drop([digest])
                return None
            found.used = now
            if now - found.written > _WRITE_S:
                found.written = now
                self._keep(digest, found)
        return Identity(found.user, role, _csrf(cookie))

    def end(self, cookie: str) -> None:
        """Ends a session."""
        with self._lock:
            self._drop([_digest(cookie)])

    def _forget(self, now: float) -> None:
        over = [k for k, each in self._sessions.items() if now - each.used > IDLE_S or now - each.began > LONGEST_S]
        self._drop(over)

    def _keep(self, digest: bytes, session: _Session) -> None:
        self._sessions[digest] = session
        try:
            self._store.keep_session(digest, session.user, session.mark, session.began, session.used)
        except LrfaceError as error:  # a full disk must not lock out who could free it
            _log.warning("a session will not outlive the service: %s", error)

    def _drop(self, digests: list[bytes]) -> None:
        self._to_drop |= {digest for digest in digests if self._sessions.pop(digest, None) is not None}
        if self._to_drop:
            try:
                self._store.drop_sessions(self._to_drop)
            except LrfaceError as error:
                _log.warning("sessions that are over are in the file still, which is tried again: %s", error)
            else:
                self._to_drop = set()


def _digest(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()


def _csrf(cookie: str) -> str:
    """What changes must repeat: known to the pages of the session only, and no way back to the cookie."""
    return base64.urlsafe_b64encode(hmac.digest(cookie.encode(), b"csrf", "sha256")).decode().rstrip("=")
