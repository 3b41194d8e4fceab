"""UCCS (UnConstrained College Students): students seen from 100 m and more, in both releases of its challenge.

Second challenge (2018), the one with labelled training pictures, below ``--root``::

    protocol/training.csv, protocol/validation.csv   FACE_ID,FILE,SUBJECT_ID,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT
    training/<FILE>, validation/<FILE>               whole scenes; SUBJECT_ID is -1 for a face that nobody has named

Third, the watch-list challenge (2023)::

    gallery.csv                   FILE,SUBJECT_ID,REYE_X,REYE_Y,LEYE_X,LEYE_Y,NOSE_X,...,RMOUTH_...,LMOUTH_...
    gallery_images/<id>/<FILE>    cut-out faces, <id> being FILE up to its first underscore
    validation.csv                as above, scenes in validation_images/<FILE>
    exclude_gallery_validation.txt   FACE_IDs that gallery faces were cut from, one a line: they are not probes
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.lib.datasets.records import STRANGER, FaceRecord, existing

NAME = "UCCS"
BOX = ("FACE_X", "FACE_Y", "FACE_WIDTH", "FACE_HEIGHT")
# The subject's right eye is the left one in the picture, the first of the ArcFace template.
LANDMARKS = tuple(f"{part}_{axis}" for part in ("REYE", "LEYE", "NOSE", "RMOUTH", "LMOUTH") for axis in "XY")


@dataclass(frozen=True, eq=False)
class Uccs:
    """A release.

    Attributes:
        enrolled: faces to enrol: all named faces of the training scenes, or the gallery.
        probes: faces of the validation scenes, strangers among them.
        excluded: FACE_IDs of ``probes`` that count neither way.
    """

    enrolled: list[FaceRecord]
    probes: list[FaceRecord]
    excluded: frozenset[str] = frozenset()

    @property
    def labelled(self) -> list[FaceRecord]:
        """Every named face of a scene, without those excluded."""
        scenes = [*self.enrolled, *self.probes]
        return [r for r in scenes if r.subject != STRANGER and r.box is not None and r.face_id not in self.excluded]


def read_uccs(root: Path) -> Uccs:
    """Either release.

    Raises:
        FileNotFoundError: it is laid out otherwise.
        ValueError: a CSV file lacks a column or holds something else than numbers.
    """
    if not (root / "gallery.csv").exists():
        training, validation = (
            _read(root / "protocol" / f"{part}.csv", root / part) for part in ("training", "validation")
        )
        return Uccs([record for record in training if record.subject != STRANGER], validation)
    probes = _read(root / "validation.csv", root / "validation_images")
    excluded = root / "exclude_gallery_validation.txt"
    if not excluded.exists() and (root / "exclude_gallery_validation.pickle").exists():
        raise FileNotFoundError(f"{excluded} is missing: write the pickle's FACE_IDs to it, one a line (no pickle is"
                                " opened here)")  # fmt: skip
    ids = frozenset(excluded.read_text(encoding="utf-8").split()) if excluded.exists() else frozenset()
    return Uccs(_read(root / "gallery.csv", root / "gallery_images"), probes, ids)


def write_csv(path: Path, records: Iterable[FaceRecord]) -> None:
    """Faces of scenes as the second challenge's protocol files have them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["FACE_ID", "FILE", "SUBJECT_ID", *BOX])
        for record in records:
            if record.box is None:
                raise ValueError(f"face {record.face_id} has no box")
            x1, y1, x2, y2 = (round(value, 2) for value in record.box)
            subject = "-1" if record.subject == STRANGER else record.subject
            writer.writerow(
                [record.face_id, record.picture.name, subject, x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]
            )


def _read(path: Path, pictures: Path) -> list[FaceRecord]:
    existing(pictures, NAME)
    with existing(path, NAME).open(newline="", encoding="utf-8") as file:
        try:
            return [_record(row, pictures) for row in csv.DictReader(file)]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a protocol file of {NAME}: {error!r}") from error


def _record(row: dict[str, str], pictures: Path) -> FaceRecord:
    file, number = row["FILE"], int(row["SUBJECT_ID"])
    if Path(file).name != file:
        raise ValueError(f"{file!r} is not the name of a file")
    subject = str(number) if number > 0 else STRANGER
    if LANDMARKS[0] in row:
        points = np.array([float(row[column]) for column in LANDMARKS], np.float32).reshape(5, 2)
        return FaceRecord(pictures / file.split("_")[0] / file, subject, landmarks=points)
    x, y, width, height = (float(row[column]) for column in BOX)
    return FaceRecord(pictures / file, subject, (x, y, x + width, y + height), face_id=row["FACE_ID"])
