"""Thresholds: how alike strangers look to the shipped models, as score statistics without faces.

For each level of a probe, each level of a gallery and several numbers of photos a template, the similarities of
validation people (none of them in the training split) to *other* people are summarised: quantiles down to one
comparison in 100, and beyond them a generalised Pareto tail. Besides, how alike photos of different people are on
average, which a gallery compares with its own people, and the quality below which a face is too poor to decide.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from lrface.decisions.calibration import SCHEMA
from lrface.embedding.embedders import Embedder
from lrface.metrics import tar_at_far
from lrface.models.manifest import Manifest
from training.data.faces import FaceSet
from training.data.views import moved_view
from training.recipe import Degradation

FALSE_MATCH_RATES = (0.9, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
PHOTOS = (1, 2, 3, 4, 5, 7, 10)
CHOICE_PHOTOS = (1, 5)
CHOICE_FAR = 1e-4
"""Which of two gallery levels is better is decided where a 100-person gallery at FPIR 0.01 works."""

DRAWS = 5
"""Templates a person at most, each of other photos."""

LOST, LOST_FAR = 0.01, 1e-3
"""Faces are too poor to decide up to the quality at which this share of all matches, at this FAR, would be lost."""

Array = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Graded = tuple[Array, npt.NDArray[np.float64]] | None


def calibrate(folder: Path, faces: FaceSet, seed: int = 1) -> dict[str, Any]:
    """Measure the impostor scores of a models folder and write its ``calibration.json``.

    Probes are every photo twice, as a clean aligned crop and as worn by a camera; people are enrolled from clean
    photos. Pairs across two sources are left out: their people may overlap.

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
    table = faces.table.iloc[rows]
    person = (table["source"].astype(str) + "/" + table["identity"].astype(str)).to_numpy().astype(str)
    crops = np.asarray(faces.crops[rows])
    probes, clean, graded = {}, {}, {}
    for level, entry in manifest.embedders.items():
        clean[level], probes[level], graded[level] = views_of(Embedder(entry, folder), crops, rng)
    result = {
        "schema": SCHEMA,
        "space": next(iter(manifest.embedders.values())).space,
        "models": {entry.name: entry.sha256 for entry in manifest.embedders.values()},
        "people": len(np.unique(person)), "photos": len(rows), "seed": seed,
        **statistics(clean, probes, graded, person, rng),
    }  # fmt: skip
    temporary = folder / "calibration.part"
    temporary.write_text(json.dumps(result, indent=1) + "\n")
    temporary.replace(folder / "calibration.json")
    return result


