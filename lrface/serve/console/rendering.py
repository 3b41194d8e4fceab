"""What all pages share: templates, who may see them, errors as pages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from lrface.errors import LrfaceError
from lrface.serve.access import Identity, Role
from lrface.serve.problems import Problem
from lrface.types import Reason

if TYPE_CHECKING:
    from lrface.serve.service import Service

FOLDER = Path(__file__).parent
PAGES = (("/", "Live"), ("/history", "Who was here"), ("/review", "Review"), ("/people", "People"))
MOST_NAMES = 1000
"""Names that a page offers to choose from; any other can be typed."""

_TOKEN = Markup('<input type="hidden" name="csrf_token" value="{}">')

REASONS: dict[str, str] = {
    Reason.MATCH: "similar enough",
    Reason.BELOW_THRESHOLD: "not similar enough to anybody",
    Reason.TOO_POOR: "the picture is too poor",
    Reason.TOO_SMALL: "the face is too small",
    Reason.NO_FACE: "its landmarks form no face",
    Reason.EMPTY_GALLERY: "nobody is enrolled",
    Reason.TIE: "two people are equally likely",
    Reason.TAKEN: "somebody else in view is likelier to be this person",
}
"""Why a track has its name, or none."""


class Console:
    """Makes pages and routes.

    Args:
        service: Of which.
    """

    def __init__(self, service: Service) -> None:
        self.service = service

    @cached_property
    def _templates(self) -> Environment:
        found = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        found.filters.update(moment=moment, day=day, day_of=day_of, clock=clock, span=span)
        found.filters.update(reason=reason, segment=segment)
        return found

    def page(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        """A page, or a part of one.

        Args:
            request: Who asks.
            template: File in `templates`.
            status: Of HTTP.
            **values: What the template shows.
        """
        identity: Identity | None = request.scope["state"]["identity"]
        role = None if identity is None else identity.role
        csrf = "" if identity is None else identity.csrf or ""
        shown = {
            "who": identity,
            "csrf": csrf,
            "token": lambda: _TOKEN.format(csrf),
            "operator": role is not None and role >= Role.OPERATOR,
            "admin": role is not None and role >= Role.ADMIN,
            "pages": PAGES + ((("/settings", "Settings"),) if role == Role.ADMIN else ()),
            "path": request.url.path,
            **values,
        }
        return HTMLResponse(self._templates.get_template(template).render(shown), status)

    def route(
        self,
        path: str,
        call: Callable[[Request], Awaitable[Response]],
        role: Role | None = Role.VIEWER,
        method: str = "GET",
    ) -> Route:
        """A route; what goes wrong is told on a page instead of as JSON.

        Args:
            path: With parameters in braces.
            call: Answers.
            role: Who may ask at least; None: everybody.
            method: Of HTTP.
        """

        async def answer(request: Request) -> Response:
            request.scope["state"]["route"] = path
            identity: Identity | None = request.scope["state"]["identity"]
            try:
                if role is not None and (identity is None or identity.role < role):
                    raise Problem(403, f"this is for the role {role}: ask an administrator")
                return await call(request)
            except (Problem, LrfaceError) as error:
                return self.failed(request, error if isinstance(error, Problem) else Problem.of(error))

        return Route(path, answer, methods=[method], name=f"console {method} {path}")

    def failed(self, request: Request, problem: Problem) -> Response:
        """The page that says what went wrong; where a part of a page was asked for, only the words."""
        values = {"detail": problem.detail, "photos": problem.more.get("photos", ()), "problem": problem.status}
        if request.headers.get("hx-request") == "true":
            answer = self.page(request, "part_error.html", problem.status, **values)
            answer.headers["HX-Retarget"], answer.headers["HX-Reswap"] = "#alert", "innerHTML show:top"
            return answer
        return self.page(request, "error.html", problem.status, **values)


def identity_of(request: Request) -> Identity:
    """Who asks.

    Raises:
        Problem: Nobody is known.
    """
    identity: Identity | None = request.scope["state"]["identity"]
    if identity is None:
        raise Problem(401, "log in first")
    return identity


async def fields_of(request: Request) -> FormData:
    """The fields of a form without files.

    Raises:
        Problem: It cannot be read.
    """
    try:
        return await request.form(max_files=0, max_fields=2000)
    except HTTPException as error:
        raise Problem(400, f"the form cannot be read ({error.detail}): load the page again") from error


def track_ids(fields: FormData) -> list[int]:
    """The tracks that are ticked in a form.

    Raises:
        Problem: None is.
    """
    found = [str(value) for value in fields.getlist("track")]
    ids = [int(value) for value in found if value.isascii() and value.isdecimal() and len(value) < 19]
    if not ids:
        raise Problem(422, "no track is ticked: tick at least one picture")
    return ids


def moment(seconds: float) -> str:
    """A time of this machine's zone: "Tue 3 Mar 2026, 09:14:05"."""
    at = dt.datetime.fromtimestamp(seconds)
    return f"{at:%a} {at.day} {at:%b %Y, %H:%M:%S}"


def day(seconds: float) -> str:
    """A day of this machine's zone: "Tue 3 Mar 2026"."""
    at = dt.datetime.fromtimestamp(seconds)
    return f"{at:%a} {at.day} {at:%b %Y}"


def day_of(time: str) -> str:
    """The day of an ISO 8601 time, in this machine's zone."""
    return day(dt.datetime.fromisoformat(time).timestamp()) if time else "-"


def clock(seconds: float) -> str:
    """A time of day of this machine's zone."""
    return f"{dt.datetime.fromtimestamp(seconds):%H:%M:%S}"


def span(seconds: float) -> str:
    """A length of time: "12 s", "3 min", "2 h 5 min"; none where the machine's clock was set back meanwhile."""
    seconds = max(0.0, seconds)
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def reason(text: str | None) -> str:
    """Why a track has its name, or none, in words."""
    return REASONS.get(text or "", text or "")


def segment(text: str) -> str:
    """A name as one part of a URL's path."""
    return quote(text, safe="")


def plural(count: int, one: str, more: str = "") -> str:
    """A count in words: 1 track, 2 tracks."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def name_list(names: Sequence[str]) -> str:
    """Names in words: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
