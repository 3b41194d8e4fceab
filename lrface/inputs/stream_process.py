"""A network stream opened and decoded in a process of its own.

OpenCV opens one video at a time in a process: a camera that accepts the connection and then stays silent would delay
every other video until its time-out, and Ctrl-C as well. A decoder that crashes on a damaged stream ends this process
only. The URL is sent through a pipe, since everybody may read the arguments of a process.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lrface.inputs.capture import MAX_FRAME_PIXELS, TIMEOUT_S, Capture, is_url, open_with_opencv, read_frame

_PROPERTIES = (0, 3, 4, 5, 7, 40, 41, 48)  # cv2.CAP_PROP_*: position, width, height, fps, frames, SAR, orientation
_HEADER = struct.Struct(f"<II{len(_PROPERTIES)}d")  # height and width of the frame that follows, then the properties
_OPENED = (1, 0)  # instead of height and width: the stream is open, no frame follows
_START = (
    "import json, sys; given = json.loads(sys.stdin.buffer.readline()); sys.path[:] = given['path']; "
    "from lrface.inputs.stream_process import serve; serve(given['source'], given['timeout_s'])"
)


def open_source(source: str | int, timeout_s: float = TIMEOUT_S) -> Capture:
    """Opens a camera or file by OpenCV, a stream in a process of its own.

    An application whose `sys.executable` is not Python (a frozen one, an embedded interpreter) cannot start one: there
    the stream is opened in this process.
    """
    python = Path(sys.executable or "").name.lower().startswith(("python", "pypy"))
    if isinstance(source, str) and is_url(source) and python and not getattr(sys, "frozen", False):
        return StreamProcess(source, timeout_s)
    return open_with_opencv(source, timeout_s)


class StreamProcess:
    """A capture whose stream is read by another process.

    Args:
        source: The URL.
        timeout_s: For opening it, and for each read; then the stream counts as ended.
    """

    def __init__(self, source: str, timeout_s: float = TIMEOUT_S) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # FFmpeg prints URLs
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for this process, which then ends the other one
        )
        self._values: dict[int, float] = {}
        path = [os.path.abspath(entry) for entry in sys.path]  # "" is the current folder
        given = {"path": path, "source": source, "timeout_s": timeout_s}
        with suppress(OSError):  # it ended at once: the header is missing then
            self._stdin.write(json.dumps(given).encode() + b"\n")
        self._opened = self._header() == _OPENED

    @property
    def _stdin(self) -> Any:
        return self._process.stdin

    def isOpened(self) -> bool:  # noqa: D102
        return self._opened

    def read(self) -> tuple[bool, Any]:
        """The next frame, uint8 [h, w, 3] BGR."""
        size = self._header() if self._opened else None
        if size is None or not 0 < size[0] * size[1] <= MAX_FRAME_PIXELS:
            return False, None
        image = np.empty((*size, 3), np.uint8)
        return self._fill(image.data.cast("B")), image

    def get(self, prop: int, /) -> float:  # noqa: D102
        return self._values.get(prop, 0.0)

    def release(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _header(self) -> tuple[int, int] | None:
        data = bytearray(_HEADER.size)
        if not self._fill(memoryview(data)):
            return None
        height, width, *values = _HEADER.unpack(data)
        self._values = dict(zip(_PROPERTIES, values, strict=True))
        return height, width

    def _fill(self, buffer: memoryview) -> bool:
        """Whether the process sent as many bytes as the buffer takes."""
        stream: Any = self._process.stdout
        done = 0
        while done < len(buffer):
            count = stream.readinto(buffer[done:])
            if not count:
                return False
            done += count
        return True


class _Watchdog:
    """Ends this process where the driver does not return, also where its own time-out does not work."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._since: float | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._since = None

    def _run(self) -> None:
        while True:
            time.sleep(min(1.0, self._limit_s))
            since = self._since
            if since is not None and time.monotonic() - since > self._limit_s:
                os._exit(1)


def serve(source: str, timeout_s: float = TIMEOUT_S) -> None:
    """The other process: opens the stream and writes its frames to stdout, until either ends."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # nothing else may write among the frames
    threading.Thread(target=_end_with_parent, daemon=True).start()
    driver = _Watchdog(1.5 * timeout_s + 1)
    with driver:
        capture = open_with_opencv(source, timeout_s)
    if not capture.isOpened():
        os._exit(1)
    with suppress(OSError):  # the reader is gone
        _send(out, _header_of(capture, *_OPENED))
        while True:
            with driver:
                image = read_frame(capture)
            if image is None:
                break
            height, width = image.shape[:2]
            _send(out, _header_of(capture, height, width))
            _send(out, np.ascontiguousarray(image).data.cast("B"))
    os._exit(0)  # not through OpenCV's destructors, which may wait for the camera


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def _header_of(capture: Capture, height: int, width: int) -> memoryview:
    return memoryview(_HEADER.pack(height, width, *(capture.get(prop) for prop in _PROPERTIES)))


def _send(out: BinaryIO, data: memoryview) -> None:
    while len(data):
        data = data[out.write(data) :]
