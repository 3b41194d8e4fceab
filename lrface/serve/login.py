"""Logging in to the console and out of it: a new session each time, in a cookie that other sites never send."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from lrface.serve.guard import cookie_name
from lrface.serve.problems import Problem
from lrface.serve.rates import RateLimit

if TYPE_CHECKING:
    from lrface.serve.service import Service

R = TypeVar("R", bound=Response)
_log = logging.getLogger("lrface.serve")


async def log_in(service: Service, request: Request, answer: R) -> R:
    """Checks the fields `name` and `password` of a form, and adds the cookie of a new session to an answer.

    A session that the browser had already ends: a cookie that somebody planted is never logged in.

    Raises:
        Problem: The name or the password is wrong (401), or too many were (429).
    """
    address = request.client.host if request.client else "unknown"
    wrong: RateLimit = request.scope["state"]["wrong"]
    try:
        form = await request.form(max_files=0, max_fields=10, max_part_size=4096)
    except HTTPException as error:
        raise Problem(400, f"the form cannot be read ({error.detail}): send `name` and `password`") from error
    name, password = str(form.get("name", "")), str(form.get("password", ""))
    if wait := wrong.blocked_s(address):
        raise Problem(429, f"too many wrong passwords: wait {wait:.0f} s", {"Retry-After": str(int(wait) + 1)})
    role = await service.check(service.access.by_password, name, password)
    if role is None:
        wrong.wait_s(address)
        _log.warning("a login failed, from %s", address)
        raise Problem(401, "the name or the password is wrong")
    _end_session(service, request)
    answer.set_cookie(
        cookie_name(service.options.tls),
        service.sessions.begin(name),
        path="/",
        secure=service.options.tls,
        httponly=True,
        samesite="strict",
    )
    return answer


def log_out(service: Service, request: Request, answer: R) -> R:
    """Ends the session of a request, and takes its cookie away."""
    _end_session(service, request)
    tls = service.options.tls
    answer.delete_cookie(cookie_name(tls), path="/", secure=tls, httponly=True, samesite="strict")
    return answer


def _end_session(service: Service, request: Request) -> None:
    cookie = request.cookies.get(cookie_name(service.options.tls))
    if cookie is not None:
        service.sessions.end(cookie)
