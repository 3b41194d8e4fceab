"""Who is logged in to the console: sessions in memory, known by the hash of a random cookie."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from lrface.serve.access import Access, Identity

IDLE_S = 12 * 3600.0
LONGEST_S = 7 * 24 * 3600.0
_MOST = 1000


@dataclass(slots=True)
class _Session:
    user: str
    csrf: str
    began: float
    used: float


class Sessions:
    """Sessions of the console. Thread-safe; they end with the process.

    Args:
        access: The accounts; somebody who was removed has no session any more.
        clock: Monotonic seconds.
    """

    def __init__(self, access: Access, clock: Callable[[], float] = time.monotonic) -> None:
        self._access, self._clock = access, clock
        self._lock = threading.Lock()
        self._sessions: dict[bytes, _Session] = {}

    def begin(self, user: str) -> str:
        """Begins a session after a login; returns the cookie's value, always a new one."""
        cookie, now = secrets.token_urlsafe(32), self._clock()
        with self._lock:
            self._forget(now)
            while len(self._sessions) >= _MOST:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[_digest(cookie)] = _Session(user, secrets.token_urlsafe(32), now, now)
        return cookie

    def identity(self, cookie: str) -> Identity | None:
        """Who a cookie belongs to; None if the session is unknown or over."""
        now = self._clock()
        with self._lock:
            self._forget(now)
            found = self._sessions.get(_digest(cookie))
            if found is None:
                return None
            found.used = now
        role = self._access.role_of(found.user)
        return None if role is None else Identity(found.user, role, found.csrf)

    def end(self, cookie: str) -> None:
        """Ends a session."""
        with self._lock:
            self._sessions.pop(_digest(cookie), None)

    def end_all(self, user: str) -> None:
        """Ends every session of a user, as after a new password."""
        with self._lock:
            self._sessions = {key: each for key, each in self._sessions.items() if each.user != user}

    def _forget(self, now: float) -> None:
        over = [k for k, each in self._sessions.items() if now - each.used > IDLE_S or now - each.began > LONGEST_S]
        for key in over:
            del self._sessions[key]


def _digest(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()
