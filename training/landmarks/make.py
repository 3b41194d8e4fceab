"""From data to ``models/lrface-landmarks.onnx``: train, export, measure, enter."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from lrface.align import cut
from lrface.detection import open_detector
from lrface.detection.refine import FRAME, LandmarkRefiner, frame_matrix
from lrface.embedding import open_embedders
from lrface.models import Manifest
from lrface.session import open_session
from training.detector.scenes import load_pastes, load_scenes
from training.faces import load_faces
from training.landmarks.export import NAME, card, enter, to_onnx
from training.landmarks.samples import Sources
from training.landmarks.train import Recipe, load, train
from training.landmarks.validate import WIDTHS, measure
from training.manifest import sha256
from training.validate import Pairs, load_pairs, make_pairs

CROPS = 64_000  # aligned faces that the teacher is asked about
PAIRS = 1500  # validation pairs, drawn from all of them


def make(
    scenes: Path, faces: Path, teacher: Path, cache: Path, run: Path, models: Path, steps: int = Recipe.steps,
    widths: tuple[int, ...] = WIDTHS, count: int = PAIRS,
) -> list[dict[str, float]]:  # fmt: skip
    """Train (started again, it resumes), export and measure; see ``training.landmarks``.

    Args:
        scenes: folder of scenes.zip and boxes.csv.
        faces: as for ``training.faces.load_faces``.
        teacher: YuNet, for the landmarks.
        cache: for derived files.
        run: folder of the run.
        models: folder with the detector and the embedders, which gets the network.
        steps: of the run.
        widths: of the validation faces, pixels.
        count: validation pairs.

    Returns:
        The rows of ``training.landmarks.validate.measure``.
    """
    pictures = load_scenes(scenes, cache / "detector", teacher)
    pastes = load_pastes(faces, cache / "detector", teacher, CROPS, cache)
    pictures.mend_landmarks(pastes.shape)
    recipe = replace(Recipe(), steps=steps)
    train(recipe, Sources.of(pictures, pastes, recipe.views), run)
    network, recipe, done = load(run)
    target = models / f"{NAME}.onnx"
    parity = to_onnx(network, target)
    enter(target)
    manifest = Manifest.load(models)
    entry = manifest.landmarkers[0]
    refiner = LandmarkRefiner(open_session(target, entry.sha256), entry)
    data = load_faces(faces, cache)
    listed = faces / "val_pairs.csv"
    pairs = load_pairs(listed, data) if listed.exists() else make_pairs(data)
    few = np.random.default_rng(0).permutation(len(pairs.a))[:count]
    pairs = Pairs(pairs.a[few], pairs.b[few], pairs.same[few], pairs.fold[few])
    detector = open_detector(manifest=manifest, refine=False)
    rows = measure(data, pairs, pictures, detector, refiner, open_embedders(manifest), widths)
    text = card(network, recipe, done, sha256(target), parity, rows, milliseconds(refiner), len(pairs.a))
    (models / f"{NAME}.md").write_text(text)
    return rows


def milliseconds(refiner: LandmarkRefiner, faces: int = 16) -> float:
    """Time of one look at a face, cutting included, in batches of ``faces``: the median of 30."""
    picture = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    matrix = frame_matrix(np.float32([[90, 90], [104, 90], [97, 98], [91, 106], [103, 106]]))
    times = []
    for _ in range(30):
        began = time.thread_time()
        refiner.look(np.stack([cut(picture, matrix, FRAME) for _ in range(faces)]))
        times.append(time.thread_time() - began)
    return 1e3 * float(np.median(times)) / faces
