"""The data of a training command: faces, the teachers' embeddings of them, validation pairs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.data.faces import FaceSet, load_faces
from training.embedder.teachers import cached_embeddings, open_teachers
from training.embedder.validate import Pairs, load_pairs, make_pairs
from training.recipe import TeacherSpec


@dataclass(frozen=True)
class TrainingData:
    """Faces, the teachers' unit embeddings ``[len(faces), d]`` and validation pairs."""

    faces: FaceSet
    embeddings: npt.NDArray[np.float32]
    pairs: Pairs


def open_training_data(teachers: Iterable[str | TeacherSpec], faces: Path, folder: Path, cache: Path) -> TrainingData:
    """Read a training set and embed it by its teachers, through the cache.

    Args:
        teachers: as in ``Recipe``.
        faces: folder of the training set; its ``val_pairs.csv`` is used where there is one.
        folder: of the teachers' files.
        cache: folder for derived files.
    """
    data = load_faces(faces, cache)
    embeddings = cached_embeddings(open_teachers(teachers, folder), data, cache)
    listed = faces / "val_pairs.csv"
    return TrainingData(data, embeddings, load_pairs(listed, data) if listed.exists() else make_pairs(data))
