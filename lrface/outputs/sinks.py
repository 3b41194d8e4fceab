"""Files that grow while a source is watched: JSON lines, an annotated video.

Each is written to a new file under its final name and can be read at any instant, also after the process was killed:
lines are written through, and the video is a fragmented mp4, of which at most the last second is missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from lrface.errors import VideoError
from lrface.outputs.files import open_new, writing
from lrface.outputs.records import json_line
from lrface.types import ImageArray

_MAX_CATCH_UP_S = 1.0  # a gap in a live source (camera away) takes this long in the annotated video
_QUALITY = 4  # quantiser of MPEG-4 part 2, 1 (best) to 31
_LAMBDA = 118  # FFmpeg's units of quality a quantiser step
_MAX_TIME_BASE, _MAX_SIDE = 65_535, 8190  # of MPEG-4 part 2; the side in pixels


class JsonLines(AbstractContextManager["JsonLines", None]):
    """One JSON object a line, UTF-8; each line is on its way to the disk when `write` returns.

    Args:
        path: A file that does not exist yet.

    Raises:
        LrfaceError: It exists, or cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with writing(self.path):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = open_new(self.path, "x", encoding="utf-8", errors="backslashreplace", buffering=1)

    def write(self, record: Mapping[str, Any]) -> None:
        """Appends one record."""
        with writing(self.path):
            self._file.write(json_line(record) + "\n")

    def close(self) -> None:
        """Closes the file."""
        with writing(self.path):
            self._file.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class VideoSink(AbstractContextManager["VideoSink", None]):
    """A fragmented mp4 (MPEG-4 part 2) that keeps the time of its frames.

    Args:
        path: A file that does not exist yet; made with the first frame.
        fps: Frames a second of the written video.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float) -> None:
        self.path = Path(path)
        self._fps = fps
        self._rate = Fraction(fps).limit_denominator(max(1, int(_MAX_TIME_BASE / fps)))
        self._file: Any = None
        self._container: Any = None
        self._stream: Any = None
        self._size = (0, 0)
        self._written = 0
        self._shift_s = 0.0

    def write(self, image: ImageArray, time_s: float) -> None:
        """Shows the picture from `time_s` on; a picture of another size than the first is fitted into it.

        Args:
            image: uint8 [h, w, 3], BGR.
            time_s: Seconds since the first frame, rising.

        Raises:
            LrfaceError: The video cannot be written.
        """
        if self._stream is None:
            self._start(image)
        due = round((time_s - self._shift_s) * self._fps) + 1
        limit = self._written + max(1, round(_MAX_CATCH_UP_S * self._fps))
        if due > limit:
            self._shift_s += (due - limit) / self._fps
            due = limit
        if due > self._written:
            self._encode(_fit(image, self._size), due)

    def close(self) -> None:
        """Ends the video; where no frame was written there is none."""
        container, self._container = self._container, None
        if container is None:
            return
        with self._file, _encoding(self.path):
            try:
                if self._stream is not None:
                    container.mux(self._stream.encode(None))
            finally:
                container.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, image: ImageArray) -> None:
        try:
            import av
        except ImportError as error:
            raise VideoError("annotated video needs PyAV: `pip install av`, or leave out --out") from error

        scale = min(1.0, _MAX_SIDE / max(image.shape))
        height, width = (max(1, round(scale * side)) for side in image.shape[:2])
        self._size = (width - width % 2 or 2, height - height % 2 or 2)  # the codec wants even sides
        with _encoding(self.path):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = open_new(self.path, buffering=0)
            options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
            self._container = av.open(self._file, "w", format="mp4", options=options)
            quality = {"flags": "+qscale", "global_quality": str(_QUALITY * _LAMBDA)}
            self._stream = self._container.add_stream("mpeg4", rate=self._rate, options=quality)
            self._stream.width, self._stream.height, self._stream.pix_fmt = *self._size, "yuv420p"
            self._stream.codec_context.thread_count = 1
            self._stream.codec_context.gop_size = max(1, round(self._fps))  # a fragment a second

    def _encode(self, image: ImageArray, due: int) -> None:
        """Appends the picture until `due` frames are written."""
        import av
        import cv2

        planes = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), np.uint8)
        with _encoding(self.path):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.time_base = 1 / self._rate
            for number in range(self._written, due):
                frame.pts = number
                self._container.mux(self._stream.encode(frame))
                self._written = number + 1


@contextmanager
def _encoding(path: Path) -> Iterator[None]:
    """Turns what the disk and FFmpeg raise into an LrfaceError."""
    import av

    try:
        with writing(path):
            yield
    except av.FFmpegError as error:
        raise VideoError(f"cannot encode {path} ({error}): report it with the video's size and rate") from error


def _fit(image: ImageArray, size: tuple[int, int]) -> ImageArray:
    """The picture, shrunk or enlarged to fit `size` (width, height), on black."""
    import cv2

    height, width = image.shape[:2]
    if (width - width % 2, height - height % 2) == size:
        return np.ascontiguousarray(image[: size[1], : size[0]])
    scale = min(size[0] / width, size[1] / height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    x, y = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    canvas[y : y + inner[1], x : x + inner[0]] = cv2.resize(image, inner, interpolation=cv2.INTER_AREA)
    return canvas
