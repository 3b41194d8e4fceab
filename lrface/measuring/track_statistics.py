"""Thresholds for tracks: how alike strangers look when several of their views are fused.

A track is made of probes of one band and one validation person, each of another photo; its template is the runtime's.
Curves are measured of tracks of 1 to 16 views, and kept by how many effective views the runtime counts in such tracks.
How alike tracks are to their own person's templates is kept, too: by it can be said how many would be recognised.
A track is decided after each of its views: ``repeats`` is how many times the rate of one decision the rate of any of
them is.

Two tracks of one camera have pictures of one kind, which makes small faces of different people alike. So a
track for ``between``, the curves of two tracks of different people, has only photos as they are, or only degraded ones;
of both curves the one that asks for more is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from lrface.decisions.curves import CurveRecord, ImpostorCurve
from lrface.measuring.impostor_curves import curve_of, strangers_of
from lrface.measuring.templates import Array, Rows, Templates, own_scores
from lrface.tracks.template import TrackTemplate, View, fuse_views

VIEWS = (1, 2, 4, 8, 16)
PHOTOS = (1, 2, 5, 10)
TRACKS = 500
"""Of a band, drawn with replacement."""

LEAST_PEOPLE = 10
"""Longer tracks are left out where fewer people have more probes than that (or all tracks of a person are equal)."""

VIEWS_BETWEEN = (1, 2, 4, 8)
"""Of each of two tracks; the probes of one kind are half as many."""

LEAST_COMPARISONS = 1000
"""Of tracks of two people; fewer say nothing of one in a hundred, and there is no curve."""

REPEATED_AT = 1e-3
"""The false-match rate at which ``repeats`` is measured, and that decides which of two curves asks for more."""

Names = npt.NDArray[np.str_]


def track_statistics(
    network: str,
    widths: tuple[float, float | None],
    vectors: Array,
    quality: npt.NDArray[np.float64] | None,
    degraded: npt.NDArray[np.bool_],
    person: Names,
    rows: Rows,
    templates: Mapping[int, Templates],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """A band of ``tracks`` of a ``calibration.json``.

    Args:
        network: that embedded the probes.
        widths: of the probes, from and to.
        vectors: of the probes, unit length ``[n, dim]``.
        quality: of the probes ``[n]``, or None.
        degraded: which probes are, ``[n]``.
        person: of the probes ``[n]``, "<source>/<identity>".
        rows: of the photos they were made of ``[n]``.
        templates: by photos.
        rng: draws tracks.
    """
    groups = [np.flatnonzero(person == name) for name in np.unique(person)]
    counts = [n for n in VIEWS if n == 1 or sum(len(rows) > n for rows in groups) >= LEAST_PEOPLE]
    able = [rows for rows in groups if counts[-1] == 1 or len(rows) > counts[-1]]
    width = max(6.0, widths[0])
    drawn = [rng.permutation(able[i])[: counts[-1]] for i in rng.integers(0, len(able), TRACKS)]
    subjects = np.array([person[rows[0]] for rows in drawn])
    same = _same_person(vectors, groups)
    curves, rates = [], []
    for n in counts:
        fused = [_fuse(vectors, quality, rows[:n], width, network) for rows in drawn]
        if n == 1:
            probes, of_whom, made_of = vectors, person, rows[:, None]
        else:
            probes, of_whom = np.stack([each.vector for each in fused]), subjects
            made_of = np.stack([rows[chosen[:n]] for chosen in drawn])
        views = float(np.median([each.effective_views(same) for each in fused]))
        for photos in [count for count in PHOTOS if count in templates]:
            made = templates[photos]
            scores = probes @ made.vectors.T
            curve = curve_of(scores[strangers_of(of_whom, np.array(made.owners))], photos)
            own = own_scores(scores, of_whom, made_of, made)
            curves.append({"views": round(views, 3), "drawn": n, **curve, **own})
        single = templates[1]
        scores = np.stack([each.vector for each in fused]) @ single.vectors.T
        scores = scores[strangers_of(subjects, np.array(single.owners))]
        first = next(curve for curve in curves if curve["views"] == round(views, 3) and curve["photos"] == 1)
        rates.append(_log_rates(first, scores))
    ever = np.min(np.stack(rates), axis=0)
    repeats = float((ever <= np.log10(REPEATED_AT)).mean()) / REPEATED_AT
    return {
        "network": network, "widths": list(widths), "same_person": round(same, 5),
        "repeats": round(min(float(len(counts)), max(1.0, repeats)), 3), "curves": curves,
        "between": _between(network, width, vectors, quality, degraded, person, same, rng.spawn(1)[0]),
    }  # fmt: skip


def _between(
    network: str, width: float, vectors: Array, quality: npt.NDArray[np.float64] | None,
    degraded: npt.NDArray[np.bool_], person: Names, same: float, rng: np.random.Generator,
) -> list[dict[str, Any]]:  # fmt: skip
    """Curves of two tracks of different people, rising by effective views."""
    found: list[dict[str, Any]] = []
    for n in VIEWS_BETWEEN:
        made = []
        for kind in (degraded, ~degraded):
            groups = [rows for name in np.unique(person) if len(rows := np.flatnonzero(kind & (person == name))) >= n]
            if len(groups) < LEAST_PEOPLE:
                continue
            drawn = [rng.permutation(groups[i])[:n] for i in rng.integers(0, len(groups), TRACKS)]
            drawn = list({tuple(sorted(rows.tolist())): rows for rows in drawn}.values())  # copies are no evidence
            fused = [_fuse(vectors, quality, rows, width, network) for rows in drawn]
            subjects, templates = person[[rows[0] for rows in drawn]], np.stack([each.vector for each in fused])
            other = np.triu(strangers_of(subjects, subjects))
            if other.sum() < LEAST_COMPARISONS:
                continue
            views = float(np.median([each.effective_views(same) for each in fused]))
            made.append({"views": round(views, 3), **curve_of((templates @ templates.T)[other], 1)})
        if made:
            found.append(max(made, key=lambda each: _curve(each).threshold(REPEATED_AT)))
    return found


def _fuse(
    vectors: Array, quality: npt.NDArray[np.float64] | None, rows: npt.NDArray[np.int64], width: float, network: str
) -> TrackTemplate:
    known = [None] * len(rows) if quality is None else quality[rows].tolist()
    return fuse_views([View(vectors[row], q, width, network) for row, q in zip(rows.tolist(), known, strict=True)])


def _same_person(vectors: Array, groups: list[npt.NDArray[np.int64]]) -> float:
    """Mean similarity of two probes of one person, each person counted once."""
    means = []
    for rows in groups:
        if (n := len(rows)) > 1:
            total = vectors[rows].sum(axis=0, dtype=np.float64)
            means.append((float(total @ total) - n) / (n * (n - 1)))
    return float(np.clip(np.mean(means), -0.9, 0.9))


def _log_rates(curve: Mapping[str, Any], scores: Array) -> npt.NDArray[np.float64]:
    return _curve(curve).log_fmr_of(scores)


def _curve(curve: Mapping[str, Any]) -> ImpostorCurve:
    return msgspec.convert(curve, CurveRecord).curve()
