"""What every request passes first: its id, who sends it, how often, how much; no route can forget it."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lrface.errors import LrfaceError
from lrface.serve.access import Identity
from lrface.serve.problems import Problem
from lrface.serve.rates import RateLimit
from lrface.serve.service import new_request_id

if TYPE_CHECKING:
    from lrface.serve.service import Service

COOKIE = "lrface_session"
CSRF_HEADER, CSRF_FIELD = "X-CSRF-Token", "csrf_token"
OPEN = ("/login", "/v1/health", "/v1/ready")
"""Paths, and everything below `OPEN_BELOW`, that need no identity."""
OPEN_BELOW = "/static/"
SAFE = ("GET", "HEAD", "OPTIONS")
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; media-src 'self' blob:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_FORM = "application/x-www-form-urlencoded"
_MOST_FORM = 64 * 1024
_LOGIN_RATE, _LOGIN_BURST = 1 / 10, 8  # wrong secrets of one address: eight, then one in ten seconds
_log = logging.getLogger("lrface.serve")


class Guard:
    """ASGI middleware around the whole service.

    Args:
        app: The routes.
        service: Accounts, limits, metrics.
        clock: Monotonic seconds.
    """

    def __init__(self, app: ASGIApp, service: Service, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._service = app, service
        limits = service.options.limits
        self._rate = RateLimit(limits.rate, limits.burst, clock)
        self._wrong = RateLimit(_LOGIN_RATE, _LOGIN_BURST, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no websockets
            return
        began = time.monotonic()
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else new_request_id()
        state = scope.setdefault("state", {})
        state.update(request_id=request_id, identity=None, route="other", wrong=self._wrong)
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(MutableHeaders(scope=message), request_id)
            await send(message)

        try:
            await self._checked(scope, headers, receive, answer)
        except Problem as problem:
            if status == 0:
                await problem.response(request_id)(scope, receive, answer)
        except LrfaceError as error:
            if status == 0:
                await Problem.of(error).response(request_id)(scope, receive, answer)
        except Exception:
            _log.exception("request %s failed", request_id)
            if status == 0:
                text = f"the service failed: its log tells more at request {request_id}"
                await Problem(500, text).response(request_id)(scope, receive, answer)
        finally:
            self._service.metrics.request(scope["method"], state["route"], status, time.monotonic() - began)

    async def _checked(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        state, path, method = scope["state"], scope["path"], scope["method"]
        address = scope["client"][0] if scope.get("client") else "unknown"
        limited = self._limited(headers, receive)
        is_open = path in OPEN or path.startswith(OPEN_BELOW)
        state["identity"] = identity = await self._identify(scope, headers, address)
        wait = self._rate.wait_s(f"address {address}" if identity is None else identity.actor)
        if wait:
            raise Problem(429, f"too many requests: ask again in {wait:.1f} s", {"Retry-After": str(int(wait) + 1)})
        if identity is None and not is_open:
            if path.startswith("/v1/") or path == "/metrics" or method not in SAFE:
                raise Problem(
                    401,
                    "who asks? Send the header `Authorization: Bearer TOKEN` with a token of this service, or log in",
                    {"WWW-Authenticate": 'Bearer realm="lrface"'},
                )
            target = path + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
            await RedirectResponse(f"/login?next={quote(target, safe='')}", 303)(scope, receive, send)
            return
        if method not in SAFE:
            self._same_origin(headers)
            if identity is not None and identity.csrf is not None:
                limited = await self._csrf_checked(identity, headers, limited)
        await self._app(scope, limited, send)

    async def _identify(self, scope: Scope, headers: Headers, address: str) -> Identity | None:
        self._service.access.refresh()
        given = headers.get("authorization")
        if given is None:
            cookie = HTTPConnection(scope).cookies.get(cookie_name(self._service.options.tls))
            return None if cookie is None else self._service.sessions.identity(cookie)
        kind, _, token = given.partition(" ")
        if kind.lower() != "bearer":
            raise Problem(401, "send `Authorization: Bearer TOKEN`", {"WWW-Authenticate": "Bearer"})
        identity = self._service.access.known_token(token)
        if identity is None:
            if wait := self._wrong.blocked_s(address):
                raise Problem(429, "too many wrong tokens: ask again later", {"Retry-After": str(int(wait) + 1)})
            identity = await self._service.check(self._service.access.by_token, token)
        if identity is None:
            self._wrong.wait_s(address)
            raise Problem(
                401,
                "the token is wrong or was replaced: `lrface access` makes a new one",
                {"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )
        return identity

    def _same_origin(self, headers: Headers) -> None:
        """Refuses a change that another site's page sends."""
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != headers.get("host", ""):
            raise Problem(403, "this request comes from another site's page: use the console's own pages")
        if origin is None and headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise Problem(403, "this request comes from another site's page: use the console's own pages")

    async def _csrf_checked(self, identity: Identity, headers: Headers, receive: Receive) -> Receive:
        """Refuses a change by cookie alone; a small form may hold the token, else a header must."""
        given = headers.get(CSRF_HEADER, "")
        body = b""
        if not given and headers.get("content-type", "").split(";")[0].strip().lower() == _FORM:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Problem(400, "the request ended early: send it again")
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > _MOST_FORM:
                    raise Problem(413, f"a form may have {_MOST_FORM // 1024} KB: send files as multipart/form-data")
            given = parse_qs(body.decode("latin-1")).get(CSRF_FIELD, [""])[0]
            receive = _replayed(body, receive)
        if not hmac.compare_digest(given.encode(), (identity.csrf or "").encode()):
            raise Problem(403, f"the form is old, or of another page: load the page again (no valid {CSRF_HEADER})")
        return receive

    def _limited(self, headers: Headers, receive: Receive) -> Receive:
        """The body, of at most so many bytes in so many seconds; a length that is too large is refused unread."""
        limits = self._service.options.limits
        too_large = Problem(
            413, f"a request may have {limits.body_bytes / 2**20:.0f} MiB: send fewer or smaller pictures"
        )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > limits.body_bytes:
            raise too_large
        got, deadline = 0, asyncio.get_running_loop().time() + limits.body_s
        whole = False

        async def limited() -> Message:
            nonlocal got, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise Problem(
                    408,
                    f"the request took longer than {limits.body_s:.0f} s to arrive: send less",
                    {"Connection": "close"},
                ) from None
            got += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if got > limits.body_bytes:
                raise too_large
            return message

        return limited

    def _add_headers(self, headers: MutableHeaders, request_id: str) -> None:
        headers["X-Request-ID"] = request_id
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("Cache-Control", "no-store")
        if self._service.options.tls:
            headers["Strict-Transport-Security"] = "max-age=31536000"


def cookie_name(tls: bool) -> str:
    """Of the session; with TLS, one that only this very host can set."""
    return f"__Host-{COOKIE}" if tls else COOKIE


def _replayed(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """Gives a body again that was read."""
    sent = False

    async def replayed() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
