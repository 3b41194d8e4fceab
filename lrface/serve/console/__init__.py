"""The web console: pages for people who run cameras."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from lrface.serve.login import log_in, log_out
from lrface.serve.problems import Problem

if TYPE_CHECKING:
    from lrface.serve.service import Service


def routes(service: Service) -> list[BaseRoute]:
    """The routes of the console."""

    async def login(request: Request) -> Response:
        target = safe_target(request.query_params.get("next", "/"))
        problem, status = "", 200
        if request.method == "POST":
            try:
                return await log_in(service, request, RedirectResponse(target, 303))
            except Problem as error:
                problem, status = error.detail, error.status
        return HTMLResponse(
            f'<!doctype html><title>Log in</title><form method="post"><p role="alert">{escape(problem)}</p>'
            '<label>Name <input name="name" autocomplete="username" required></label> <label>Password '
            '<input name="password" type="password" autocomplete="current-password" required></label> '
            "<button>Log in</button></form>",
            status,
        )

    async def logout(request: Request) -> Response:
        return log_out(service, request, RedirectResponse("/login", 303))

    async def home(request: Request) -> Response:
        return HTMLResponse("<!doctype html><title>lrface</title><p>lrface runs.")

    return [
        Route("/login", login, methods=["GET", "POST"]),
        Route("/logout", logout, methods=["POST"]),
        Route("/", home),
    ]


def safe_target(given: str) -> str:
    """Where to go after the login: a path of this service, never another site."""
    parts = urlsplit(given)
    ok = given.startswith("/") and not given.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    return given if ok and given.isprintable() else "/"
