"""One entry of the REST interface: what it takes, what it answers, who may ask; routes and OpenAPI follow from it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import msgspec
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lrface.outputs.records import json_line
from lrface.serve.access import Identity, Role
from lrface.serve.problems import Problem

if TYPE_CHECKING:
    from lrface.serve.service import Service

S = TypeVar("S", bound=msgspec.Struct)


class Picture(msgspec.Struct, frozen=True):
    """A picture file of a form.

    Attributes:
        name: As the sender calls the file.
        data: The file.
    """

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has been checked.

    Attributes:
        service: Of which.
        request: As it came.
        identity: Who asks; None only at endpoints that are open to all.
        query: Of the endpoint's type.
        body: Of the endpoint's type.
    """

    service: Service
    request: Request
    identity: Identity | None
    query: Any = None
    body: Any = None

    @property
    def who(self) -> Identity:
        """Who asks.

        Raises:
            Problem: Nobody is known.
        """
        if self.identity is None:
            raise Problem(401, "who asks? Send the header `Authorization: Bearer TOKEN`")
        return self.identity

    def path(self, name: str) -> str:
        """A parameter of the path."""
        return str(self.request.path_params[name])


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One entry of the interface.

    Attributes:
        method: Of HTTP.
        path: With parameters in braces.
        role: Who may ask at least; None: everybody.
        summary: What it does, for the documentation.
        call: Answers: a value of the type `answer`, or a Response.
        answer: Type of the JSON; None where the answer is none, or no JSON.
        query: A Struct of the parameters in the URL.
        body: A Struct of the JSON in the request.
        form: A Struct of a multipart form; `Picture` and `list[Picture]` are files.
        status: Of an answer.
        media: Type of the answer's content.
        client: Name of the method in `lrface.serve.client`.
    """

    method: str
    path: str
    role: Role | None
    summary: str
    call: Callable[[Call], Any]
    answer: Any = None
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    form: type[msgspec.Struct] | None = None
    status: int = 200
    media: str = "application/json"
    client: str = ""

    def route(self, service: Service) -> Route:
        """The route of a service."""

        async def endpoint(request: Request) -> Response:
            request.scope["state"]["route"] = self.path
            identity: Identity | None = request.scope["state"]["identity"]
            call = Call(service, request, identity)
            if self.role is not None and call.who.role < self.role:
                raise Problem(403, f"the role {call.who.role} of {call.who.name} may not do this: {self.role} may")
            if self.query is not None:
                given = dict(request.query_params)
                call = Call(service, request, identity, _converted(given, self.query, "the URL's parameters", False))
            if self.body is not None:
                call = Call(service, request, identity, call.query, _decoded(await request.body(), self.body))
            if self.form is not None:
                call = Call(service, request, identity, call.query, await read_form(request, self.form, service))
            answer = self.call(call)
            if inspect.isawaitable(answer):
                answer = await answer
            return answer if isinstance(answer, Response) else json_response(answer, self.status)

        return Route(self.path, endpoint, methods=[self.method], name=f"{self.method} {self.path}")


def json_response(value: Any, status: int = 200) -> Response:
    """JSON of structs, dataclasses and plain values; None is an answer without content."""
    if value is None:
        return Response(status_code=204)
    plain = value if isinstance(value, dict) else msgspec.to_builtins(value)
    return Response(
        json_line(plain) if isinstance(plain, dict) else msgspec.json.encode(plain), status, None, "application/json"
    )


def _decoded(body: bytes, kind: type[msgspec.Struct]) -> msgspec.Struct:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise Problem(422, f"the JSON of the request is not as expected ({error}): see /v1/openapi.json") from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Problem(400, f"the request holds no JSON ({error}): send application/json") from error


def _converted(given: Any, kind: type[S], what: str, strict: bool) -> S:
    known = {field.encode_name for field in msgspec.structs.fields(kind)}
    if unknown := sorted(set(given) - known):
        raise Problem(422, f"{what}: {unknown[0]!a} is unknown; known: {', '.join(sorted(known))}")
    try:
        return msgspec.convert(given, kind, strict=strict)
    except (msgspec.ValidationError, RecursionError) as error:
        raise Problem(422, f"{what} are not as expected ({error}): see /v1/openapi.json") from error


async def read_form(request: Request, kind: type[S], service: Service) -> S:
    """The fields and files of a multipart form.

    Raises:
        Problem: It is none, holds too much, or its fields are not as `kind` says.
    """
    limits = service.options.limits
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Problem(415, "send a form with files (multipart/form-data), as `curl -F picture=@file.jpg` does")
    try:
        form = await request.form(max_files=limits.photos, max_fields=50, max_part_size=64 * 1024)
    except HTTPException as error:
        raise Problem(400, f"the form cannot be read ({error.detail}): at most {limits.photos} files") from error
    try:
        return _converted(await _fields(form, kind, limits.picture_bytes), kind, "the form's fields", False)
    finally:
        await form.close()


async def _fields(form: FormData, kind: type[msgspec.Struct], most: int) -> dict[str, Any]:
    hints, fields = get_type_hints(kind), dict[str, Any]()
    for name in form:
        values: list[Any] = []
        for value in form.getlist(name):
            if not isinstance(value, UploadFile):
                values.append(value)
            elif (value.size or 0) > most:
                raise Problem(413, f"{value.filename!a} has more than {most / 2**20:.0f} MiB: make it smaller")
            else:
                values.append(Picture((value.filename or "")[:200], await value.read()))
        hint = hints.get(name)
        is_file = hint in (Picture, list[Picture])
        if any(isinstance(value, Picture) != is_file for value in values):
            raise Problem(422, f"the form's field {name!a} must be {'a file' if is_file else 'text'}")
        fields[name] = values if getattr(hint, "__origin__", None) is list else values[-1]
    return fields
