"""Thresholds: how alike strangers look to the shipped models, as score statistics without faces.

For each network, each band of native widths and several numbers of photos a template, the similarities of validation
people (none of them in the training split) to *other* people are summarised: quantiles down to one comparison in 100,
and beyond them a generalised Pareto tail. Besides, how alike photos of different people are on average, which a gallery
compares with its own people, and the quality below which a face is too poor to decide.

Templates are made by the network of enrolment from the photos as they are. The probes of a band are ``PROBES`` photos
drawn at random, half of them with camera degradation, at widths drawn within the band: shrunk by area to that width and
enlarged again, as alignment samples a small face.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from lrface.decisions.calibration import SCHEMA
from lrface.embedding.embedders import MIN_NATIVE_PX, Embedder, open_networks
from lrface.embedding.quality import AlignmentPenalty
from lrface.embedding.templates import fuse
from lrface.enrolment.portraits import MIN_ENROL_PX
from lrface.models.manifest import CALIBRATION, Manifest
from lrface.models.safe_files import read_json
from lrface.models.writing import write_calibration
from training.data.faces import FaceSet
from training.data.views import moved_view
from training.embedder.calibrate_tracks import track_statistics
from training.embedder.impostor_curves import curve_of, strangers_of
from training.recipe import Degradation

PHOTOS = (1, 2, 3, 4, 5, 7, 10)

WIDTHS = (8.0, 10.0, 12.0, 14.0, 16.0, 20.0, 24.0, 32.0, 48.0)
"""Where one band of native widths ends and the next begins, in pixels."""

PROBES = 3000
"""Probes of a band; a quantile of strangers at one in 100 rests on 30 of them and all their comparisons."""

WIDEST = 112
"""Width of the probes of the last band at most: the photos' own."""

DRAWS = 5
"""Templates a person at most, each of other photos."""

LOST, LOST_FAR = 0.01, 1e-3
"""Faces are too poor to decide up to the quality at which this share of all matches, at this FAR, would be lost."""

Array = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Probes:
    """The probes of one band: photos' rows [n], unit vectors [n, dim], and qualities [n] or None."""

    network: str
    low: float
    high: float | None
    rows: Rows
    vectors: Array
    quality: npt.NDArray[np.float64] | None


def calibrate(folder: Path, faces: FaceSet, seed: int = 1) -> dict[str, Any]:
    """Measure the impostor scores of a models folder; write its ``calibration.json``, and its hash into the manifest.

    Pairs across two sources are left out: their people may overlap. An alignment penalty that the folder's
    ``calibration.json`` has already is kept.

    Args:
        folder: a models folder with its manifest.
        faces: a set with a ``val`` split that has identities.
        seed: of the camera views and of the choice of photos.

    Returns:
        What was written.
    """
    rows = np.array([i for i in faces.rows("val") if faces.table["identity"].iat[i]])
    table = faces.table.iloc[rows]
    person = (table["source"].astype(str) + "/" + table["identity"].astype(str)).to_numpy().astype(str)
    result = measure(Manifest.load(folder), np.asarray(faces.crops[rows]), person, seed)
    write_calibration(folder, result)
    return result


def measure(
    manifest: Manifest, crops: npt.NDArray[np.uint8], person: npt.NDArray[np.str_], seed: int = 1
) -> dict[str, Any]:
    """A ``calibration.json`` from photos uint8 ``[n, 112, 112, 3]`` of people ``[n]``, "<source>/<identity>"."""
    rng = np.random.default_rng(seed)
    enrolment = open_networks(manifest).enrolment
    clean = enrolment.embed(crops)
    bands = list(bands_of(manifest))
    probes = []
    for level in sorted({level for level, _, _ in bands}):
        embedder = enrolment if level == enrolment.level else Embedder(manifest.embedders[level], manifest.folder)
        for _, low, high in tqdm([band for band in bands if band[0] == level], desc=embedder.entry.name, unit="band"):
            probes.append(probes_of(embedder, low, high, crops, rng))
    return {
        "schema": SCHEMA,
        "space": enrolment.entry.space,
        "models": {entry.name: entry.sha256 for entry in manifest.embedders.values()},
        "enrolment": enrolment.entry.name,
        "people": len(np.unique(person)), "photos": len(crops), "seed": seed,
        "alignment_penalty": _penalty(manifest.folder / CALIBRATION),
        **statistics(clean, probes, person, rng),
    }  # fmt: skip


