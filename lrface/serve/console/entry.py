"""Logging in and out."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from lrface.serve.console.rendering import Console
from lrface.serve.login import log_in, log_out
from lrface.serve.problems import Problem


def routes(console: Console) -> list[BaseRoute]:
    """The login's routes."""
    service = console.service

    async def form(request: Request) -> Response:
        return console.page(request, "login.html", problem="", name="")

    async def login(request: Request) -> Response:
        target = safe_target(request.query_params.get("next", "/"))
        try:
            return await log_in(service, request, RedirectResponse(target, 303))
        except Problem as error:
            answer = console.page(request, "login.html", error.status, problem=error.detail)
            answer.headers.update(error.headers)
            return answer

    async def logout(request: Request) -> Response:
        return log_out(service, request, RedirectResponse("/login", 303))

    return [
        console.route("/login", form, None),
        console.route("/login", login, None, "POST"),
        console.route("/logout", logout, None, "POST"),
    ]


def safe_target(given: str) -> str:
    """Where to go after the login: a path of this service, never another site."""
    parts = urlsplit(given)
    ok = given.startswith("/") and not given.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    return given if ok and given.isprintable() else "/"
