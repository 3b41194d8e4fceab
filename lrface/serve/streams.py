"""Answers that do not end by themselves: live pictures and events. Only so many are open at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from lrface.serve.problems import Problem

if TYPE_CHECKING:
    from lrface.serve.service import Service


class EndlessResponse(StreamingResponse):
    """An answer that goes on until its client leaves or the service ends.

    Args:
        service: Of which.
        content: Parts of the answer.
        media: Type of its content.

    Raises:
        Problem: There are as many already as are allowed.
    """

    def __init__(self, service: Service, content: AsyncIterator[bytes], media: str) -> None:
        most = service.options.limits.streams
        if service.streams >= most:
            text = f"{most} live pictures and event streams are open already: close one"
            raise Problem(503, text, {"Retry-After": "5"})
        super().__init__(content, media_type=media, headers={"X-Accel-Buffering": "no"})
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        self._service.streams += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._service.streams -= 1
