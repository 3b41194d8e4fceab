"""The gain of landmark refinement: validation people in small scenes, found, aligned, compared.

    python -m benchmarks.landmark_refinement

Validation people (never a test set) are pasted into the held-out scenes at a given width of the canonical crop and
found there by the bundled detector. The first table verifies the pairs of which both faces were found, by the shipped
embedder, aligned by the known landmarks, by the detector's, and by the refined ones. Whether landmarks are refined, and
in how many iterations, was chosen by these figures.

The second table is about the expected error that the refining network gives: how well it, the embedder's quality, and
the product of both (`lrface.embedding.quality`) predict the similarity of two photos of one person (rank correlation);
FNMR in % at FMR 1 %, of all pairs and of those that are left when the poorest fifth is rejected by one of the three;
and accuracy in % on the third of all pairs with the largest expected error, at the level of their size and at the next
smaller one. The product's constants were chosen by such figures.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr
from tqdm import tqdm

from benchmarks.lib.matching import network_of
from benchmarks.lib.results import RESULTS, SHARED, hashes, table, write_result
from benchmarks.lib.scenes import held_out_scenes
from lrface.alignment import TEMPLATE, align, estimate_similarity, warp_crop
from lrface.detection import FaceDetector, open_detector
from lrface.detection.landmark_refinement import INPUT_SIDE, LandmarkRefiner, input_matrix
from lrface.embedding.embedders import Networks, open_networks
from lrface.embedding.quality import AlignmentPenalty, alignment_adjusted_quality
from lrface.errors import ImageError
from lrface.geometry import transform_points
from lrface.metrics import fold_accuracies
from lrface.models.manifest import Manifest
from lrface.models.sessions import open_session
from training.data.faces import FaceSet, default_cache, validation_faces
from training.data.pairs import Pairs, load_pairs, make_pairs
from training.landmarks.samples import SURROUNDINGS, Views, background_patch, blended_face

Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]
WIDTHS = (12, 16, 24, 32, 48, 64, 96)
PAIRS = 6000  # drawn from all of them
SIDE = 256  # pixels of a scene: what a detector sees around a face
VIEWS = Views(turn=8.0, stretch=0.0)
TIMED = 16  # faces in one run when time is measured
LANDMARKS = ("known", "detector", "refined")
REJECTED, WORST, FMR = 1 / 5, 1 / 3, 0.01
HEADER = [
    "crop, px", "found, %", "accuracy: known landmarks", "detector's", "refined", "error: detector's", "refined",
    "rank correlation of the expected error",
]  # fmt: skip
BY = ("quality", "error", "both")
ERROR_HEADER = [
    "crop, px", "quality predicts", "expected error", "both", "FNMR", "a fifth rejected by quality",
    "by expected error", "by both", "the third of largest error", "at the next smaller level",
]  # fmt: skip


@dataclass(frozen=True)
class Found:
    """The faces of one size, each in its scene.

    Attributes:
        rows: of the face set, ``[n]``, those that the detector found.
        crops: by the landmarks (``known``, ``detector``, ``refined``): canonical crops uint8 ``[n, 112, 112, 3]``.
        errors: by the same: how far the alignment is off, see ``alignment_error``, ``[n]``.
        expected: error that the refining network expects, ``[n]``.
        share: of the faces that were found.
    """

    rows: npt.NDArray[np.int64]
    crops: dict[str, Image]
    errors: dict[str, Floats]
    expected: Floats
    share: float


def alignment_error(landmarks: Floats, known: Floats) -> float:
    """How far two sets of landmarks ``[5, 2]`` align a face apart: a landmark's distance, in eye distances."""
    found, right = (transform_points(known, estimate_similarity(points)) for points in (landmarks, known))
    return float(np.sqrt(((found - right) ** 2).sum(axis=1).mean()) / (TEMPLATE[1, 0] - TEMPLATE[0, 0]))


