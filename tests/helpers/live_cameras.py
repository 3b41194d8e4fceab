"""A camera on loopback that shows a person without end or falls silent, and how long a process takes to end."""

from __future__ import annotations

import http.server
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2


class _Camera(http.server.BaseHTTPRequestHandler):
    """Motion JPEG of one picture."""

    picture = b""
    frames: int | None = None

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        sent = 0
        try:
            while True:
                if self.frames is None or sent < self.frames:
                    self.wfile.write(
                        b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(self.picture)
                    )
                    self.wfile.write(self.picture + b"\r\n")
                    sent += 1
                time.sleep(0.1)
        except OSError:
            return

    def log_message(self, *_: object) -> None: ...


@contextmanager
def http_camera(portrait: Path, frames: int | None = None) -> Iterator[int]:
    """Shows the portrait at http://127.0.0.1:PORT/; gives the port.

    Args:
        portrait: Path of the picture.
        frames: So many of each connection; then it sends nothing and closes nothing.
    """
    image = cv2.resize(cv2.imread(str(portrait)), None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    shown = {"picture": cv2.imencode(".jpg", image)[1].tobytes(), "frames": frames}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Camera", (_Camera,), shown)) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def without_core(pid: int) -> float:
    """Seconds in which a process's main thread was ready to run and had no core: other programs had it."""
    told = Path(f"/proc/{pid}/schedstat")  # Linux only
    return int(told.read_text().split()[1]) / 1e9 if told.exists() else 0.0


def seconds_to_end(process: subprocess.Popen[str]) -> float:
    """Seconds until a process has ended, less those in which its main thread was ready and had no core."""
    started, before = time.monotonic(), without_core(process.pid)
    after = before
    while process.poll() is None and time.monotonic() - started < 60:
        with suppress(OSError, IndexError):
            after = max(after, without_core(process.pid))
        time.sleep(0.01)
    return time.monotonic() - started - (after - before)
