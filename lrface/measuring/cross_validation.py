"""Do thresholds keep what they promise? Curves from one half of the people, strangers of the other half.

For each band of widths and number of photos, the share of strangers' searches that name somebody is divided by the
false-positive identification rate asked for: 1 is exact, less is caution that is paid in people not named. Galleries of
more people than there are cannot be searched: for them the rate of single comparisons is divided by the one that
`fmr_for` allows. That is an upper bound for searches, as one stranger is often like several people, and for 1,000
people it rests on few comparisons.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lrface.decisions.calibration import Calibration, Population
from lrface.decisions.rates import fmr_for
from lrface.measuring.impostor_curves import strangers_of
from lrface.measuring.statistics import Probes, face_statistics
from lrface.measuring.templates import Array, templates_of

GALLERIES = (10, 100, 1000)
COUNTS = (1, 5)
"""Photos a template."""

MIN_PEOPLE = 40
"""With fewer, half of them give no curve that says anything."""

SPLITS, DRAWN = 2, 5
"""Random halvings of the people (each half once to calibrate), and galleries drawn of each half."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Measured rate over the rate asked for: of one network and band, number of photos and size of the gallery."""

    network: str
    low: float
    high: float | None
    photos: int
    people: int
    ratio: float
    events: int


def cross_validate(
    made: Mapping[str, Any], clean: Array, probes: Sequence[Probes], person: npt.NDArray[np.str_], fpir: float = 0.01
) -> list[Ratio]:
    """The ratios; none for fewer than ``MIN_PEOPLE`` people. Only the source with the most people is used.

    Args:
        made: a whole ``calibration.json`` for these models, of which the statistics are replaced.
        clean: unit vectors of the photos by the network of enrolment ``[n, dim]``.
        probes: the bands'.
        person: ``[n]``, "<source>/<identity>".
        fpir: asked for.
    """
    source = np.array([name.split("/")[0] for name in person])
    sizes = {name: len(np.unique(person[source == name])) for name in np.unique(source)}
    largest = max(sizes, key=sizes.__getitem__)
    if sizes[largest] < MIN_PEOPLE:
        return []
    clean, probes, person = _of(source == largest, clean, probes, person)
    named: dict[tuple[int, int, int], list[float]] = {}
    for half in _halves(person):
        rng = np.random.default_rng(0)
        calibration = _calibration(made, *_of(half, clean, probes, person), rng)
        clean_b, probes_b, person_b = _of(~half, clean, probes, person)
        groups = {str(name): rng.permutation(np.flatnonzero(person_b == name)) for name in np.unique(person_b)}
        for count in COUNTS:
            templates = templates_of(clean_b, groups, count, 1)
            for i, band in enumerate(probes_b):
                scores = band.vectors @ templates.vectors.T
                other = strangers_of(person_b[band.rows], np.array(templates.owners))
                for people in GALLERIES:
                    rates = _named(calibration, band, scores, other, count, people, fpir, rng)
                    total = named.setdefault((i, count, people), [0.0, 0.0, 0.0])
                    named[i, count, people] = [a + b for a, b in zip(total, rates, strict=True)]
    return [
        Ratio(probes[i].network, probes[i].low, probes[i].high, count, people, hits / max(1e-12, asked), round(events))
        for (i, count, people), (hits, asked, events) in named.items()
    ]


def _named(
    calibration: Calibration, band: Probes, scores: Array, other: npt.NDArray[np.bool_], photos: int, people: int,
    fpir: float, rng: np.random.Generator,
) -> tuple[float, float, float]:  # fmt: skip
    """Strangers named (or comparisons above), those allowed, and how many were seen."""
    threshold = calibration.threshold(band.network, _width(band), photos, Population(people), fpir)
    hit = (scores >= threshold) & other
    smallest = int(other.sum(axis=1).min())
    if people > smallest:
        return float(hit.sum()), fmr_for(fpir, people) * float(other.sum()), float(hit.sum())
    found = 0.0
    for _ in range(DRAWN):
        order = np.where(other, rng.random(other.shape, np.float32), 2.0)
        drawn = np.argpartition(order, people - 1, axis=1)[:, :people]
        found += float(np.take_along_axis(hit, drawn, axis=1).any(axis=1).sum())
    return found, fpir * DRAWN * len(scores), found / DRAWN


def _width(band: Probes) -> float:
    return max(1.0, band.low)


def _halves(person: npt.NDArray[np.str_]) -> Iterator[npt.NDArray[np.bool_]]:
    names = np.unique(person)
    for split in range(SPLITS):
        order = np.random.default_rng(split).permutation(names)
        half = np.isin(person, order[: len(order) // 2])
        yield half
        yield ~half


def _of(
    keep: npt.NDArray[np.bool_], clean: Array, probes: Sequence[Probes], person: npt.NDArray[np.str_]
) -> tuple[Array, list[Probes], npt.NDArray[np.str_]]:
    place = np.cumsum(keep) - 1
    parts = []
    for band in probes:
        mine = keep[band.rows]
        quality = None if band.quality is None else band.quality[mine]
        parts.append(replace(band, rows=place[band.rows[mine]], vectors=band.vectors[mine], quality=quality,
                             degraded=band.degraded[mine]))  # fmt: skip
    return clean[keep], parts, person[keep]


def _calibration(
    made: Mapping[str, Any], clean: Array, probes: Sequence[Probes], person: npt.NDArray[np.str_],
    rng: np.random.Generator,
) -> Calibration:  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calibration.json"
        path.write_text(json.dumps({**made, "tracks": [], **face_statistics(clean, probes, person, rng, COUNTS)}))
        return Calibration.load(path)


def ratio_table(ratios: Sequence[Ratio]) -> str:
    """Markdown: a line for each network and band, a column for each number of photos and size of the gallery."""
    if not ratios:
        return "too few people for a cross-validation"
    columns = list(dict.fromkeys((ratio.photos, ratio.people) for ratio in ratios))
    lines: dict[str, list[str]] = {}
    for ratio in ratios:
        widths = f"{ratio.low:g} px or more" if ratio.high is None else f"{ratio.low:g} to {ratio.high:g} px"
        lines.setdefault(f"{ratio.network}, {widths}", []).append(f"{ratio.ratio:.2f}")
    header = [f"{photos} photo{'s' * (photos > 1)}, {people} people" for photos, people in columns]
    rows = [["strangers named over those allowed", *header], ["---"] * (len(header) + 1)]
    rows += [[name, *values] for name, values in lines.items()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
