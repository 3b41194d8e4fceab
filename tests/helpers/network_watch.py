"""Notes every connection and look-up beyond this machine, once it is imported.

Those of Python code in this process are refused. Where the kernel allows it (as root on Linux), the whole run, with its
processes and libraries, moves into a network of its own in which there is nothing but loopback, and `without_route`
counts what was tried beyond it.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

_NEW_NETWORK, _SET_FLAGS, _UP = 0x40000000, 0x8914, 0x1  # CLONE_NEWNET, SIOCSIFFLAGS, IFF_UP

outside: list[str] = []
"""Connections and look-ups beyond this machine since the last test."""

wanted: list[int] = []
"""What this test adds to `without_route` on purpose."""


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


def _isolate() -> bool:
    """Moves this process into a network that has only loopback; whether that is allowed here."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False  # a user's own network needs a user's own root, whom file permissions do not stop
    import fcntl

    libc, before = ctypes.CDLL(None, use_errno=True), os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(_NEW_NETWORK) != 0:
            return False
        try:
            with socket.socket() as any_socket:
                fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))
        except OSError:
            libc.setns(before, _NEW_NETWORK)
            return False
        return True
    finally:
        os.close(before)


def without_route() -> int:
    """How often anything of this run tried to reach a host beyond this machine, up to now; 0 if it is not isolated."""
    if not isolated:
        return 0
    lines = [line.split() for line in Path("/proc/self/net/snmp").read_text().splitlines() if line.startswith("Ip:")]
    count = int(dict(zip(*lines, strict=True))["OutNoRoutes"])
    newer = Path("/proc/self/net/snmp6")
    if newer.exists():
        count += int(dict(line.split() for line in newer.read_text().splitlines())["Ip6OutNoRoutes"])
    return count


isolated = _isolate()
sys.addaudithook(_watch_sockets)
