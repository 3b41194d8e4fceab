"""LFW's pictures, and the face that is meant in each."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from benchmarks.lib.datasets.xqlfw import read_pairs
from lrface.alignment import TEMPLATE, align
from lrface.detection import FaceDetector

Crops = npt.NDArray[np.uint8]
Embeddings = npt.NDArray[np.float32]


def lfw_faces(archive: Path, names: list[str], detector: FaceDetector) -> tuple[Crops, Embeddings]:
    """Canonical crops uint8 [n, 112, 112, 3] of the face nearest to the middle of each picture, and its landmarks."""
    crops, points, missed = [], [], 0
    for image in tqdm(lfw_pictures(archive, names), desc="align LFW", unit="picture", total=len(names)):
        landmarks = middle_face(image, detector)
        missed += landmarks is None
        # Deep funneling puts every face in the same place.
        points.append(TEMPLATE * 120 / 112 + 65 if landmarks is None else landmarks)
        crops.append(align(image, points[-1]))
    print(f"{missed} of {len(names)} pictures without a detected face (the usual place taken)")
    return np.stack(crops), np.stack(points).astype(np.float32)


def people_of_pairs(folder: Path, detector: FaceDetector, limit: int) -> tuple[npt.NDArray[np.str_], Crops]:
    """Whose picture each is [n], and crops uint8 [n, 112, 112, 3], of LFW's pairs; of ``limit`` people, 0 for all."""
    pictures = sorted({name for pair in read_pairs(folder / "pairs.txt")[0] for name in pair})
    names = np.array([picture.split("/")[0] for picture in pictures])
    if limit:
        keep = np.isin(names, np.unique(names)[:limit])
        pictures, names = [p for p, kept in zip(pictures, keep, strict=True) if kept], names[keep]
    return names, lfw_faces(folder / "lfw-deepfunneled.zip", pictures, detector)[0]


def lfw_pictures(archive: Path, names: list[str]) -> Iterator[Crops]:
    """The named pictures, BGR."""
    with zipfile.ZipFile(archive) as pictures:
        for name in names:
            data = np.frombuffer(pictures.read(f"lfw-deepfunneled/{name}"), np.uint8)
            yield np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def middle_face(image: Crops, detector: FaceDetector) -> Embeddings | None:
    """Landmarks [5, 2] of the detected face nearest to the middle of a picture."""
    found = detector.detect(image)
    if not len(found):
        return None
    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    return found.landmarks[int(np.argmin(np.linalg.norm(centres - np.array(image.shape[1::-1]) / 2, axis=1)))]
