"""The data of a training command: faces, the teachers' embeddings of them, validation pairs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.data.faces import FaceSet, load_faces
from training.data.images import load_images
from training.data.pairs import Pairs, load_pairs, make_pairs
from training.embedder.teachers import cached_embeddings, open_teachers
from training.recipe import ImageSpec, TeacherSpec


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

    Raises:
        ValueError: no teachers.
    """
    if not (named := list(teachers)):
        raise ValueError(
            "the run has no teachers: it is of pictures with classes; use python -m training export-images"
        )
    data = load_faces(faces, cache)
    embeddings = cached_embeddings(open_teachers(named, folder), data, cache)
    listed = faces / "val_pairs.csv"
    return TrainingData(data, embeddings, load_pairs(listed, data) if listed.exists() else make_pairs(data))


@dataclass(frozen=True)
class ImageData:
    """Pictures with classes, and the teachers' unit embeddings ``[len(images), d]``; d is 0 without teachers."""

    images: FaceSet
    embeddings: npt.NDArray[np.float32]


def open_image_data(
    teachers: Iterable[str | TeacherSpec], spec: ImageSpec, images: Path, folder: Path | None, cache: Path
) -> ImageData:
    """Read a set of pictures with classes and embed it by its teachers, through the cache.

    Args:
        teachers: as in ``Recipe``; there may be none.
        spec: how the pictures are read.
        images: folder of the set, see ``training.data.images``.
        folder: of the teachers' files.
        cache: folder for derived files.

    Raises:
        ValueError: there are teachers and no folder.
    """
    named = list(teachers)
    if named and folder is None:
        raise ValueError("the recipe names teachers: give the folder of their ONNX files, --teachers")
    data = load_images(images, spec, cache)
    embeddings = np.zeros((len(data), 0), np.float32)
    if named and folder is not None:
        embeddings = cached_embeddings(open_teachers(named, folder), data, cache)
    return ImageData(data, embeddings)
