"""What both clients share: where the service is, how a request is put, what an answer means."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import msgspec

from lrface.errors import ArgumentError, LrfaceError
from lrface.serve.shapes import EventOut

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
PictureFile: TypeAlias = "str | os.PathLike[str] | bytes"
"""A path, or the bytes of a picture file."""


class ServiceError(LrfaceError):
    """The service could not do what was asked.

    Args:
        status: Of HTTP; 0 where there was no answer.
        message: What is wrong, and what to do.
        problem: The whole answer (RFC 9457), if there was one.
    """

    def __init__(self, status: int, message: str, problem: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status, self.problem = status, dict(problem or {})


@dataclass(frozen=True, slots=True)
class Asked:
    """A request.

    Attributes:
        method: Of HTTP.
        path: With its parameters filled in.
        query: Parameters of the URL; those that are None are left out.
        body: JSON, or None.
        form: Text fields of a form.
        files: Names of fields and picture files of a form.
    """

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    form: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[tuple[str, PictureFile]] = ()

    def arguments(self) -> dict[str, Any]:
        """What httpx takes."""
        found: dict[str, Any] = {"method": self.method, "url": self.path, "params": _texts(self.query)}
        if self.body is not None:
            found["content"] = msgspec.json.encode(self.body)
            found["headers"] = {"Content-Type": "application/json"}
        if self.files:
            found["files"] = [(name, _file(picture)) for name, picture in self.files]
            found["data"] = _texts(self.form)
        return found


def connection(url: str, token: str, timeout_s: float, ca_file: str | os.PathLike[str] | None) -> dict[str, Any]:
    """What an httpx client is made with. Proxies of the environment are not used: pictures go to `url` alone.

    Raises:
        ArgumentError: The URL or the token cannot be used.
    """
    import ssl

    if not url.startswith(("http://", "https://")):
        raise ArgumentError(f"{url!a} is no URL of a service: give one like http://127.0.0.1:8480")
    if not token.isascii() or not token.isprintable() or not token:
        raise ArgumentError("the token is not one of a service: give the text that its first start printed")
    verify: Any = True if ca_file is None else ssl.create_default_context(cafile=os.fspath(ca_file))
    headers = {"Authorization": f"Bearer {token}"}
    return {"base_url": url, "headers": headers, "timeout": timeout_s, "verify": verify, "trust_env": False}


def answered(answer: httpx.Response, kind: type[T]) -> T:
    """The answer as the type that it should have.

    Args:
        answer: Read to its end.
        kind: A type of JSON; bytes or str for the content as it is; NoneType for none.

    Raises:
        ServiceError: The service says that it could not do it, or answers something else.
    """
    if answer.status_code >= 400:
        raise problem_of(answer.status_code, answer.content)
    if kind is type(None):
        return None
    if kind is bytes:
        return cast(T, answer.content)
    if kind is str:
        return cast(T, answer.text)
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ServiceError(
            answer.status_code, f"the answer is not as expected ({error}): is this the service, and of this version?"
        ) from error


def problem_of(status: int, content: bytes) -> ServiceError:
    """The error of an answer."""
    try:
        problem = json.loads(content)
        return ServiceError(status, str(problem["detail"]), problem)
    except (ValueError, KeyError, TypeError, RecursionError):
        return ServiceError(status, f"the service answered {status}: check the URL")


def no_answer(error: Exception, url: object) -> ServiceError:
    """The error where there was no answer."""
    return ServiceError(0, f"{url} does not answer ({error}): is the service running, and the URL right?")


class EventLines:
    """Takes the lines of a stream of events, and gives each event when it is whole."""

    def __init__(self) -> None:
        self._data: list[str] = []

    def take(self, line: str) -> EventOut | None:
        """One line without its end; the event that it ends, if it ends one."""
        if line.startswith("data: "):
            self._data.append(line[6:])
        if line or not self._data:
            return None
        text, self._data = "\n".join(self._data), []
        return msgspec.json.decode(text, type=EventOut)


def many(field_name: str, pictures: PictureFile | Iterable[PictureFile]) -> list[tuple[str, PictureFile]]:
    """One picture or several as files of a form."""
    one = isinstance(pictures, (str, bytes, os.PathLike))
    listed = cast("list[PictureFile]", [pictures] if one else list(pictures))  # type: ignore[arg-type]
    return [(field_name, picture) for picture in listed]


def _file(picture: PictureFile) -> tuple[str, bytes]:
    if isinstance(picture, bytes):
        return "picture", picture
    path = Path(picture)
    try:
        return path.name, path.read_bytes()
    except (OSError, ValueError) as error:
        raise ArgumentError(
            f"cannot read {path} ({getattr(error, 'strerror', None) or error}): check the path"
        ) from error


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    def text(value: Any) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)

    return {name: text(value) for name, value in values.items() if value is not None}
