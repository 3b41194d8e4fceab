"""Thresholds: how alike strangers look to the shipped models, as score statistics without faces.

For each level of a probe and each level of a gallery, the similarities of validation people (none of them in the
training split) to *other* people are summarised as quantiles: at which similarity one comparison in 10, in 100, ... in
100,000 is a false match. The runtime turns a false-positive rate that a user asks for and a gallery's size into one of
these.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from lrface.embedding import Embedder
from lrface.metrics import tar_at_far
from lrface.models import Manifest
from training.faces import FaceSet
from training.views import Degradation, moved_view

FALSE_MATCH_RATES = np.logspace(-1, -5, 21)
PHOTOS = 5
# Which of two gallery levels is better is decided where a 500-person gallery at FPIR 0.01 works.
CHOICE_FAR = 1e-4

Array = npt.NDArray[np.float32]


def calibrate(folder: Path, faces: FaceSet, seed: int = 1) -> dict[str, Any]:
    """Measure the impostor scores of a models folder and write its ``calibration.json``.

    The strictest of four cases counts at each rate: probes as clean aligned crops and as worn by a camera, people
    enrolled with one photo and with ``PHOTOS``. Pairs across two sources are left out: their people may overlap.

    Args:
        folder: a models folder with its manifest.
        faces: a set with a ``val`` split that has identities.
        seed: of the camera views and of the choice of photos.

    Returns:
        What was written.
    """
    manifest = Manifest.load(folder)
    rng = np.random.default_rng(seed)
    rows = np.array([i for i in faces.rows("val") if faces.table["identity"].iat[i]])
    person = (faces.table["source"].astype(str) + "/" + faces.table["identity"]).to_numpy()[rows]
    source = faces.table["source"].astype(str).to_numpy()[rows]
    crops = np.asarray(faces.crops[rows])
    embedders = {level: Embedder(entry, folder) for level, entry in manifest.embedders.items()}
    clean = {level: embedder.embed(crops) for level, embedder in embedders.items()}
    worn = {level: embedder.embed(_camera_views(crops, level, rng)) for level, embedder in embedders.items()}
    groups = _people(person, rng)

    tables, quality = [], {}
    for probe in embedders:
        for gallery in embedders:  # also smaller than the probe's: people enrolled from small photos
            cases, genuine_rates = [], []
            for templates in (1, PHOTOS):
                vectors, owners, used = _gallery(clean[gallery], groups, templates)
                for probes in (clean[probe], worn[probe]):
                    scores = probes @ vectors.T
                    same = person[:, None] == owners[None, :]
                    own_source = np.array([owner.split("/")[0] for owner in owners])
                    impostor = ~same & (source[:, None] == own_source[None, :])
                    # A photo that made the template is no probe for it.
                    genuine = same & ~used
                    strangers = scores[impostor]
                    cases.append(np.quantile(strangers, 1 - FALSE_MATCH_RATES, method="higher"))
                    kept = np.concatenate([scores[genuine], strangers])
                    label = np.arange(len(kept)) < np.count_nonzero(genuine)
                    genuine_rates.append(tar_at_far(kept, label, CHOICE_FAR))
            quality[probe, gallery] = float(np.mean(genuine_rates))
            tables.append({
                "probe_level": probe, "gallery_level": gallery, "comparisons": int(np.count_nonzero(impostor)),
                "fmr": [float(f"{rate:.3g}") for rate in FALSE_MATCH_RATES],
                "similarity": np.maximum.accumulate(np.max(cases, axis=0)).astype(np.float64).round(5).tolist(),
                f"tar_at_fmr_{CHOICE_FAR:g}": round(quality[probe, gallery], 4),
            })  # fmt: skip
    best = {p: max((g for q, g in quality if q == p), key=lambda g: quality[p, g]) for p in embedders}
    result = {
        "schema": 1,
        "space": next(iter(manifest.embedders.values())).space,
        "models": {entry.name: entry.sha256 for entry in manifest.embedders.values()},
        "gallery_level": {str(level): other for level, other in sorted(best.items())},
        "people": len(groups), "photos": len(rows), "seed": seed,
        "impostor": tables,
    }  # fmt: skip
    temporary = folder / "calibration.part"
    temporary.write_text(json.dumps(result, indent=1) + "\n")
    temporary.replace(folder / "calibration.json")
    return result


def _camera_views(crops: npt.NDArray[np.uint8], level: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """The crops as alignment makes them of a camera's faces of this level, uint8 ``[n, 112, 112, 3]``."""
    how = Degradation(camera=1.0)
    return np.stack([moved_view(crop, level, how, rng) for crop in tqdm(crops, desc=f"camera {level}")])


def _people(person: npt.NDArray[np.str_], rng: np.random.Generator) -> dict[str, npt.NDArray[np.int64]]:
    """The rows of each person, shuffled, people with fewer than ``PHOTOS`` left out of the gallery."""
    groups = {str(name): rng.permutation(np.flatnonzero(person == name)) for name in np.unique(person)}
    return {name: rows for name, rows in groups.items() if len(rows) > PHOTOS}


def _gallery(
    embeddings: Array, groups: dict[str, npt.NDArray[np.int64]], templates: int
) -> tuple[Array, npt.NDArray[np.str_], npt.NDArray[np.bool_]]:
    """Enrol with the mean of ``templates`` photos, several times over for one photo.

    Returns:
        Vectors ``[m, dim]``, their owners ``[m]``, and which rows made which vector, bool ``[n, m]``.
    """
    vectors, owners, used = [], [], []
    for name, rows in groups.items():
        chosen = [rows[:templates]] if templates > 1 else [rows[i : i + 1] for i in range(PHOTOS)]
        for photos in chosen:
            mean = embeddings[photos].mean(axis=0)
            vectors.append(mean / np.linalg.norm(mean))
            owners.append(name)
            made = np.zeros(len(embeddings), bool)
            made[photos] = True
            used.append(made)
    return np.stack(vectors), np.array(owners), np.stack(used, axis=1)
