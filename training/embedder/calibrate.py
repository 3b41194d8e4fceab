"""Thresholds of the shipped models, measured on the validation people: none of them is in the training split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lrface.measuring.cross_validation import Ratio, cross_validate
from lrface.measuring.measure import embed_people, measure
from lrface.models.manifest import Manifest
from lrface.models.writing import write_calibration
from training.data.faces import FaceSet


def calibrate(folder: Path, faces: FaceSet, seed: int = 1) -> tuple[dict[str, Any], list[Ratio]]:
    """Measure the impostor scores of a models folder; write its ``calibration.json``, and its hash into the manifest.

    Pairs across two sources are left out: their people may overlap. An alignment penalty that the folder's
    ``calibration.json`` has already is kept.

    Args:
        folder: a models folder with its manifest.
        faces: a set with a ``val`` split that has identities.
        seed: of the camera views and of the choice of photos.

    Returns:
        What was written, and how the thresholds keep their promise by cross-validation (none for too few people).
    """
    rows = np.array([i for i in faces.rows("val") if faces.table["identity"].iat[i]])
    table = faces.table.iloc[rows]
    person = (table["source"].astype(str) + "/" + table["identity"].astype(str)).to_numpy().astype(str)
    manifest, rng = Manifest.load(folder), np.random.default_rng(seed)
    people = embed_people(manifest, np.asarray(faces.crops[rows]), person, rng)
    result = {**measure(manifest, people, rng), "seed": seed}
    write_calibration(folder, result)
    return result, cross_validate(result, people.clean, people.probes, person)
