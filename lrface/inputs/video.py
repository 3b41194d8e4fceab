"""Frames from files, cameras and network streams.

A file gives every frame, in order. A live source (camera, URL) gives the newest frame: a slow consumer loses frames,
never time, and a source that dies or hangs is reported and connected again after 1, 2, 4 ... 30 seconds.
"""

from __future__ import annotations

import logging
import math
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

from lrface.errors import ArgumentError, VideoError
from lrface.inputs.capture import MAX_FRAME_PIXELS, Capture, is_url, read_frame
from lrface.inputs.correction import CorrectedCapture, check_rotation, parse_aspect
from lrface.inputs.live import StreamEventKind, newest_frames
from lrface.inputs.stream_process import open_source
from lrface.redaction import redact
from lrface.types import ImageArray

_POS_MSEC, _WIDTH, _HEIGHT, _FPS, _FRAMES = 0, 3, 4, 5, 7  # cv2.CAP_PROP_*, without importing cv2
_FALLBACK_FPS = 25.0  # of a file without time stamps that does not say its rate
_log = logging.getLogger("lrface.video")


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a video.

    Attributes:
        index: Number of the frame in its source, from 0; a live source leaves gaps where frames were passed over.
        time_s: Seconds since the first frame: the clip's own time, or a live source's clock.
        image: uint8 [h, w, 3], BGR, with square pixels, rotated as asked: boxes refer to this picture.
        read_at: `time.monotonic()` when it was read: how late a result is follows from it.
    """

    index: int
    time_s: float
    image: ImageArray
    read_at: float = 0.0


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """Something that happened to a source.

    Attributes:
        kind: What happened; equal to its text, such as "lost".
        message: For people; names the source without its credentials.
    """

    kind: StreamEventKind
    message: str


class VideoSource:
    """Iterates the frames of a video file, camera or network stream. A context manager.

    Args:
        source: Path of a video (GIFs too), index of a camera (0 or "0"), or URL ("rtsp://...").
        live: Whether only the newest frame matters. None: yes for cameras and URLs. False for a URL that ends (a video
            on a server): every frame is given.
        patient: Whether a live source that does not answer the first time is tried again, too, instead of an error.
        stride: Of a file, give every n-th frame.
        aspect: Width to height of the picture as it should be seen ("4:3", 1.78), before `rotate`; for recorders that
            store 704x576 or 352x288 and do not say how wide a pixel is. None: as the stream says, else square pixels.
        rotate: Degrees clockwise by which every frame is rotated: 0, 90, 180 (a camera mounted upside down) or 270.
        stall_s: Seconds without a frame after which a live source counts as hung; also the time-out of each opening and
            each read of a URL.
        on_event: Called with each StreamEvent in the iterating thread. None: they go to the log "lrface.video".
        open_capture: Opens a source. None: OpenCV, for a URL in a process of its own.
        wait: Waits until the event is set, for so many seconds at most.
        clock: Monotonic seconds.

    Attributes:
        name: The source, fit to be shown.
        live: See above.
        fps: Frames a second as the source says, or None.
        frame_count: Of a file, as its header says, or None.

    Raises:
        ArgumentError: `stride`, `aspect` or `rotate` is out of range.
        VideoError: A file is missing, is not a video, holds no frame or too large ones; or a live source did not
            answer the first time and is not `patient`. (Once it has, it is reconnected without end.)
    """

    def __init__(
        self,
        source: str | int | os.PathLike[str],
        *,
        live: bool | None = None,
        patient: bool = False,
        stride: int = 1,
        aspect: str | float | None = None,
        rotate: int = 0,
        stall_s: float = 10.0,
        on_event: Callable[[StreamEvent], None] | None = None,
        open_capture: Callable[[str | int], Capture] | None = None,
        wait: Callable[[threading.Event, float], object] = threading.Event.wait,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if stride < 1:
            raise ArgumentError(f"stride {stride}: give 1 (every frame) or more")
        raw = os.fspath(source) if isinstance(source, os.PathLike) else source
        if isinstance(raw, str) and re.fullmatch(r"\d{1,3}", raw) and not Path(raw).exists():
            raw = int(raw)
        self._source = raw
        self._is_path = isinstance(raw, str) and not is_url(raw)
        self.name = f"camera {raw}" if isinstance(raw, int) else redact(raw)
        self.live = not self._is_path if live is None else live
        self.fps: float | None = None
        self.frame_count: int | None = None
        self.stride = stride
        self._aspect, self._rotate = parse_aspect(aspect), check_rotation(rotate)
        self._stall_s = stall_s
        self._on_event = on_event or _log_event
        self._patient = patient
        self._open_capture = open_capture or partial(open_source, timeout_s=stall_s)
        self._wait = wait
        self._clock = clock
        self._closed = threading.Event()
        self._capture = None if self.live else self._connect()

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the iteration and closes the file or camera."""
        self._closed.set()
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def __iter__(self) -> Iterator[Frame]:
        return self._live_frames() if self.live else self._file_frames()

    def _live_frames(self) -> Iterator[Frame]:
        frames = newest_frames(
            self.name,
            self._connect,
            stall_s=self._stall_s,
            closed=self._closed,
            wait=lambda seconds: self._wait(self._closed, seconds),
            clock=self._clock,
            report=self._report,
            patient=self._patient,
        )
        for index, time_s, image, read_at in frames:
            yield Frame(index, time_s, image, read_at)

    def _file_frames(self) -> Iterator[Frame]:
        capture, self._capture = self._capture or self._connect(), None
        read = 0
        time_s = offset_s = 0.0
        try:
            while not self._closed.is_set() and (image := read_frame(capture)) is not None:
                told_s = _seconds_told(capture)
                if read and told_s + offset_s <= time_s:  # no time stamp, or one that starts again (joined files)
                    offset_s = time_s + 1 / (self.fps or _FALLBACK_FPS) - told_s
                time_s = max(0.0, told_s + offset_s)
                read += 1
                if (read - 1) % self.stride == 0:
                    yield Frame(read - 1, time_s, image, time.monotonic())
        finally:
            capture.release()
        if self._closed.is_set():
            return
        if not read:
            raise VideoError(f"{self.name}: holds no frame that can be read; the file may be damaged")
        if self.frame_count is not None and read < 0.9 * self.frame_count:  # headers may be off by a few
            self._report(
                StreamEventKind.TRUNCATED, f"ended after {read} of {self.frame_count} frames; the file looks cut off"
            )

    def _connect(self) -> Capture:
        if self._is_path:
            _check_file(Path(str(self._source)))
        try:
            capture = self._open_capture(self._source)
            values = [capture.get(prop) for prop in (_WIDTH, _HEIGHT, _FPS, _FRAMES)] if capture.isOpened() else None
        except Exception:  # whatever a driver raises; its message may hold the URL, so not even as a cause
            values = None
        if values is None:
            raise VideoError(f"{self.name}: {self._why_not()}")
        width, height, fps, frames = values
        if width * height > MAX_FRAME_PIXELS:
            capture.release()
            raise VideoError(f"{self.name}: frames of {width:.0f}x{height:.0f} are too large; scale the video down")
        self.fps = fps if 0 < fps <= 1000 else None
        self.frame_count = int(frames) if 0 < frames < math.inf and not self.live else None
        return CorrectedCapture(capture, self._aspect, self._rotate)

    def _why_not(self) -> str:
        if self._is_path:
            return "is not a video that can be read; give an mp4, mov, mkv, webm, avi or gif"
        if isinstance(self._source, int):
            return "cannot be opened. Is it plugged in, free, and may this user read it (Linux: group video)?"
        return "does not answer. Check address, user, password and network"

    def _report(self, kind: StreamEventKind, message: str) -> None:
        self._on_event(StreamEvent(kind, f"{self.name}: {message}"))


def _seconds_told(capture: Capture) -> float:
    """The time stamp of the frame that was read last, as the source says; 0 where it says none."""
    try:
        told_s = capture.get(_POS_MSEC) / 1000
    except Exception:  # whatever a driver raises; its message may hold the URL
        return 0.0
    return told_s if math.isfinite(told_s) else 0.0


def _check_file(path: Path) -> None:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise VideoError(f"{path}: no such file; check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = getattr(error, "strerror", None) or error
        raise VideoError(f"{path}: cannot be read ({why}); check the path and its permissions") from None
    if stat.S_ISDIR(found.st_mode):
        raise VideoError(f"{path}: is a folder; give one video, or pictures to `lrface identify`")
    if not stat.S_ISREG(found.st_mode):
        raise VideoError(f"{path}: is not a regular file; give a video, or a camera by its number (0 for /dev/video0)")
    if found.st_size == 0:
        raise VideoError(f"{path}: the file is empty; copy it again")


def _log_event(event: StreamEvent) -> None:
    _log.log(logging.INFO if event.kind == StreamEventKind.CONNECTED else logging.WARNING, "%s", event.message)
