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
from lrface.serve.guard import Guard
from lrface.serve.openapi import document
from lrface.serve.problems import Problem
from lrface.serve.service import Service

_FIXES = {404: "there is nothing here: see /v1/openapi.json", 405: "this cannot be done here: see /v1/openapi.json"}


def make_app(service: Service) -> ASGIApp:
    """The application of a service."""
    routes = [*(each.route(service) for each in ENDPOINTS), *console_routes(service)]
    handlers = {Problem: _problem, LrfaceError: _lrface_error, HTTPException: _http_error}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.state.openapi = document(ENDPOINTS)
    return Guard(app, service)


async def _problem(request: Request, error: Exception) -> Response:
    found = error if isinstance(error, Problem) else Problem(500, str(error))
    return found.response(request.scope["state"]["request_id"])


async def _lrface_error(request: Request, error: Exception) -> Response:
    return await _problem(request, Problem.of(error) if isinstance(error, LrfaceError) else error)


async def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        return await _problem(request, error)
    text = _FIXES.get(error.status_code, str(error.detail))
    return await _problem(request, Problem(error.status_code, text, error.headers))
