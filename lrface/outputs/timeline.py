"""A picture of who was in view when: a line a person, and a line for each stranger's track."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lrface.outputs import annotate
from lrface.outputs.files import write_picture
from lrface.redaction import escape
from lrface.types import Identification

MAX_LINES = 60
_JOIN_S = 1.0  # a shorter time out of view leaves no gap
_WIDTH, _NAMES, _LINE, _TEXT, _MARGIN = 1280, 260, 26, 15, 12
_BACKGROUND = (32, 32, 32)
_TICKS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)  # seconds


class Timeline:
    """Collects when each person was in view.

    Args:
        path: The .png that `close` writes; it must not exist yet.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._spans: dict[str | int, list[list[float]]] = {}
        self._end_s = 0.0

    def add(self, faces: Sequence[Identification], time_s: float) -> None:
        """Adds the faces of a frame; a track that gets a name moves to the line of that person."""
        self._end_s = max(self._end_s, time_s)
        for face in faces:
            if face.track is None:
                continue
            key: str | int = face.track if face.name is None else face.name
            earlier = self._spans.pop(face.track, []) if face.name is not None else []
            if key not in self._spans and len(self._spans) >= MAX_LINES:
                continue
            spans = self._spans.setdefault(key, [])
            if earlier:
                spans[:] = sorted([*spans, *earlier])
            if spans and time_s - spans[-1][1] <= _JOIN_S:
                spans[-1][1] = max(spans[-1][1], time_s)
            else:
                spans.append([time_s, time_s])

    def close(self) -> None:
        """Draws and writes the picture; no file is made if there was no track."""
        if not self._spans:
            return
        lines = sorted(self._spans.items(), key=lambda item: (isinstance(item[0], int), item[1][0][0]))
        height = 2 * _MARGIN + _LINE * (len(lines) + 1)
        image = np.full((height, _WIDTH, 3), _BACKGROUND, np.uint8)
        self._draw_clock(image)
        for i, (who, spans) in enumerate(lines):
            y = _MARGIN + _LINE * (i + 1)
            known = isinstance(who, str)
            title = escape(str(who)) if known else f"unknown, track {who}"
            while annotate.text_size(title, _TEXT)[0] > _NAMES - _MARGIN and len(title) > 1:
                title = title[:-2] + "…"
            annotate.put_text(image, title, (_MARGIN, y), _TEXT)
            colour = annotate.KNOWN if known else annotate.UNKNOWN
            for start, end in spans:
                left, right = self._x(start), max(self._x(start) + 3, self._x(end))
                image[y + 3 : y + _LINE - 6, left:right] = colour
        write_picture(self.path, image)

    def _x(self, time_s: float) -> int:
        return _NAMES + round((_WIDTH - _NAMES - _MARGIN) * time_s / max(self._end_s, 1e-3))

    def _draw_clock(self, image: np.ndarray) -> None:
        step = next((tick for tick in _TICKS if self._end_s / tick <= 10), _TICKS[-1])
        for tick in range(0, int(self._end_s) + 1, step):
            x = self._x(tick)
            image[_MARGIN + _LINE :, x] = (72, 72, 72)
            label = (
                f"{tick // 3600}:{tick // 60 % 60:02d}:{tick % 60:02d}"
                if tick >= 3600
                else f"{tick // 60}:{tick % 60:02d}"
            )
            annotate.put_text(image, label, (min(x, _WIDTH - 60), _MARGIN), _TEXT - 2)
