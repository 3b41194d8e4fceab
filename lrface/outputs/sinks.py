"""Where results go: JSON lines, an annotated video, a contact sheet.

Each is written beside its place as `<stem>.part<suffix>` and renamed when it is closed, so a file under its final name
is a whole one. Closing after Ctrl-C or an error gives a whole file too, up to that moment.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from lrface.errors import LrfaceError, VideoError
from lrface.types import ImageArray

_MAX_CATCH_UP_S = 1.0  # a gap in a live source (camera away) takes this long in the annotated video


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns a failed write into an LrfaceError that names the file and the mend."""
    try:
        yield
    except OSError as error:
        raise LrfaceError(
            f"cannot write {path} ({error.strerror or error}): free some space or choose another folder"
        ) from error


class Sink(ABC):
    """A file in the making; a context manager. Subclasses write to `part` and end in `_finish`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.part = self.path.with_name(f"{self.path.stem}.part{self.path.suffix}")
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Finishes the file and gives it its name; nothing is left where nothing was written."""
        if not self._open:
            return
        self._open = False
        with writing(self.path):
            self._finish()
            if self.part.exists():
                self.part.replace(self.path)

    @abstractmethod
    def _finish(self) -> None: ...


class JsonLines(Sink):
    """One JSON object a line, UTF-8; each line is on its way to the disk when `write` returns."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        with writing(self.path):
            self._file = self.part.open("w", encoding="utf-8", errors="backslashreplace", buffering=1)

    def write(self, record: Mapping[str, Any]) -> None:
        """Appends one record."""
        with writing(self.path):
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def _finish(self) -> None:
        self._file.close()


class VideoSink(Sink):
    """An mp4 (MPEG-4 part 2, which every build of OpenCV can write) that keeps the time of its frames.

    Args:
        path: Where to.
        fps: Frames a second of the written video.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float) -> None:
        super().__init__(path)
        self._fps = fps
        self._writer: Any = None
        self._size = (0, 0)
        self._written = 0
        self._shift_s = 0.0

    def write(self, image: ImageArray, time_s: float) -> None:
        """Shows the picture from `time_s` on; a picture of another size than the first is fitted into it.

        Args:
            image: uint8 [h, w, 3], BGR.
            time_s: Seconds since the first frame, rising.

        Raises:
            VideoError: The video cannot be opened for writing.
        """
        if self._writer is None:
            self._start(image)
        due = round((time_s - self._shift_s) * self._fps) + 1
        limit = self._written + max(1, round(_MAX_CATCH_UP_S * self._fps))
        if due > limit:
            self._shift_s += (due - limit) / self._fps
            due = limit
        fitted = _fit(image, self._size) if due > self._written else image
        for _ in range(due - self._written):
            self._writer.write(fitted)
        self._written = max(self._written, due)

    def _start(self, image: ImageArray) -> None:
        import cv2

        height, width = image.shape[:2]
        self._size = (width - width % 2 or 2, height - height % 2 or 2)  # the codec wants even sides
        with writing(self.path):
            self.part.write_bytes(bytes(1 << 16))  # a full disk shows here; OpenCV does not say why it failed
        self._writer = cv2.VideoWriter(str(self.part), cv2.VideoWriter.fourcc(*"mp4v"), self._fps, self._size)
        if not self._writer.isOpened():
            raise VideoError(f"cannot write {self.path}: this OpenCV has no mp4v encoder; reinstall it")

    def _finish(self) -> None:
        if self._writer is None:
            self.part.unlink(missing_ok=True)
            return
        import cv2

        self._writer.release()
        check = cv2.VideoCapture(str(self.part), cv2.CAP_FFMPEG)
        frames = int(check.get(cv2.CAP_PROP_FRAME_COUNT)) if check.isOpened() else 0
        check.release()
        if frames < self._written:  # OpenCV does not tell of a failed write
            raise VideoError(f"{self.part} holds {frames} of {self._written} frames: is the disk full? Free some space")


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


def write_picture(path: str | os.PathLike[str], image: ImageArray, quality: int = 92) -> None:
    """Writes a JPEG, whole or not at all.

    Args:
        path: Where to.
        image: uint8 [h, w, 3], BGR.
        quality: 0..100.
    """
    import cv2

    target = Path(path)
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    part = target.with_name(f"{target.stem}.part{target.suffix}")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data.tobytes())
        part.replace(target)


def frame_record(source: str, index: int, time_s: float | None, faces: Sequence[Any]) -> dict[str, Any]:
    """The JSON line of one frame or picture: `source`, `frame`, `time_s` (null for a picture), `faces`."""
    time = None if time_s is None else round(time_s, 3)
    return {"source": source, "frame": index, "time_s": time, "faces": [face.to_dict() for face in faces]}