def find_faces(
    rows: npt.NDArray[np.int64], faces: FaceSet, scenes: list[Image], width: float, detector: FaceDetector,
    refiner: LandmarkRefiner,
) -> Found:  # fmt: skip
    """Paste each face into a scene, ``width`` pixels wide (the canonical crop), and find it there.

    Args:
        rows: of ``faces``.
        faces: aligned ones.
        scenes: to paste them into.
        width: pixels.
        detector: without landmark refinement.
        refiner: refines the landmarks.
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
        better, error = refiner.refine_landmarks(picture, best.landmarks)
        points = {"known": known, "detector": best.landmarks[0], "refined": better[0]}
        try:
            aligned = {name: align(picture, given) for name, given in points.items()}
        except ImageError:
            continue
        kept.append(row)
        expected.append(float(error[0]))
        for name, given in points.items():
            crops[name].append(aligned[name])
            errors[name].append(alignment_error(given, known))
    return Found(
        np.array(kept, np.int64), {name: np.stack(each) for name, each in crops.items()},
        {name: np.array(each, np.float32) for name, each in errors.items()}, np.array(expected, np.float32),
        len(kept) / max(1, len(rows)),
    )  # fmt: skip


def small_scene(crop: Image, scenes: list[Image], width: float, rng: np.random.Generator) -> tuple[Image, Floats]:
    """A part of a scene, uint8 ``[256, 256, 3]``, with a face in its centre; the landmarks of the face."""
    picture = background_patch(scenes[int(rng.integers(len(scenes)))], SIDE, rng)
    side = round(SURROUNDINGS * width) + 2
    corner = (SIDE - side) // 2
    place = np.s_[corner : corner + side, corner : corner + side]
    part, points = blended_face(np.ascontiguousarray(picture[place]), crop, TEMPLATE, width, VIEWS, rng)
    picture[place] = part
    return picture, points + np.float32(corner)


def both_found(found: Found, pairs: Pairs) -> Pairs:
    """The pairs of which both faces were found, as places in ``found.rows``."""
    place = {int(row): i for i, row in enumerate(found.rows)}
    both = np.flatnonzero([a in place and b in place for a, b in zip(pairs.a, pairs.b, strict=True)])
    a, b = (np.array([place[int(row)] for row in side[both]], np.int64) for side in (pairs.a, pairs.b))
    return Pairs(a, b, pairs.same[both], pairs.fold[both])


def accuracy(vectors: Floats, pairs: Pairs, kept: npt.NDArray[np.bool_] | None = None) -> float:
    """In %, on the pairs that are ``kept``, or all."""
    scores = np.sum(vectors[pairs.a] * vectors[pairs.b], axis=1)
    some = np.ones(len(scores), bool) if kept is None else kept
    return round(100 * float(fold_accuracies(scores[some], pairs.same[some], pairs.fold[some]).mean()), 2)


def verification(found: Found, pairs: Pairs, networks: Networks, width: float) -> dict[str, float]:
    """Accuracy in % on the pairs of which both faces were found, by the landmarks that align them."""
    embedder = network_of(networks, width)
    own = both_found(found, pairs)
    rates = {name: accuracy(embedder.embed(crops), own) for name, crops in found.crops.items()}
    return {**rates, "pairs": len(own.a)}


def value_of_expected_error(found: Found, pairs: Pairs, networks: Networks, width: float) -> dict[str, Any]:
    """How well the expected error predicts a pair's similarity; a pair is as poor as its poorer face.

    Returns:
        ``correlation``: rank correlation of each of ``BY`` with the similarity of two photos of one person.
        ``fnmr``: of these pairs, in %, at the threshold that the share ``FMR`` of all impostor pairs reach; of
        ``all``, and of those that are left when the poorest share ``REJECTED`` is rejected by one of ``BY``.
        ``worst``: accuracy in % on the share ``WORST`` of all pairs with the largest expected error, at the level of
        the faces' size and at the next smaller one (None if there is none).
    """
    embedder = network_of(networks, width)
    vectors, quality = embedder.embed_with_quality(found.crops["refined"])
    own = both_found(found, pairs)
    scores = np.sum(vectors[own.a] * vectors[own.b], axis=1)
    penalty = AlignmentPenalty()
    both = [
        alignment_adjusted_quality(one, float(error), penalty)
        for one, error in zip(quality, found.expected, strict=True)
    ]
    each = {"quality": np.array(quality), "error": -found.expected, "both": np.array(both)}
    good = {name: np.minimum(of[own.a], of[own.b]) for name, of in each.items()}
    lost = scores[own.same] < np.quantile(scores[~own.same], 1 - FMR)
    genuine = {name: of[own.same] for name, of in good.items()}
    fnmr = {name: lost[of >= np.quantile(of, REJECTED)].mean() for name, of in genuine.items()}
    worst = good["error"] <= np.quantile(good["error"], WORST)
    low = max((level for level in networks.embedders if level < embedder.level), default=None)
    correlation = {name: float(spearmanr(of, scores[own.same]).statistic) for name, of in genuine.items()}
    return {
        "correlation": {name: round(value, 3) for name, value in correlation.items()},
        "fnmr": {name: round(100 * float(share), 2) for name, share in {"all": lost.mean(), **fnmr}.items()},
        "worst": [
            accuracy(vectors, own, worst),
            None if low is None else accuracy(networks.embedders[low].embed(found.crops["refined"]), own, worst),
        ],
    }  # fmt: skip


def milliseconds(refiner: LandmarkRefiner) -> float:
    """Time of one iteration for one face, cropping included, in runs of ``TIMED``: the median of 30."""
    picture = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    matrix = input_matrix(estimate_similarity(np.array([[90, 90], [104, 90], [97, 98], [91, 106], [103, 106]])))
    times = []
    for _ in range(30):
        began = time.thread_time()
        refiner.predict(np.stack([warp_crop(picture, matrix, INPUT_SIDE) for _ in range(TIMED)]))
        times.append(time.thread_time() - began)
    return 1e3 * float(np.median(times)) / TIMED


def figures(row: dict[str, Any]) -> list[str]:
    """A row of the table, see ``HEADER``."""
    return [
        str(row["width"]), f"{100 * row['found']:.0f}", *(f"{row[name]:.1f}" for name in LANDMARKS),
        *(f"{100 * row[f'{name}_error']:.1f}" for name in LANDMARKS[1:]), f"{row['rank']:.2f}",
    ]  # fmt: skip


def error_figures(row: dict[str, Any]) -> list[str]:
    """A row of the second table, see ``ERROR_HEADER``."""
    values = [row["fnmr"]["all"], *(row["fnmr"][name] for name in BY), *row["worst"]]
    correlations = (f"{row['correlation'][name]:.2f}" for name in BY)
    return [str(row["width"]), *correlations, *("" if value is None else f"{value:.1f}" for value in values)]


def main() -> None:
    """Measure the bundled models, or those of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=Path, default=SHARED / "scenes")
    parser.add_argument("--faces", type=Path, default=SHARED / "train")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="folder for decoded crops; not in git")
    parser.add_argument("--models", type=Path, default=None, help="a models folder; the bundled one")
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS), help="of the canonical crop, pixels")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="drawn from the validation pairs")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    cv2.setNumThreads(1)

    manifest = Manifest.load(args.models)
    entry = manifest.landmarkers[0]
    refiner = LandmarkRefiner(open_session(manifest.read(entry), entry.sha256), entry)
    detector, networks = open_detector(manifest=manifest, refine=False), open_networks(manifest)
    faces, scenes = validation_faces(args.faces, args.cache), held_out_scenes(args.scenes)
    listed = args.faces / "val_pairs.csv"
    pairs = load_pairs(listed, faces) if listed.exists() else make_pairs(faces)
    few = np.random.default_rng(0).permutation(len(pairs.a))[: args.pairs]
    pairs = Pairs(pairs.a[few], pairs.b[few], pairs.same[few], pairs.fold[few])
    people = np.unique(np.concatenate([pairs.a, pairs.b]))

    rows: list[dict[str, Any]] = []
    for width in args.widths:
        found = find_faces(people, faces, scenes, width, detector, refiner)
        errors = {f"{name}_error": round(float(np.median(each)), 4) for name, each in found.errors.items()}
        rank = float(spearmanr(found.expected, found.errors["refined"]).statistic)
        rows.append({
            "width": width, "found": round(found.share, 4), **verification(found, pairs, networks, width), **errors,
            "rank": round(rank, 3), **value_of_expected_error(found, pairs, networks, width),
        })  # fmt: skip
    print(table(HEADER, [figures(row) for row in rows]))
    print()
    print(table(ERROR_HEADER, [error_figures(row) for row in rows]))
    shipped = [manifest.detector, entry, *manifest.embedders.values()]
    path = write_result("landmark_refinement", {
        "protocol": "validation people pasted into held-out scenes, found by the bundled detector; accuracy in % on the"
        " pairs of which both faces were found, LR-LR; error of the alignment: a landmark's distance in eye distances,"
        " median",
        "models": hashes(shipped), "pairs": len(pairs.a),
        "ms_a_face_and_iteration": round(milliseconds(refiner), 3), "rows": rows,
    }, args.out)  # fmt: skip
    print(f"\nwritten: {path}")


if __name__ == "__main__":
    main()
