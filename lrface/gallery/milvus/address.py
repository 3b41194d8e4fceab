"""The URL of a gallery in Milvus: milvus://user:password@host:19530/collection."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from lrface.errors import GalleryError

TOKEN = "LRFACE_MILVUS_TOKEN"
PORT = 19530
_COLLECTION = re.compile("[A-Za-z_][A-Za-z0-9_]{0,199}")
_NOTES = "__notes"  # what the second collection's name ends with


@dataclass(frozen=True, slots=True)
class Address:
    """Where a gallery is.

    Attributes:
        host: Name or IP address of a server or proxy.
        port: Its port.
        collection: That holds people and photos.
        tls: Whether the connection is encrypted.
        token: "user:password" or a key; empty without.
    """

    host: str
    port: int
    collection: str
    tls: bool
    token: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.collection} on {self.host}:{self.port}"

    @property
    def uri(self) -> str:
        """As pymilvus takes it; without a secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def notes(self) -> str:
        """The collection that holds the audit log, refusals and who is writing."""
        return self.collection + _NOTES


def read_address(url: str) -> Address:
    """Reads a URL; the token is the URL's user and password, else what `LRFACE_MILVUS_TOKEN` holds.

    Raises:
        GalleryError: It is not such a URL. The message tells nothing of user and password.
    """
    if "?" in url or "#" in url:
        raise _refused("it has a ? or #; in a password write %3F, %23")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _refused("its host or port cannot be read") from error
    if parts.scheme.lower() not in ("milvus", "milvus+tls"):
        raise _refused("it begins with another word than milvus or milvus+tls")
    if not host:
        raise _refused("there is no host")
    collection = parts.path.removeprefix("/")
    if not _COLLECTION.fullmatch(collection) or collection.endswith(_NOTES):
        raise _refused(
            "after the host comes the name of its collection: up to 200 letters from A to z, digits and _, which does "
            f"not begin with a digit and does not end with {_NOTES}"
        )
    token = os.environ.get(TOKEN, "").strip()
    if parts.username is not None:
        if parts.password is None:
            raise _refused(f"it has a user and no password; a key belongs into {TOKEN}")
        token = f"{unquote(parts.username)}:{unquote(parts.password)}"
    return Address(host, PORT if port is None else port, collection, parts.scheme.lower().endswith("tls"), token)


def _refused(why: str) -> GalleryError:
    return GalleryError(
        f"this URL of a gallery in Milvus cannot be used, {why}: write one like milvus://localhost:{PORT}/staff"
    )
