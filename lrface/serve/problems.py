"""What is answered when something cannot be done: problem+json (RFC 9457) that says the fix."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from lrface.errors import (
    ArgumentError,
    EnrolmentError,
    GalleryError,
    GalleryInUseError,
    ImageError,
    LrfaceError,
)
from lrface.outputs.records import json_line


class Problem(Exception):
    """A request that cannot be answered as asked.

    Args:
        status: Of HTTP.
        detail: What is wrong, and what to do.
        headers: Of the answer.
        more: Further fields of the answer.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, dict(headers or {}), more

    @classmethod
    def of(cls, error: LrfaceError) -> Problem:
        """The problem of an error of lrface."""
        more: dict[str, Any] = {}
        if isinstance(error, EnrolmentError) and error.photos:
            more["photos"] = error.photos
        if isinstance(error, GalleryInUseError):
            return cls(503, f"{error}: try again", {"Retry-After": "1"})
        if isinstance(error, (ImageError, EnrolmentError, ArgumentError)):
            return cls(422, str(error), **more)
        if _disk_is_full(error):
            return cls(507, str(error), {"Retry-After": "60"})
        return cls(409 if isinstance(error, GalleryError) else 500, str(error))

    def response(self, request_id: str) -> Response:
        """The answer.

        Args:
            request_id: Of the request, by which the log can be searched.
        """
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
            **self.more,
        }
        return Response(json_line(body), self.status, self.headers, "application/problem+json")


def _disk_is_full(error: BaseException) -> bool:
    """Whether an error, or one that it came from, is that of a full disk."""
    cause: BaseException | None = error
    while cause is not None:
        if getattr(cause, "sqlite_errorname", "") == "SQLITE_FULL" or getattr(cause, "errno", None) == errno.ENOSPC:
            return True
        cause = cause.__cause__
    return False
