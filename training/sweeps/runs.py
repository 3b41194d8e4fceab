"""The runs of a sweep: each is trained once, resumed or only read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from training.common.files import read_log, replacing
from training.data.faces import FaceSet
from training.data.pairs import Pairs
from training.data.views import aligned_view
from training.embedder.distill import distill
from training.embedder.teachers import Teacher, embed_all
from training.embedder.training_data import TrainingData
from training.recipe import LossSpec, Recipe
from training.sweeps.variants import Variant


def subset(data: TrainingData, count: int, seed: int) -> TrainingData:
    """The faces of the validation pairs and ``count`` random training faces, in memory.

    Raises:
        ValueError: the set has fewer training faces.
    """
    rows = data.faces.rows("train")
    if count > len(rows):
        raise ValueError(f"--count {count}: the set has {len(rows)} training faces; give a smaller --count")
    drawn = np.random.default_rng(seed).permutation(rows)[:count]
    kept = np.unique(np.concatenate([drawn, data.pairs.a, data.pairs.b]))
    a, b = (np.searchsorted(kept, side) for side in (data.pairs.a, data.pairs.b))
    table = data.faces.table.iloc[kept].reset_index(drop=True)
    # A sorted list of rows: the crops may lie in a file.
    faces = FaceSet(np.asarray(data.faces.crops[kept]), table, f"{data.faces.key}-{count}-{seed}")
    return TrainingData(faces, data.embeddings[kept], Pairs(a, b, data.pairs.same, data.pairs.fold))


def train(variant: Variant, data: TrainingData, runs: Path) -> dict[str, Any]:
    """Train a variant, or read its finished run: settings, seconds, figures of the last epoch's averaged student."""
    row: dict[str, Any] = {"method": variant.label}
    if variant.value is not None:
        row["value"] = variant.value
    recipe = variant.recipe
    row["losses"] = " + ".join(_describe(loss) for loss in recipe.losses)
    row |= {"level": recipe.student.level, "seed": recipe.seed}
    if variant.assistant:
        row["seconds_assistant"] = figures(variant.assistant, data, runs)["seconds"]
    return row | figures(recipe, data, runs)


def figures(recipe: Recipe, data: TrainingData, runs: Path) -> dict[str, float]:
    """Train a recipe, resume it or only read its log: seconds of training, and the last validation figures.

    For CRRCD also ``unrelated``, the mean cosine of the guide's relations to those of their negatives.
    """
    run = runs / recipe.name
    distill(recipe, data.faces, data.embeddings, data.pairs, run)
    lines = read_log(run)
    found = {name: round(lines[-1][f"val_{name}"], 4) for name in ("lr_lr", "hr_lr", "tar_1e-2", "cosine")}
    if "crrcd.unrelated" in lines[-1]:  # near 1 if its relation modules collapsed
        found["unrelated"] = round(lines[-1]["crrcd.unrelated"], 4)
    return {"seconds": round(sum(line["seconds"] for line in lines), 1), **found}


def _describe(loss: LossSpec) -> str:
    arguments = ", ".join(f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
                          for key, value in loss.arguments.items())  # fmt: skip
    return f"{loss.weight:g} {loss.name}" + (f"({arguments})" if arguments else "")


def upscaled(teachers: list[Teacher], data: TrainingData, level: int, runs: Path) -> npt.NDArray[np.float32]:
    """The teachers' embeddings of validation faces shrunk to ``level`` and enlarged to 112 by bicubic interpolation.

    Returns:
        Unit embeddings ``[len(faces), d]``, kept in ``runs`` for any part of the same set; zeros for faces of no pair.
    """
    rows = np.unique(np.concatenate([data.pairs.a, data.pairs.b]))
    files = [teacher.path.read_bytes() for teacher in teachers]
    names = "\n".join(data.faces.table["name"].astype(str).iloc[rows]).encode()
    kept = runs / f"upscaled-{level}-{hashlib.sha256(b''.join([*files, names])).hexdigest()[:12]}.npy"
    if not kept.exists():
        runs.mkdir(parents=True, exist_ok=True)
        small = (aligned_view(data.faces.crops[row], level) for row in rows)
        views = np.stack([cv2.resize(view, (112, 112), interpolation=cv2.INTER_CUBIC) for view in small])
        embedded = embed_all(teachers, views.astype(np.uint8, copy=False), f"teachers at {level} px")
        with replacing(kept) as whole:
            np.save(whole, embedded)
    found = np.zeros_like(data.embeddings)
    found[rows] = np.load(kept)
    return found
