"""Notes and refuses every connection and look-up of Python code beyond this machine, once it is imported."""

from __future__ import annotations

import sys
from ipaddress import ip_address
from typing import Any

outside: list[str] = []
"""Connections and look-ups beyond this machine since the last test."""


def _watch_sockets(event: str, args: tuple[Any, ...]) -> None:
    """An audit hook: notes and refuses what leaves this machine."""
    if event == "socket.getaddrinfo":
        host = args[0]
    elif event in ("socket.connect", "socket.sendto"):
        address = args[1]
        if not isinstance(address, tuple):  # a socket file
            return
        host = address[0]
    elif event == "socket.gethostbyname":
        host = args[0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost", "0.0.0.0", "::"):
        return
    try:
        if ip_address(name).is_loopback:
            return
    except ValueError:
        pass  # a name
    outside.append(f"{event} {name}")
    raise OSError(f"a test may not leave this machine: {event} {name}")


sys.addaudithook(_watch_sockets)
