"""A picture that shows the best crops of each person, so that somebody can check the names quickly."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lrface.outputs import annotate
from lrface.outputs.files import write_picture
from lrface.redaction import escape
from lrface.types import Box, Identification, ImageArray

TILES = 8  # crops of a person
MAX_ROWS = 60  # people in one sheet
_APART_S = 1.0  # least time between two crops of a person (of a stranger: at one place), or all show the same moment
_TILE, _GAP, _TEXT = 112, 8, 15
_BACKGROUND = (32, 32, 32)


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A crop, when and where it was seen, its score (higher is better) and its caption."""

    time_s: float
    box: Box
    score: float
    caption: str
    image: ImageArray


@dataclass(slots=True)
class Row:
    """The best crops of one person, and the number of frames in which that person was seen."""

    frames: int = 0
    tiles: list[Tile] = field(default_factory=list)


class ContactSheet:
    """Collects the best crops of each person; keeps at most TILES x MAX_ROWS of them.

    Args:
        path: The .jpg that `close` writes; it must not exist yet.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._rows: dict[str | int | None, Row] = {None: Row()}
        self._left_out = 0

    def add(self, image: ImageArray, faces: Sequence[Identification], time_s: float) -> None:
        """Adds the faces of one frame, where they are better than what is kept.

        Args:
            image: uint8 [h, w, 3], BGR, not annotated.
            faces: Identifications of this frame.
            time_s: Seconds since the first frame.
        """
        for face in faces:
            key = face.track if face.name is None else face.name
            if key not in self._rows and len(self._rows) > MAX_ROWS:
                self._left_out += 1
                continue
            row = self._rows.setdefault(key, Row())
            if face.name is not None and (earlier := self._rows.pop(face.track or 0, None)):
                row.frames += earlier.frames  # the track had no name until now
            row.frames += 1
            score = face.native_px if face.name is None else face.similarity or 0.0
            near = [
                i
                for i, tile in enumerate(row.tiles)
                if abs(tile.time_s - time_s) < _APART_S and (face.name is not None or _overlap(tile.box, face.box))
            ]
            if any(row.tiles[i].score >= score for i in near):
                continue
            if not near and len(row.tiles) >= TILES and row.tiles[-1].score >= score:
                continue
            similarity = "" if face.similarity is None else f"{face.similarity:.2f}, "
            tile = Tile(time_s, face.box, score, f"{similarity}{face.native_px:.0f} px", _crop(image, face))
            row.tiles = [kept for i, kept in enumerate(row.tiles) if i not in near] + [tile]
            row.tiles = sorted(row.tiles, key=lambda kept: -kept.score)[:TILES]

    def close(self) -> None:
        """Draws and writes the sheet; no file is made if there was no face."""
        rows = sorted(
            ((name, row) for name, row in self._rows.items() if row.tiles),
            key=lambda item: not isinstance(item[0], str),
        )
        if rows:
            write_picture(self.path, self._render(rows))

    def _render(self, rows: list[tuple[str | int | None, Row]]) -> ImageArray:
        import cv2

        row_height = _TILE + 2 * round(1.35 * _TEXT) + _GAP
        width = TILES * (_TILE + _GAP) + _GAP
        footer = 2 * _TEXT if self._left_out else 0
        sheet = np.full((len(rows) * row_height + _GAP + footer, width, 3), _BACKGROUND, np.uint8)
        for i, (name, row) in enumerate(rows):
            y = _GAP + i * row_height
            if isinstance(name, str):
                title = f"{escape(name)}: in {row.frames} frames"
            else:
                track = "" if name is None else f", track {name}"
                title = f"unknown{track}: {row.frames} faces"
            annotate.put_text(sheet, title, (_GAP, y), _TEXT)
            y += round(1.35 * _TEXT)
            for j, tile in enumerate(sorted(row.tiles, key=lambda kept: kept.time_s)):
                x = _GAP + j * (_TILE + _GAP)
                method = cv2.INTER_AREA if tile.image.shape[0] > _TILE else cv2.INTER_CUBIC
                sheet[y : y + _TILE, x : x + _TILE] = cv2.resize(tile.image, (_TILE, _TILE), interpolation=method)
                annotate.put_text(sheet, tile.caption, (x - _TEXT // 4, y + _TILE), _TEXT - 3)
        if self._left_out:
            annotate.put_text(
                sheet, f"{self._left_out} more faces of other people", (_GAP, len(rows) * row_height), _TEXT
            )
        return sheet


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _crop(image: ImageArray, face: Identification) -> ImageArray:
    """A square around the face with some surroundings, moved inside the picture."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = face.box
    side = round(min(max(4.0, 1.5 * max(x2 - x1, y2 - y1)), height, width))
    x = round(min(max(0.0, (x1 + x2 - side) / 2), width - side))
    y = round(min(max(0.0, (y1 + y2 - side) / 2), height - side))
    return image[y : y + side, x : x + side].copy()
