"""Receivers of events for tests: an HTTP server that answers by a script, a real MQTT broker."""

from __future__ import annotations

import http.server
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def event(number: int, camera: str = "door", kind: str = "appeared", **fields: Any) -> dict[str, Any]:
    """A record as `TrackEvent.to_dict` gives it, with an id."""
    record = {
        "id": f"event-{number}", "version": 1, "event": kind, "camera": camera, "track": number, "time_s": 1.0,
        "wall_time": None, "frame": 3, "box": [1.0, 2.0, 3.0, 4.0], "person": None, "name": None, "similarity": None,
        "threshold": None, "views": 1.0, "unknown": None, "best_view_quality": 0.7,
    }  # fmt: skip
    return record | fields


class Receiver:
    """An HTTP server on loopback that answers with one status after another, then with 204; `None` hangs up."""

    def __init__(self, statuses: list[int | None] | None = None, port: int = 0) -> None:
        self.statuses = list(statuses or [])
        self.got: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(({key.lower(): value for key, value in self.headers.items()}, body))
                status = receiver.statuses.pop(0) if receiver.statuses else 204
                if status is None:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"http://127.0.0.1:{receiver.port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def until(holds: Any, timeout_s: float = 20.0) -> None:
    """Waits until a function returns something true."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@contextmanager
def mosquitto(folder: Path, port: int, user: str = "", password: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """Debian's mosquitto on loopback, ready when this is entered."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        pytest.skip("needs the MQTT broker mosquitto: apt-get install mosquitto")
    lines = [f"listener {port} 127.0.0.1", "persistence false", f"allow_anonymous {'false' if user else 'true'}"]
    if user:
        (folder / "passwords").write_text(f"{user}:{password}\n")
        subprocess.run(["mosquitto_passwd", "-U", str(folder / "passwords")], check=True, capture_output=True)
        (folder / "passwords").chmod(0o644)  # the broker leaves root behind
        folder.chmod(0o755)
        lines.append(f"password_file {folder / 'passwords'}")
    (folder / "mosquitto.conf").write_text("\n".join([*lines, "user root", ""]))
    process = subprocess.Popen([program, "-c", str(folder / "mosquitto.conf")], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, "mosquitto ended at once"
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()
