"""Thresholds of a models folder: embeds people's photos and small views of them, and summarises strangers' scores.

Templates are made by the network of enrolment from the photos as they are. The probes of a band of widths are
``PROBES`` photos drawn at random, half of them with camera degradation, at widths drawn within the band: shrunk by area
to that width and enlarged again, as alignment samples a small face.
"""

from __future__ import annotations

import itertools
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
from lrface.enrolment.portraits import MIN_ENROL_PX
from lrface.measuring.statistics import Probes, statistics
from lrface.measuring.templates import Array
from lrface.measuring.views import camera_view
from lrface.models.manifest import CALIBRATION, Manifest
from lrface.models.safe_files import read_json

WIDTHS = (8.0, 10.0, 12.0, 14.0, 16.0, 20.0, 24.0, 32.0, 48.0)
"""Where one band of native widths ends and the next begins, in pixels."""

PROBES = 3000
"""Probes of a band; a quantile of strangers at one in 100 rests on 30 of them and all their comparisons."""

WIDEST = 112
"""Width of the probes of the last band at most: the photos' own."""


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedPeople:
    """Photos by the network of enrolment, unit vectors ``[n, dim]``, whose they are ``[n]``, and each band's probes."""

    person: npt.NDArray[np.str_]
    clean: Array
    probes: list[Probes]


def embed_people(
    manifest: Manifest, crops: npt.NDArray[np.uint8], person: npt.NDArray[np.str_], rng: np.random.Generator
) -> EmbeddedPeople:
    """Embeds photos uint8 ``[n, 112, 112, 3]`` of people ``[n]``, "<source>/<identity>", and probes made of them."""
    enrolment = open_networks(manifest).enrolment
    clean = enrolment.embed(crops)
    bands = list(bands_of(manifest))
    probes = []
    for level in sorted({level for level, _, _ in bands}):
        embedder = enrolment if level == enrolment.level else Embedder(manifest.embedders[level], manifest.folder)
        for _, low, high in tqdm([band for band in bands if band[0] == level], desc=embedder.entry.name, unit="band"):
            probes.append(probes_of(embedder, low, high, crops, rng))
    return EmbeddedPeople(person, clean, probes)


def measure(manifest: Manifest, people: EmbeddedPeople, rng: np.random.Generator) -> dict[str, Any]:
    """A ``calibration.json``: who was measured with what, and `statistics`."""
    return {
        "schema": SCHEMA,
        "space": manifest.enrolment.space,
        "models": {entry.name: entry.sha256 for entry in manifest.embedders.values()},
        "enrolment": manifest.enrolment.name,
        "people": len(np.unique(people.person)), "photos": len(people.clean),
        "alignment_penalty": _penalty(manifest.folder / CALIBRATION),
        **statistics(people.clean, people.probes, people.person, rng),
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
    views = np.empty((len(rows), *crops.shape[1:]), np.uint8)
    for i, (row, width) in enumerate(zip(rows, widths, strict=True)):
        side = max(1, int(width)) if high is not None and round(float(width)) >= high else max(1, round(float(width)))
        view = camera_view(crops[row], side, rng) if i % 2 else crops[row]
        small = cv2.resize(view, (side, side), interpolation=cv2.INTER_AREA)
        views[i] = cv2.resize(small, crops.shape[1:3], interpolation=cv2.INTER_LINEAR)
    vectors, quality = embedder.embed_with_quality(views)
    known = None if embedder.entry.quality is None else np.array(quality, np.float64)
    return Probes(embedder.entry.name, low, high, rows, vectors, known, np.arange(len(rows)) % 2 == 1)


def _penalty(path: Path) -> dict[str, float]:
    """The alignment penalty of an older ``calibration.json``, else the usual one."""
    usual = AlignmentPenalty()
    try:
        found = read_json(path).get("alignment_penalty")
    except (OSError, ValueError):  # none yet, or a damaged one, in whose place this one is made
        found = None
    return found or {"usual_error": usual.usual_error, "rate": usual.rate}
