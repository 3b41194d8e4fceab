"""Pictures whose headers do not bound the work, decoded by another process that may use so much processor time.

A megabyte of AVIF can hold thousands of frames that are decoded and never shown, a TIFF millions of strips. The
decoders of these formats ask for all their data at once, so nothing in their own process can stop them. A decoder that
crashes ends the other process only.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from lrface.errors import ImageError
from lrface.inputs import formats
from lrface.inputs.decoding import decode
from lrface.types import ImageArray

_MEMORY = 8 * 2**30  # bytes that the process may map
_LONGEST_MESSAGE = 2**16
_REQUEST, _REPLY = struct.Struct("<QQQd"), struct.Struct("<QQQ")
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.buffer.readline()); "
    "from lrface.inputs.decoding_process import serve; serve()"
)
_SIGPROF = int(getattr(signal, "SIGPROF", 0))


def decode_apart(data: bytes, name: str, max_pixels: int) -> ImageArray:
    """The same as `decode`, by another process, which is kept for the next picture.

    An application whose `sys.executable` is not Python cannot start one: there the picture is decoded in this process.

    Raises:
        ImageError: As `decode`; or the decoder crashed, or took more processor time than `formats.DECODE_SECONDS`.
    """
    python = Path(sys.executable or "").name.lower().startswith(("python", "pypy"))
    if not python or getattr(sys, "frozen", False):
        return decode(data, name, max_pixels)
    try:
        decoder = _idle.pop()
    except IndexError:
        decoder = _Decoder()
    try:
        picture = decoder.decode(data, name, max_pixels)
    except BaseException as error:
        if isinstance(error, ImageError) and decoder.alive:
            _idle.append(decoder)
        else:
            decoder.close()
        raise
    _idle.append(decoder)
    return picture


class _Decoder:
    """A process that decodes one picture after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for this process, which then ends the other one
        )
        path = [os.path.abspath(entry) for entry in sys.path]  # "" is the current folder
        with suppress(OSError):  # it ended at once: the reply is missing then
            self._stdin.write(json.dumps(path).encode() + b"\n")

    @property
    def _stdin(self) -> Any:
        return self._process.stdin

    @property
    def alive(self) -> bool:
        """Whether it can decode another picture."""
        return self._process.poll() is None

    def decode(self, data: bytes, name: str, max_pixels: int) -> ImageArray:
        """See `decode_apart`."""
        text = name.encode(errors="surrogatepass")
        seconds = formats.DECODE_SECONDS
        clock = threading.Timer(6 * seconds, self._process.kill)
        if not _SIGPROF:  # Windows has no timer of processor time
            clock.start()
        try:
            with suppress(OSError):  # it has ended: the reply is missing
                for part in (_REQUEST.pack(len(text), len(data), max_pixels, seconds), text, data):
                    _send(self._stdin, part)
            return self._reply(name, max_pixels, seconds)
        finally:
            clock.cancel()

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _reply(self, name: str, max_pixels: int, seconds: float) -> ImageArray:
        stream: Any = self._process.stdout
        header = _receive(stream, _REPLY.size)
        height, width, message = _REPLY.unpack(header) if header is not None else (0, 0, 0)
        known = header is not None and height * width <= max_pixels and message < _LONGEST_MESSAGE
        body = _receive(stream, message or 3 * height * width) if known else None
        if body is None:
            self.close()
            code = self._process.returncode
            if code == -_SIGPROF or not _SIGPROF:
                raise ImageError(f"{name} takes longer than {seconds:.0f} s to decode: save it again as JPEG")
            raise ImageError(f"{name} made its decoder crash (exit code {code}): save it again as JPEG")
        if message:
            raise ImageError(body.decode(errors="replace"))
        return np.frombuffer(body, np.uint8).reshape(height, width, 3)


_idle: deque[_Decoder] = deque()


def _end_all() -> None:
    while _idle:
        _idle.pop().close()


atexit.register(_end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # the pipes are the parent's


def serve() -> None:
    """The other process: decodes what comes by stdin, until it is closed."""
    out, given = os.fdopen(os.dup(1), "wb", buffering=0), sys.stdin.buffer
    os.dup2(2, 1)  # nothing else may write among the replies
    Image.MAX_IMAGE_PIXELS = None  # `decode` has limits of its own, which the user can raise
    _limit_memory()
    if _SIGPROF:
        signal.signal(_SIGPROF, signal.SIG_DFL)
    while (header := _receive(given, _REQUEST.size)) is not None:
        length, size, limit, seconds = _REQUEST.unpack(header)
        name, data = _receive(given, length), _receive(given, size)
        if name is None or data is None:
            return
        if _SIGPROF:
            signal.setitimer(signal.ITIMER_PROF, seconds)  # counts every thread's processor time
        try:
            picture = decode(bytes(data), name.decode(errors="surrogatepass"), limit)
            reply, body = (*picture.shape[:2], 0), picture.data.cast("B")
        except ImageError as error:
            text = str(error).encode(errors="replace")[: _LONGEST_MESSAGE - 1]
            reply, body = (0, 0, len(text)), memoryview(text)
        if _SIGPROF:
            signal.setitimer(signal.ITIMER_PROF, 0)
        _send(out, _REPLY.pack(*reply))
        _send(out, body)


def _limit_memory() -> None:
    with suppress(ImportError, OSError, ValueError):  # Windows; a lower limit than this one is in force
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def _receive(stream: Any, size: int) -> bytearray | None:
    """So many bytes; None if the other end closed before."""
    data = bytearray(size)
    view, done = memoryview(data), 0
    while done < size:
        count = stream.readinto(view[done:])
        if not count:
            return None
        done += count
    return data


def _send(stream: BinaryIO, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while len(view):
        view = view[stream.write(view) :]
