"""Score statistics without faces: curves of how alike strangers look, from unit vectors of people.

For each band of native widths and several numbers of photos a template, the similarities of people to *other* people
are summarised: quantiles down to one comparison in 100, and beyond them a generalised Pareto tail; and those of people
to their own templates, by which it can be said how many would be recognised. Besides, how alike
photos of different people are on average, which a gallery compares with its own people, and the quality below which a
face is too poor to decide. Pairs across two sources of pictures are left out: their people may overlap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from lrface.measuring.impostor_curves import curve_of, share_shape, strangers_of
from lrface.measuring.templates import Array, Rows, Templates, own_scores, templates_of
from lrface.measuring.track_statistics import track_statistics

PHOTOS = (1, 2, 3, 4, 5, 7, 10)

LOST, LOST_FAR = 0.01, 1e-3
"""Faces are too poor to decide up to the quality at which this share of all matches, at this FAR, would be lost."""


@dataclass(frozen=True, slots=True, eq=False)
class Probes:
    """The probes of one band.

    Attributes:
        network: That embedded them.
        low, high: Of their widths; None: no bound.
        rows: Of the photos ``[n]``.
        vectors: Of unit length ``[n, dim]``.
        quality: ``[n]``, or None.
        degraded: Which have camera degradation ``[n]``.
    """

    network: str
    low: float
    high: float | None
    rows: Rows
    vectors: Array
    quality: npt.NDArray[np.float64] | None
    degraded: npt.NDArray[np.bool_]


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
    groups, templates = _templates(clean, person, rng, PHOTOS)
    return {
        **_face_statistics(clean, probes, person, groups, templates),
        "tracks": [
            track_statistics(
                band.network, (band.low, band.high), band.vectors, band.quality, band.degraded, person[band.rows],
                band.rows, templates, rng,
            )
            for band in tqdm(probes, desc="tracks", unit="band")
        ],
    }  # fmt: skip


def face_statistics(
    clean: Array,
    probes: Sequence[Probes],
    person: npt.NDArray[np.str_],
    rng: np.random.Generator,
    photos: Sequence[int],
) -> dict[str, Any]:
    """`statistics` without those of tracks, for templates of some numbers of photos, among them 1."""
    return _face_statistics(clean, probes, person, *_templates(clean, person, rng, photos))


def _templates(
    clean: Array, person: npt.NDArray[np.str_], rng: np.random.Generator, photos: Sequence[int]
) -> tuple[dict[str, Rows], dict[int, Templates]]:
    """The photos of each person, in random order, and templates by how many photos they are made of."""
    groups = {str(name): rng.permutation(np.flatnonzero(person == name)) for name in np.unique(person)}
    return groups, {count: made for count in photos if (made := templates_of(clean, groups, count)).owners}


def _face_statistics(
    clean: Array,
    probes: Sequence[Probes],
    person: npt.NDArray[np.str_],
    groups: Mapping[str, Rows],
    templates: Mapping[int, Templates],
) -> dict[str, Any]:
    found: list[dict[str, Any]] = [
        {
            "network": band.network,
            "widths": [band.low, band.high],
            "min_quality": _min_quality(band, templates[1], person),
            "curves": [_curve(band, made, count, person) for count, made in templates.items()],
        }
        for band in probes
    ]
    for network, count in {(band.network, count) for band in probes for count in templates}:
        share_shape([c for one in found if one["network"] == network for c in one["curves"] if c["photos"] == count])
    return {"impostor_mean": round(_impostor_mean(clean, groups), 5), "probes": found}


def _curve(band: Probes, made: Templates, count: int, person: npt.NDArray[np.str_]) -> dict[str, Any]:
    owners, subject = np.array(made.owners), person[band.rows]
    scores = band.vectors @ made.vectors.T
    return {
        **curve_of(scores[strangers_of(subject, owners)], count),
        **own_scores(scores, subject, band.rows[:, None], made),
    }


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


def _impostor_mean(embeddings: Array, groups: Mapping[str, Rows]) -> float:
    """Mean similarity of photos of different people of one source, each pair of people counted once."""
    total = pairs = 0.0
    for source in {name.split("/")[0] for name in groups}:
        own = [rows for name, rows in groups.items() if name.split("/")[0] == source]
        means = np.stack([embeddings[rows].mean(axis=0) for rows in own]).astype(np.float64)
        total += np.square(means.sum(axis=0)).sum() - np.square(means).sum()
        pairs += len(own) * (len(own) - 1)
    return float(total / pairs)
