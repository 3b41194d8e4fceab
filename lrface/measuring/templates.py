"""Templates of people that are measured, made of some of their photos each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lrface.decisions.curves import OWN_SHARES
from lrface.embedding.templates import fuse

DRAWS = 5
"""Templates a person at most, each of other photos."""

LEAST_OWN = 100
"""Fewer comparisons with people's own templates say nothing of how often they are recognised."""

Array = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Templates:
    """Templates of people: owners, photos' rows of each, unit vectors ``[m, dim]``."""

    owners: list[str]
    photos: list[Rows]
    vectors: Array


def templates_of(clean: Array, groups: Mapping[str, Rows], count: int, draws: int = DRAWS) -> Templates:
    """Templates of ``count`` photos of each person, at most ``draws`` of each, no photo twice."""
    owners, chosen = _choose(groups, count, draws)
    sums = [clean[photos].sum(axis=0) for photos in chosen]
    return Templates(owners, chosen, fuse(np.stack(sums)) if sums else np.zeros((0, clean.shape[1]), np.float32))


def own_scores(scores: Array, subject: npt.NDArray[np.str_], made_of: Rows, templates: Templates) -> dict[str, Any]:
    """How similar probes are to their own person's templates: `own` of a curve; nothing for too few comparisons.

    Args:
        scores: of the probes and templates ``[n, m]``.
        subject: whose the probes are ``[n]``.
        made_of: rows of the photos that each probe was made of ``[n, photos]``.
        templates: ``m`` of them; a probe is not compared with one that a photo of it is in.
    """
    own = subject[:, None] == np.array(templates.owners)[None, :]
    for column, photos in enumerate(templates.photos):
        own[np.isin(made_of, photos).any(axis=1), column] = False
    if own.sum() < LEAST_OWN:
        return {}
    shares = np.quantile(scores[own], OWN_SHARES)
    return {"own": {"comparisons": int(own.sum()), "similarity": shares.astype(float).round(5).tolist()}}


def _choose(groups: Mapping[str, Rows], count: int, draws: int) -> tuple[list[str], list[Rows]]:
    """Owners and photos of templates of ``count`` photos, at most ``draws`` a person, no photo twice."""
    drawn = [
        (name, rows[i * count : (i + 1) * count])
        for name, rows in groups.items()
        for i in range(min(draws, (len(rows) - 1) // count))
    ]
    return [name for name, _ in drawn], [rows for _, rows in drawn]
