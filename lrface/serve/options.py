"""What the service may take: sizes, times and rates, and where it listens."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from lrface.errors import LrfaceError


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request, and one client, may take.

    Attributes:
        body_bytes: Of a request, all its pictures together.
        picture_bytes: Of one picture file.
        pixels: Width times height that a picture's header may state.
        photos: Pictures in one enrolment.
        header_s: Seconds for the header of a request to arrive.
        body_s: Seconds for its body to arrive.
        work_s: Seconds for an answer, waiting for a free place included.
        waiting: Requests that may wait for the networks; above, the answer is 503.
        rate: Requests a second of one user or address, on average.
        burst: Requests of one user or address at once.
        connections: Open at a time; above, the answer is 503.
        streams: Live pictures and event streams that are open at a time.
    """

    body_bytes: int = 64 * 2**20
    picture_bytes: int = 32 * 2**20
    pixels: int = 64_000_000
    photos: int = 100
    header_s: float = 10.0
    body_s: float = 60.0
    work_s: float = 60.0
    waiting: int = 200
    rate: float = 50.0
    burst: int = 200
    connections: int = 500
    streams: int = 40


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Where the service listens, and where it keeps its files.

    Attributes:
        folder: For accounts, events and tracks; made for its owner only.
        host: Address to listen at.
        port: TCP port; 0 for any that is free.
        certificate: PEM file for TLS, with `key`; None: without TLS.
        key: PEM file.
        insecure: Listen beyond this machine without TLS all the same.
        limits: What requests may take.
        workers: Pictures that go through the networks at a time; half of the processor's cores leave room for cameras.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8480
    certificate: Path | None = None
    key: Path | None = None
    insecure: bool = False
    limits: Limits = field(default_factory=Limits)
    workers: int = field(default_factory=lambda: max(1, (os.cpu_count() or 1) // 2))

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise LrfaceError("TLS needs two files: give --cert and --key")
        for file in (self.certificate, self.key):
            if file is not None and not file.is_file():
                raise LrfaceError(f"there is no file {file}: check the path of the certificate and its key")
        if self.certificate is None and not self.insecure and not is_loopback(self.host):
            raise LrfaceError(
                f"{self.host} can be reached from other machines, and without TLS passwords and faces could be read on "
                "the way: give --cert and --key, or put a proxy with TLS in front; --insecure listens all the same"
            )

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.certificate is not None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
