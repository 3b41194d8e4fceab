"""From data to ``models/lrface-landmarks.onnx``: train, export, add to the manifest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from training.common.manifest import sha256
from training.detector.scenes import load_pastes, load_scenes
from training.landmarks.export import NAME, add_to_manifest, card, to_onnx
from training.landmarks.samples import Sources
from training.landmarks.train import Recipe, load, train

CROPS = 64_000  # aligned faces for the teacher to label


def make(
    scenes: Path, faces: Path, teacher: Path, cache: Path, run: Path, models: Path, steps: int = Recipe.steps
) -> Path:
    """Train (started again, it resumes) and export; ``benchmarks/landmark_refinement.py`` measures.

    Args:
        scenes: folder of scenes.zip and boxes.csv.
        faces: as for ``training.data.faces.load_faces``.
        teacher: YuNet, for the landmarks.
        cache: for derived files.
        run: folder of the run.
        models: folder that gets the network.
        steps: of the run.

    Returns:
        The ONNX file.
    """
    pictures = load_scenes(scenes, cache / "detector", teacher)
    pastes = load_pastes(faces, cache / "detector", teacher, CROPS, cache)
    pictures.remove_landmark_bias(pastes.shape)
    recipe = replace(Recipe(), steps=steps)
    sources = Sources.of(pictures, pastes, recipe.views)
    train(recipe, sources, run)
    network, recipe, done = load(run)
    target = models / f"{NAME}.onnx"
    parity = to_onnx(network, target)
    add_to_manifest(target)
    (models / f"{NAME}.md").write_text(card(network, recipe, done, sources, sha256(target), parity))
    return target
