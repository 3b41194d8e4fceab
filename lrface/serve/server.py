"""Listening: uvicorn with a time limit for the header of each request."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from lrface.errors import LrfaceError
from lrface.inputs.decoding import LIMIT_VARIABLE
from lrface.serve.app import make_app
from lrface.serve.options import ServeOptions
from lrface.serve.service import Service

_KEEP_ALIVE_S = 15
_ENDING_S = 5


def serve(service: Service, told: Callable[[str], None]) -> None:
    """Answers requests until the process is asked to end.

    Args:
        service: With its cameras not started yet.
        told: Called with the URL when requests are answered.

    Raises:
        LrfaceError: The address or the certificate cannot be used.
    """
    options = service.options
    with _picture_limit(options.limits.pixels), _listening(options) as listener:
        server = _Server(_config(service), service)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        url = f"http{'s' if options.tls else ''}://{shown}:{port}"
        service.start()
        server.started_at = lambda: told(url)
        server.run([listener])


@contextmanager
def _picture_limit(pixels: int) -> Iterator[None]:
    """Photos of enrolment are read where the service's options are not known; what the user has set stays."""
    if LIMIT_VARIABLE in os.environ:
        yield
        return
    os.environ[LIMIT_VARIABLE] = str(pixels / 1e6)
    try:
        yield
    finally:
        del os.environ[LIMIT_VARIABLE]


class _Server(uvicorn.Server):
    """Says when it has started; ends answers that do not end by themselves before it ends."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self.started_at: Callable[[], None] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.started_at()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.closing.set()
        await super().shutdown(sockets)


def _listening(options: ServeOptions) -> socket.socket:
    try:
        family = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((options.host, options.port), family=family, backlog=256)
    except (OSError, OverflowError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise LrfaceError(
            f"cannot listen at {options.host} port {options.port} ({why}): choose another --host or --port"
        ) from error


def _config(service: Service) -> uvicorn.Config:
    options = service.options
    config = uvicorn.Config(
        make_app(service),
        http=_timed_protocol(options.limits.header_s),
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_ENDING_S,
        limit_concurrency=options.limits.connections,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.key,
        h11_max_incomplete_event_size=32 * 1024,
    )
    try:
        config.load()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise LrfaceError(
            f"the certificate {options.certificate} and the key {options.key} cannot be used ({error}): give PEM files "
            "that belong together"
        ) from error
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    return config


def _timed_protocol(header_s: float) -> type[asyncio.Protocol]:
    """Uvicorn's protocol, which closes a connection whose request's header takes longer than so many seconds.

    uvicorn itself waits for ever, so a client that sends a byte now and then would keep its connection.
    """

    class Timed(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._timer = self.loop.call_later(header_s, self._late)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            between = self.conn.their_state is h11.IDLE
            if not between and self._timer is not None:
                self._timer.cancel()
                self._timer = None
            elif between and self._timer is None:
                self._timer = self.loop.call_later(header_s, self._late)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._timer is not None:
                self._timer.cancel()
            super().connection_lost(exc)

        def _late(self) -> None:
            if self.conn.their_state is h11.IDLE:
                self.transport.close()

    return Timed
