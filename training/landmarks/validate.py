"""What landmarks are worth to recognition: validation people in small scenes, found, aligned, compared.

Never LFW. Whether a second look is taken, and the number of looks, were chosen here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr
from tqdm import tqdm

from lrface.align import TEMPLATE, align, estimate_similarity
from lrface.detection import FaceDetector
from lrface.detection.refine import LandmarkRefiner, through
from lrface.embedding import Embedder, level_for
from lrface.errors import ImageError
from lrface.metrics import fold_accuracies
from training.detector.scenes import Floats, Image, SceneSet
from training.faces import FaceSet
from training.landmarks.samples import REACHED, Views, blended_face, random_background
from training.validate import Pairs

WIDTHS = (12, 16, 24, 32, 48, 64, 96)
SIDE = 256  # pixels of a scene: what a detector sees around a face
VIEWS = Views(turn=8.0, stretch=0.0)


@dataclass(frozen=True)
class Found:
    """The faces of one size, each in its scene.

    Attributes:
        rows: of the face set, ``[n]``, those that the detector found.
        crops: by whose landmarks (``known``, ``detector``, ``refined``): canonical crops uint8 ``[n, 112, 112, 3]``.
        errors: by whose: how far the landmarks' alignment is off, see ``alignment_error``, ``[n]``.
        expected: what the second look says of its own error, ``[n]``.
        share: found, of those looked for.
    """

    rows: npt.NDArray[np.int64]
    crops: dict[str, Image]
    errors: dict[str, Floats]
    expected: Floats
    share: float


def alignment_error(landmarks: Floats, known: Floats) -> float:
    """How far two sets of landmarks ``[5, 2]`` align a face apart: a landmark's distance, in eye distances."""
    moved = through(known, estimate_similarity(landmarks)) - through(known, estimate_similarity(known))
    return float(np.sqrt((moved**2).sum(axis=1).mean()) / (TEMPLATE[1, 0] - TEMPLATE[0, 0]))


def look_for(
    rows: npt.NDArray[np.int64], faces: FaceSet, scenes: SceneSet, width: float, detector: FaceDetector,
    refiner: LandmarkRefiner,
) -> Found:  # fmt: skip
    """Put each face into a held-out scene, ``width`` pixels wide (the canonical crop), and find it there.

    Args:
        rows: of ``faces``.
        faces: aligned ones.
        scenes: the detector's.
        width: pixels.
        detector: without a second look.
        refiner: the second look.
    """
    kept = []
    crops: dict[str, list[Image]] = {"known": [], "detector": [], "refined": []}
    errors: dict[str, list[float]] = {name: [] for name in crops}
    expected = []
    for row in tqdm(rows, f"{width:g} px", leave=False):
        rng = np.random.default_rng([row, round(width)])
        picture, known = small_scene(np.asarray(faces.crops[row]), scenes, width, rng)
        found = detector.detect(picture)
        distance = np.linalg.norm(found.landmarks.mean(axis=1) - known.mean(axis=0), axis=1)
        if not len(found) or distance.min() > width / 2:
            continue
        best = found[[int(distance.argmin())]]
        better, error = refiner.closer(picture, best.landmarks)
        points = {"known": known, "detector": best.landmarks[0], "refined": better[0]}
        try:
            cuts = {name: align(picture, given) for name, given in points.items()}
        except ImageError:
            continue
        kept.append(row)
        expected.append(float(error[0]))
        for name, given in points.items():
            crops[name].append(cuts[name])
            errors[name].append(alignment_error(given, known))
    return Found(
        np.array(kept, np.int64), {name: np.stack(each) for name, each in crops.items()},
        {name: np.array(each, np.float32) for name, each in errors.items()}, np.array(expected, np.float32),
        len(kept) / max(1, len(rows)),
    )  # fmt: skip


def small_scene(crop: Image, scenes: SceneSet, width: float, rng: np.random.Generator) -> tuple[Image, Floats]:
    """A held-out scene uint8 ``[256, 256, 3]`` with a face in its middle; the face's landmarks."""
    picture = random_background(scenes, SIDE, rng, scenes.validation)
    side = round(REACHED * width) + 2
    corner = (SIDE - side) // 2
    place = np.s_[corner : corner + side, corner : corner + side]
    part, points = blended_face(np.ascontiguousarray(picture[place]), crop, TEMPLATE, width, VIEWS, rng)
    picture[place] = part
    return picture, points + np.float32(corner)


def verification(found: Found, pairs: Pairs, embedders: Mapping[int, Embedder], width: float) -> dict[str, float]:
    """Accuracy in % on the pairs of which both faces were found, by whose landmarks they are aligned."""
    place = {int(row): i for i, row in enumerate(found.rows)}
    both = np.array([a in place and b in place for a, b in zip(pairs.a, pairs.b, strict=True)])
    a, b = (np.array([place[int(row)] for row in side[both]]) for side in (pairs.a, pairs.b))
    embedder = embedders[level_for(width, embedders)]
    rates = {}
    for name, crops in found.crops.items():
        vectors = embedder.embed(crops)
        scores = np.sum(vectors[a] * vectors[b], axis=1)
        rates[name] = 100 * float(fold_accuracies(scores, pairs.same[both], pairs.fold[both]).mean())
    return {**rates, "pairs": int(both.sum())}


def measure(
    faces: FaceSet, pairs: Pairs, scenes: SceneSet, detector: FaceDetector, refiner: LandmarkRefiner,
    embedders: Mapping[int, Embedder], widths: tuple[int, ...] = WIDTHS,
) -> list[dict[str, float]]:  # fmt: skip
    """A row a width: share found, accuracy and median alignment error by whose landmarks, and whether it knows its own.

    ``rank`` is the rank correlation of the error that the network expects with the one that it makes.
    """
    rows = np.unique(np.concatenate([pairs.a, pairs.b]))
    lines = []
    for width in widths:
        found = look_for(rows, faces, scenes, width, detector, refiner)
        line = {"width": width, "found": found.share, **verification(found, pairs, embedders, width)}
        line |= {f"{name}_error": float(np.median(each)) for name, each in found.errors.items()}
        lines.append(line | {"rank": float(spearmanr(found.expected, found.errors["refined"]).statistic)})
    return lines
