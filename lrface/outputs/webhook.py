"""Events by HTTP POST, signed as the Standard Webhooks specification says (webhook-id, webhook-timestamp, ...)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from lrface import __version__
from lrface.errors import LrfaceError
from lrface.outputs.delivery import Answer
from lrface.outputs.outbox import Waiting
from lrface.redaction import redact

_TIMEOUT_S = 10.0
_PREFIX = "whsec_"  # the specification's form of a secret: this and base64
# Answers that say nothing about the event itself: the same one is sent again until the receiver is put right.
_LATER = {401, 403, 404, 408, 425, 429}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET without its body, perhaps at a stranger's: its status is the answer."""

    def redirect_request(self, *_: Any) -> None:
        return None


def signature(secret: bytes, event_id: str, timestamp: int, body: str) -> str:
    """The header `webhook-signature`: "v1," and base64 of HMAC-SHA256(secret, "id.timestamp.body")."""
    message = f"{event_id}.{timestamp}.{body}".encode()
    return "v1," + base64.b64encode(hmac.digest(secret, message, hashlib.sha256)).decode()


def secret_bytes(text: str) -> bytes:
    """The key of a secret: what base64 says after `whsec_`, else the text itself as UTF-8.

    Raises:
        LrfaceError: Fewer than 16 bytes, or no base64.
    """
    try:
        key = base64.b64decode(text[len(_PREFIX) :], validate=True) if text.startswith(_PREFIX) else text.encode()
    except binascii.Error as error:
        raise LrfaceError(f"the webhook's secret starts with {_PREFIX} but no base64 follows: copy it again") from error
    if len(key) < 16:
        raise LrfaceError("the webhook's secret is shorter than 16 bytes: make one with `openssl rand -hex 32`")
    return key


class Webhook:
    """Posts each event as JSON to a URL (a `Transport`).

    Args:
        url: http:// or https://, without user and password.
        secret: The key of the signature; None: unsigned.
        timeout_s: For the connection, and for each wait for an answer.
        clock: Seconds since 1970.

    Raises:
        LrfaceError: The URL is none.
    """

    def __init__(
        self,
        url: str,
        secret: bytes | None = None,
        *,
        timeout_s: float = _TIMEOUT_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_webhook_url(url)
        digest = hashlib.sha256(url.encode()).hexdigest()[:8]  # two URLs may differ in what is hidden only
        self.name = f"webhook {redact(url)} ({digest})"
        self._url, self._secret, self._timeout_s, self._clock = url, secret, timeout_s, clock
        self._opener = urllib.request.build_opener(_NoRedirect)

    def send(self, event: Waiting) -> tuple[Answer, str]:
        """Posts one event; any status 2xx means that the receiver has taken it."""
        timestamp = int(self._clock())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"lrface/{__version__}",
            "webhook-id": event.id,
            "webhook-timestamp": str(timestamp),
        }
        if self._secret is not None:
            headers["webhook-signature"] = signature(self._secret, event.id, timestamp, event.body)
        request = urllib.request.Request(self._url, event.body.encode(), headers, method="POST")
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                status = response.status
        except urllib.error.HTTPError as error:
            status = error.code
            error.close()
        except (OSError, http.client.HTTPException, ValueError) as error:  # the text may hold the URL: not shown
            reason = getattr(error, "reason", error)
            return Answer.AWAY, f"does not answer ({type(reason).__name__})"
        if 200 <= status < 300:
            return Answer.TAKEN, ""
        phrase = HTTPStatus(status).phrase if status in HTTPStatus.__members__.values() else "unknown status"
        refused = status == 500 or (400 <= status < 500 and status not in _LATER)
        return Answer.REFUSED if refused else Answer.AWAY, f"answers {status} {phrase}"

    def idle(self) -> None:
        """Nothing to do: each event has a connection of its own."""

    def close(self) -> None:
        """Nothing is open."""


def check_webhook_url(url: str) -> None:
    """Raises LrfaceError unless `url` is http:// or https:// with a host, without user and password."""
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) and url.isprintable()
        credentials = parts.username is not None or parts.password is not None
    except ValueError:
        usable = credentials = False
    if not usable or " " in url:
        raise LrfaceError(f"the webhook's URL {url!r} is none: give http:// or https:// and a host")
    if credentials:
        raise LrfaceError("the webhook's URL holds a user and password: check the signature at the receiver instead")
