"""The ASGI application: the guard around the routes of /v1 and of the console."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from lrface.errors import LrfaceError
from lrface.serve.api import ENDPOINTS
from lrface.serve.console import routes as console_routes
from lrface.serve.console.rendering import Console
from lrface.serve.guard import Guard
from lrface.serve.openapi import document
from lrface.serve.problems import Problem
from lrface.serve.service import Service

_FIXES = {404: "there is nothing here: see /v1/openapi.json", 405: "this cannot be done here: see /v1/openapi.json"}


def make_app(service: Service) -> ASGIApp:
    """The application of a service. What goes wrong is JSON for programs, and a page for browsers."""
    console = Console(service)

    async def failed(request: Request, error: Exception) -> Response:
        problem = _problem_of(request, error)
        accepts = request.headers.get("accept", "")
        if "text/html" in accepts and not request.url.path.startswith("/v1/"):
            if isinstance(error, HTTPException) and error.status_code == 404:
                problem = Problem(404, "there is no such page: choose one of those above")
            return console.failed(request, problem)
        return problem.response(request.scope["state"]["request_id"])

    app = Starlette(
        routes=[*(each.route(service) for each in ENDPOINTS), *console_routes(console)],
        exception_handlers=dict.fromkeys((Problem, LrfaceError, HTTPException, Exception), failed),
    )
    app.state.openapi = document(ENDPOINTS)
    return Guard(app, service)


def _problem_of(request: Request, error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, LrfaceError):
        return Problem.of(error)
    if isinstance(error, HTTPException):
        return Problem(error.status_code, _FIXES.get(error.status_code, str(error.detail)), error.headers)
    # the guard logs it: an unexpected error's own words are not for everybody
    request_id = request.scope["state"]["request_id"]
    return Problem(500, f"the service failed: its log tells more at request {request_id}")
