"""What an enrolment of a folder leaves for people to look at: a table of all photos, and contact sheets."""

from __future__ import annotations

import csv
import os
import textwrap
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import numpy as np

from lrface.enrolment.reports import REFUSED, SKIPPED, PhotoReport
from lrface.errors import ImageError
from lrface.inputs.images import read_image
from lrface.outputs import annotate
from lrface.outputs.files import open_new, run_folder, write_picture, writing
from lrface.redaction import csv_cell, escape
from lrface.types import ImageArray

COLUMNS = ("photo", "name", "status", "reason", "native_px", "quality")
_ACROSS, _DOWN = 6, 8  # tiles of a sheet
_FACE, _WIDTH, _TEXT, _LINES, _LETTERS = 112, 176, 12, 7, 27
_HEIGHT = _FACE + round(1.35 * _TEXT) * _LINES + 8
_BACKGROUND, _GOOD, _BAD = (32, 32, 32), (80, 160, 60), (60, 60, 200)


class EnrolmentFiles(AbstractContextManager["EnrolmentFiles", None]):
    """Writes `report.csv` and `sheet-001.jpg`, `sheet-002.jpg` ... into a new folder of one run.

    Args:
        parent: The run's folder is made in it (`run-0001`, the next time `run-0002`); nothing is replaced.

    Attributes:
        folder: Of the run.

    Raises:
        LrfaceError: The folder or the table cannot be made.
    """

    def __init__(self, parent: str | os.PathLike[str]) -> None:
        self.folder = run_folder(parent)
        path = self.folder / "report.csv"
        with writing(path):
            self._file = open_new(path, "x", encoding="utf-8", errors="backslashreplace", newline="", buffering=1)
            self._table = csv.writer(self._file)
            self._table.writerow(COLUMNS)
        self._sheets = self._photos = 0
        self._tiles: list[ImageArray] = []

    def write(self, photo: PhotoReport, crop: ImageArray | None) -> None:
        """Adds a photo.

        Args:
            photo: What became of it.
            crop: uint8 [112, 112, 3], BGR, the aligned face; None to show the photo itself, if it can be read.

        Raises:
            LrfaceError: A file cannot be written.
        """
        quality = "" if photo.quality is None else f"{photo.quality:.3f}"
        px = f"{photo.native_px:.1f}" if photo.native_px else ""
        row = (csv_cell(photo.photo), csv_cell(photo.name), photo.status, csv_cell(photo.reason), px, quality)
        with writing(self.folder / "report.csv"):
            self._table.writerow(row)
        self._photos += 1
        if photo.status is SKIPPED:
            return
        self._tiles.append(_tile(photo, crop))
        if len(self._tiles) == _ACROSS * _DOWN:
            self._write_sheet()

    def close(self) -> None:
        """Writes the last sheet; the folder goes where no photo was looked at.

        Raises:
            LrfaceError: A file cannot be written.
        """
        with writing(self.folder / "report.csv"):
            self._file.close()
            if not self._photos:
                (self.folder / "report.csv").unlink()
                self.folder.rmdir()
        if self._tiles:
            self._write_sheet()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_sheet(self) -> None:
        rows = -(-len(self._tiles) // _ACROSS)
        sheet = np.full((rows * _HEIGHT, _ACROSS * _WIDTH, 3), _BACKGROUND, np.uint8)
        for number, tile in enumerate(self._tiles):
            y, x = _HEIGHT * (number // _ACROSS), _WIDTH * (number % _ACROSS)
            sheet[y : y + _HEIGHT, x : x + _WIDTH] = tile
        self._sheets += 1
        self._tiles = []
        write_picture(self.folder / f"sheet-{self._sheets:03d}.jpg", sheet)


def _tile(photo: PhotoReport, crop: ImageArray | None) -> ImageArray:
    tile = np.full((_HEIGHT, _WIDTH, 3), _BACKGROUND, np.uint8)
    picture = _picture(photo.photo) if crop is None else crop
    if picture is not None:
        height, width = picture.shape[:2]
        tile[4 : 4 + height, 4 : 4 + width] = picture
    tile[: _FACE + 4, :4] = _BAD if photo.status is REFUSED else _GOOD
    said = photo.reason or photo.status
    lines = [photo.name, Path(photo.photo).name[-_LETTERS:], *textwrap.wrap(said, _LETTERS)]
    for number, line in enumerate(lines[:_LINES]):
        corner = (4, _FACE + 5 + number * round(1.3 * _TEXT))
        annotate.put_text(tile, escape(line)[:_LETTERS], corner, _TEXT)
    return tile


def _picture(path: str) -> ImageArray | None:
    """A photo at most as large as a face, so that somebody sees which one it is."""
    import cv2

    try:
        picture = read_image(path)
    except ImageError:
        return None
    scale = _FACE / max(picture.shape[:2])
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    small: ImageArray = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return small
