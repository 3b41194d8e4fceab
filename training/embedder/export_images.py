"""Exports a student of pictures with classes: an ONNX file, and a JSON file that says how to use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.common.manifest import sha256
from training.data.classes import class_labels
from training.data.images import load_images
from training.embedder.distill import load_student
from training.embedder.export import to_onnx
from training.embedder.validate import embed_views
from training.embedder.validate_images import classifier_of, held_out, measure


def export_images(run: Path, folder: Path, images: Path, cache: Path) -> Path:
    """Write ``<folder>/<recipe>.onnx`` and ``<folder>/<recipe>.json``.

    The network takes pictures float32 ``[n, 3, level, level]``, RGB, ``(x - 127.5) * 0.0078125``, squeezed to a square
    and shrunk by area, and gives unit embeddings. The JSON holds that, the classes that were trained, the classifier's
    weights where there is one (``[classes, dim]``: the nearest by cosine is the class), and the held-out figures.

    Args:
        run: folder of a finished run whose recipe has ``[images]``.
        folder: to write to; new or empty.
        images: what the run was trained on.
        cache: folder for derived files.

    Returns:
        The ONNX file.

    Raises:
        ValueError: the run is of faces or of other pictures, or the folder is not empty.
    """
    recipe, student, _ = load_student(run)
    if recipe.images is None:
        raise ValueError(f"{run} was trained on faces: use python -m training export")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists and is not empty: name a new folder")
    pictures = load_images(images, recipe.images, cache)
    if pictures.key != json.loads((run / "data.json").read_text())["set"]:
        raise ValueError(f"{run} was trained on other pictures than {images}: name their folder")
    labels, _ = class_labels(pictures, pictures.rows("train"), np.zeros((len(pictures), 1), np.float32), recipe.seed)
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)
    classifier = classifier_of(state["objective"])
    rows, classes = held_out(pictures, labels)
    identities = pictures.table["identity"].to_numpy()
    features = embed_views(student, pictures.crops[rows], recipe.student.level, torch.device("cpu"), "held out")
    figures = measure(features, identities[rows], classes, classifier)
    names = {int(label): str(name) for label, name in zip(labels, identities, strict=True) if label >= 0}
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{recipe.name}.onnx"
    worst = to_onnx(student, target)
    level = recipe.student.level
    facts: dict[str, Any] = {
        "name": recipe.name, "file": target.name, "sha256": sha256(target), "license": recipe.license,
        "terms": recipe.terms, "onnx_differs_from_torch_by": worst,
        "input": {"name": "faces", "height": level, "width": level, "channels": "RGB", "mean": 127.5,
                  "scale": 0.0078125, "resize": "to a square, by area, whatever the proportions"},
        "output": {"name": "embedding", "dim": recipe.student.dim, "normalized": True},
        "held_out": {"pictures": len(rows), **{name: round(value, 2) for name, value in figures.items()}},
        "classes": [names[label] for label in sorted(names)],
    }  # fmt: skip
    if classifier is not None:
        facts["classifier"] = torch.nn.functional.normalize(classifier, dim=1).numpy().round(6).tolist()
    target.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
    print(f"{recipe.name}, {len(rows)} held-out pictures: " + ", ".join(f"{k} {v:.2f} %" for k, v in figures.items()))
    return target