def views_of(embedder: Embedder, crops: npt.NDArray[np.uint8], rng: np.random.Generator) -> tuple[Array, Array, Graded]:
    """Unit vectors of n photos as they are ``[n, dim]``, and as probes ``[2n, dim]``: these and worn by a camera.

    The third part is for the gate: vectors ``[2n, dim]`` of views worn at the level and at half of it, with the
    network's quality of each; None for a network without.
    """
    clean = embedder.embed(crops)
    worn, good = embedder.embed_with_quality(_camera_views(crops, embedder.level, rng))
    probes = np.concatenate([clean, worn])
    if embedder.entry.quality is None:
        return clean, probes, None
    small, poor = embedder.embed_with_quality(_camera_views(crops, embedder.level // 2, rng))
    return clean, probes, (np.concatenate([worn, small]), np.array([*good, *poor], np.float64))


def statistics(
    clean: Mapping[int, Array],
    probes: Mapping[int, Array],
    graded: Mapping[int, Graded],
    person: npt.NDArray[np.str_],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """The part of a ``calibration.json`` that comes from scores.

    Args:
        clean: by level, see `views_of`.
        probes: by level.
        graded: by level.
        person: ``[n]``, "<source>/<identity>".
        rng: chooses photos.
    """
    groups = {str(name): rng.permutation(np.flatnonzero(person == name)) for name in np.unique(person)}
    subject = np.concatenate([person, person])
    source = np.array([name.split("/")[0] for name in subject])
    curves, tar = [], {}
    templates = {count: _choose(groups, count) for count in PHOTOS}
    for probe in probes:
        for gallery in clean:  # also smaller than the probe's: people enrolled from small photos
            rates = []
            for count, (owners, chosen) in templates.items():
                if not owners:
                    continue
                vectors = _unit(np.stack([clean[gallery][photos].mean(axis=0) for photos in chosen]))
                scores = probes[probe] @ vectors.T
                same = subject[:, None] == np.array(owners)[None, :]
                strangers = scores[~same & (source[:, None] == [owner.split("/")[0] for owner in owners])]
                similarity = np.quantile(strangers, 1 - np.array(FALSE_MATCH_RATES), method="higher")
                scale, shape = fit_tail(strangers[strangers > similarity[-1]] - similarity[-1])
                curves.append({
                    "probe_level": probe, "gallery_level": gallery, "photos": count, "comparisons": len(strangers),
                    "fmr": list(FALSE_MATCH_RATES), "similarity": similarity.astype(float).round(5).tolist(),
                    "tail": {"scale": round(scale, 5), "shape": round(shape, 4)},
                })  # fmt: skip
                if count in CHOICE_PHOTOS:
                    for column, photos in enumerate(chosen):  # a photo that made the template is no probe for it
                        same[np.concatenate([photos, photos + len(person)]), column] = False
                    kept = np.concatenate([scores[same], strangers])
                    rates.append(tar_at_far(kept, np.arange(len(kept)) < np.count_nonzero(same), CHOICE_FAR))
            tar[probe, gallery] = float(np.mean(rates))
    best = {p: max((g for q, g in tar if q == p), key=lambda g: tar[p, g]) for p in probes}
    gates = {}
    owners, chosen = templates[1]
    for level, found in graded.items():
        if found is None:
            continue
        views, estimates = found
        scores = views @ clean[level][[photos[0] for photos in chosen]].T
        same = subject[:, None] == np.array(owners)[None, :]
        strangers = scores[~same]
        for column, photos in enumerate(chosen):
            same[np.concatenate([photos, photos + len(person)]), column] = False
        hits = (scores >= np.quantile(strangers, 1 - LOST_FAR)) & same
        gates[str(level)] = gate(estimates, hits.sum(axis=1))
    return {
        "gallery_level": {str(level): other for level, other in sorted(best.items())},
        f"tar_at_fmr_{CHOICE_FAR:g}": {f"{p} against {g}": round(rate, 4) for (p, g), rate in tar.items()},
        "impostor_mean": {str(level): round(_impostor_mean(clean[level], groups), 5) for level in clean},
        "min_quality": gates,
        "impostor": curves,
    }


def fit_tail(excess: npt.NDArray[np.floating]) -> tuple[float, float]:
    """A generalised Pareto distribution by probability-weighted moments (Hosking and Wallis 1987, eq. 8, k = -shape).

    With a0 the mean and a1 = E[x (1 - F(x))], shape = 2 - a0 / (a0 - 2 a1) and scale = 2 a0 a1 / (a0 - 2 a1).

    Args:
        excess: float ``[n]``, above 0: similarities beyond the point where the tail begins.

    Returns:
        Scale and shape; exponential (shape 0) where there are fewer than 50 values.

    Raises:
        ValueError: no value above 0.
    """
    values = np.sort(np.asarray(excess, np.float64))
    if len(values) == 0 or values[0] <= 0:
        raise ValueError("no two people alike enough to fit a tail: add people to the validation split")
    mean = float(values.mean())
    if len(values) < 50:
        return mean, 0.0
    weighted = float((values * np.arange(len(values) - 1, -1, -1)).mean() / (len(values) - 1))
    shape = float(np.clip(2 - mean / (mean - 2 * weighted), -0.5, 0.5))
    return mean * (1 - shape), shape


def gate(quality: npt.NDArray[np.float64], hits: Rows) -> float:
    """The quality below which a face is too poor to decide: rejecting those faces loses at most `LOST` of the matches.

    Args:
        quality: ``[n]``.
        hits: matches of each face with its person's templates ``[n]``.

    Returns:
        A quality in 0..1: that of the poorest face that is kept; 0 where nothing matches.
    """
    order = np.argsort(quality, kind="stable")
    total = int(hits.sum())
    lost = np.cumsum(hits[order])
    return round(float(quality[order][np.argmax(lost > LOST * total)]), 4) if total else 0.0


def _camera_views(crops: npt.NDArray[np.uint8], level: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """The crops as alignment makes them of a camera's faces of this level, uint8 ``[n, 112, 112, 3]``."""
    how = Degradation(camera=1.0)
    return np.stack([moved_view(crop, level, how, rng) for crop in tqdm(crops, desc=f"camera {level}")])


def _choose(groups: Mapping[str, Rows], count: int) -> tuple[list[str], list[Rows]]:
    """Owners and photos of templates of ``count`` photos, at most ``DRAWS`` a person, no photo twice."""
    drawn = [
        (name, rows[i * count : (i + 1) * count])
        for name, rows in groups.items()
        for i in range(min(DRAWS, (len(rows) - 1) // count))
    ]
    return [name for name, _ in drawn], [rows for _, rows in drawn]


def _impostor_mean(embeddings: Array, groups: Mapping[str, Rows]) -> float:
    """Mean similarity of photos of different people of one source, each pair of people counted once."""
    total = pairs = 0.0
    for source in {name.split("/")[0] for name in groups}:
        own = [rows for name, rows in groups.items() if name.split("/")[0] == source]
        means = np.stack([embeddings[rows].mean(axis=0) for rows in own]).astype(np.float64)
        total += np.square(means.sum(axis=0)).sum() - np.square(means).sum()
        pairs += len(own) * (len(own) - 1)
    return float(total / pairs)


def _unit(vectors: Array) -> Array:
    unit: Array = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