def bands_of(manifest: Manifest) -> list[tuple[int, float, float | None]]:
    """The bands to measure, as level, low and high (None: no bound): ``WIDTHS``, cut to what a network serves.

    The network of enrolment is measured from the smallest width of a photo on, which screening of photos needs.
    """
    served: dict[int, tuple[float, float]] = {}
    for ranges in manifest.ranges.values():
        for each in ranges:
            low, high = served.get(each.level, (each.low, each.high))
            served[each.level] = min(low, each.low), max(high, each.high)
    level = manifest.enrolment.level
    low, _ = served.get(level, (MIN_ENROL_PX, 0.0))
    served[level] = min(low, MIN_ENROL_PX), float("inf")
    found = []
    for level, (low, high) in sorted(served.items()):
        edges = [low, *(width for width in WIDTHS if low < width < high), high]
        found += [
            (level, a, None if b == float("inf") else b) for a, b in itertools.pairwise(edges) if b > MIN_NATIVE_PX
        ]
    return found


def probes_of(
    embedder: Embedder, low: float, high: float | None, crops: npt.NDArray[np.uint8], rng: np.random.Generator
) -> Probes:
    """Probes of one band, made of photos uint8 ``[n, 112, 112, 3]`` as alignment makes them of a camera's picture."""
    rows = np.sort(rng.permutation(len(crops))[:PROBES])
    smallest, largest = max(low, MIN_NATIVE_PX), float(WIDEST) if high is None else min(high, WIDEST)
    widths = np.exp(rng.uniform(np.log(min(smallest, largest)), np.log(largest), len(rows)))
    camera = Degradation(camera=1.0)
    views = np.empty((len(rows), *crops.shape[1:]), np.uint8)
    for i, (row, width) in enumerate(zip(rows, widths, strict=True)):
        side = max(1, int(width)) if high is not None and round(float(width)) >= high else max(1, round(float(width)))
        view = moved_view(crops[row], side, camera, rng) if i % 2 else crops[row]
        small = cv2.resize(view, (side, side), interpolation=cv2.INTER_AREA)
        views[i] = cv2.resize(small, crops.shape[1:3], interpolation=cv2.INTER_LINEAR)
    vectors, quality = embedder.embed_with_quality(views)
    known = None if embedder.entry.quality is None else np.array(quality, np.float64)
    return Probes(embedder.entry.name, low, high, rows, vectors, known)


def statistics(
    clean: Array, probes: Sequence[Probes], person: npt.NDArray[np.str_], rng: np.random.Generator
) -> dict[str, Any]:
    """The part of a ``calibration.json`` that comes from scores.

    Args:
        clean: unit vectors of the photos by the network of enrolment ``[n, dim]``.
        probes: the bands'.
        person: ``[n]``, "<source>/<identity>".
        rng: chooses photos.
    """
    groups = {str(name): rng.permutation(np.flatnonzero(person == name)) for name in np.unique(person)}
    templates = {count: made for count in PHOTOS if (made := _templates(clean, groups, count)).owners}
    return {
        "impostor_mean": round(_impostor_mean(clean, groups), 5),
        "probes": [
            {
                "network": band.network,
                "widths": [band.low, band.high],
                "min_quality": _min_quality(band, templates[1], person),
                "curves": [
                    curve_of(
                        (band.vectors @ made.vectors.T)[strangers_of(person[band.rows], np.array(made.owners))], count
                    )
                    for count, made in templates.items()
                ],
            }
            for band in tqdm(probes, desc="curves", unit="band")
        ],
        "tracks": [
            track_statistics(
                band.network, (band.low, band.high), band.vectors, band.quality, person[band.rows],
                {count: (np.array(made.owners), made.vectors) for count, made in templates.items()}, rng,
            )
            for band in tqdm(probes, desc="tracks", unit="band")
        ],
    }  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Templates:
    """Templates of people: owners, photos' rows of each, unit vectors ``[m, dim]``."""

    owners: list[str]
    photos: list[Rows]
    vectors: Array


def _templates(clean: Array, groups: Mapping[str, Rows], count: int) -> Templates:
    owners, chosen = _choose(groups, count)
    sums = [clean[photos].sum(axis=0) for photos in chosen]
    return Templates(owners, chosen, fuse(np.stack(sums)) if sums else np.zeros((0, clean.shape[1]), np.float32))


def _min_quality(band: Probes, single: Templates, person: npt.NDArray[np.str_]) -> float | None:
    """See `gate`; by comparisons with templates of one photo, never of the probe's own."""
    if band.quality is None:
        return None
    owners, subject = np.array(single.owners), person[band.rows]
    scores = band.vectors @ single.vectors.T
    threshold = np.quantile(scores[strangers_of(subject, owners)], 1 - LOST_FAR)
    photo = np.array([photos[0] for photos in single.photos])
    own = (subject[:, None] == owners[None, :]) & (band.rows[:, None] != photo[None, :])
    return gate(band.quality, ((scores >= threshold) & own).sum(axis=1))


def _penalty(path: Path) -> dict[str, float]:
    """The alignment penalty of an older ``calibration.json``, else the usual one."""
    usual = AlignmentPenalty()
    try:
        found = read_json(path).get("alignment_penalty")
    except (OSError, ValueError):  # none yet, or a damaged one, in whose place this one is made
        found = None
    return found or {"usual_error": usual.usual_error, "rate": usual.rate}


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
