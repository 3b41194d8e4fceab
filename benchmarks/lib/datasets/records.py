"""What every data set is read into: faces of pictures, and the two kinds of test that are made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

STRANGER = ""
"""Subject of a face that nobody has named or that is not enrolled."""


@dataclass(frozen=True, eq=False)
class FaceRecord:
    """One face of a picture.

    Attributes:
        picture: where it is.
        subject: who it is; `STRANGER` where that is not known.
        box: x1, y1, x2, y2 in pixels; None where the picture is one face.
        landmarks: float32 ``[5, 2]`` in pixels, in the order of the ArcFace template; None where they must be detected.
        aligned: whether the picture is the 112x112 crop already.
        face_id: the release's own number, "" where it has none.
    """

    picture: Path
    subject: str = STRANGER
    box: tuple[float, float, float, float] | None = None
    landmarks: npt.NDArray[np.float32] | None = None
    aligned: bool = False
    face_id: str = ""


@dataclass(frozen=True, eq=False)
class IdentificationTest:
    """One-to-many: every probe is searched among the enrolled.

    Attributes:
        name: for tables.
        gallery: who is enrolled, several faces a subject; distractors are subjects of their own.
        probes: by condition (a distance, "all"). A `STRANGER` is a non-mated search.
        ranks: at which a closed set is reported.
        fpirs: at which an open set is reported; empty where there are no strangers.
        at_rank: within which the mate must be in the open set.
    """

    name: str
    gallery: Sequence[FaceRecord]
    probes: Mapping[str, Sequence[FaceRecord]]
    ranks: tuple[int, ...] = (1, 5, 20)
    fpirs: tuple[float, ...] = ()
    at_rank: int = 1


@dataclass(frozen=True, eq=False)
class VerificationTest:
    """One-to-one.

    Attributes:
        name: for tables.
        faces: the pictures.
        a: int ``[pairs]``, rows of ``faces``.
        b: int ``[pairs]``, rows of ``faces``.
        same: bool ``[pairs]``.
        fold: int ``[pairs]``; None where the release has no folds.
        fars: at which it is reported.
    """

    name: str
    faces: Sequence[FaceRecord]
    a: npt.NDArray[np.int64]
    b: npt.NDArray[np.int64]
    same: npt.NDArray[np.bool_]
    fold: npt.NDArray[np.int64] | None = None
    fars: tuple[float, ...] = field(default=(1e-1, 1e-2, 1e-3))

    @classmethod
    def of_pairs(
        cls,
        name: str,
        pairs: Sequence[tuple[FaceRecord, FaceRecord]],
        same: npt.NDArray[np.bool_],
        fold: npt.NDArray[np.int64] | None = None,
        fars: tuple[float, ...] = (1e-1, 1e-2, 1e-3),
    ) -> VerificationTest:
        """A test of pairs of records; a picture of several pairs is one face."""
        faces = {record.picture: record for pair in pairs for record in pair}
        row = {picture: i for i, picture in enumerate(faces)}
        a, b = (np.array([row[pair[side].picture] for pair in pairs], np.int64) for side in (0, 1))
        return cls(name, list(faces.values()), a, b, same, fold, fars)


def existing(path: Path, what: str) -> Path:
    """A file or folder of a release.

    Raises:
        FileNotFoundError: it is not there; says what was looked for.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: --root must be the folder of {what}, laid out as released")
    return path


def mat_names(path: Path, key: str, what: str) -> npt.NDArray[np.object_]:
    """File names of a MATLAB cell array, in its shape (a vector is flattened).

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such variable, or a name that leaves its folder.
    """
    cells = _variable(existing(path, what), key)
    names = np.array([_text(cell) for cell in cells.reshape(-1)], object)
    wrong = [name for name in names if Path(name).name != name or name in ("", "..")]
    if wrong:
        raise ValueError(f"{path}: {wrong[0]!r} is not the name of a file")
    return names.reshape(cells.shape) if min(cells.shape) > 1 else names


def mat_numbers(path: Path, key: str, what: str) -> list[str]:
    """Identity numbers of a MATLAB vector, as text."""
    return [str(int(number)) for number in _variable(existing(path, what), key).reshape(-1)]


def _variable(path: Path, key: str) -> npt.NDArray[Any]:
    from scipy.io import loadmat  # of the `train` extra

    content = loadmat(path)
    if key not in content:
        raise ValueError(f"{path} has no variable {key!r}: it is not the file of the release")
    return np.asarray(content[key])


def _text(cell: Any) -> str:
    while isinstance(cell, np.ndarray) and cell.size:
        cell = cell.reshape(-1)[0]
    return str(cell).strip()


def mat_faces(pictures: Path, listing: Path, key: str, dataset: str) -> list[FaceRecord]:
    """The faces of a MATLAB list of file names (``<key>_set``) and of their subjects' numbers (``<key>_ids``).

    Raises:
        FileNotFoundError: the folder of pictures or the list is missing.
        ValueError: the list cannot be understood.
    """
    inside = existing(pictures, dataset)
    listed = zip(mat_names(listing, f"{key}_set", dataset), mat_numbers(listing, f"{key}_ids", dataset), strict=True)
    return [FaceRecord(inside / name, subject) for name, subject in listed]
