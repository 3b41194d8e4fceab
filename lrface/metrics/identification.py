"""Identification: who of the enrolled is this face, if anyone? Terms of ISO/IEC 19795-1 and NIST's FRTE 1:N.

A *mated* search is that of an enrolled person, its *mate* that person; a *non-mated* search that of a stranger. Higher
similarity is closer, and a candidate counts from ``similarity >= threshold``. One score for each person: of several
templates the closest, or their mean.

Closed set (everybody is enrolled): CMC, rank-k error. Open set: FPIR, the share of non-mated searches that return
anybody; FNIR, the share of mated searches that do not return the mate within the first ranks and above the threshold;
DIR (detection and identification rate, also TPIR) = 1 - FNIR.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.floating]
Ranks = npt.NDArray[np.int64]
Curve = npt.NDArray[np.float64]

UNRANKED = int(np.iinfo(np.int64).max)
"""Rank of a mate that was not returned at all, for instance because the face was not detected."""


def mate_ranks(scores: Scores, mate: npt.NDArray[np.integer]) -> tuple[Scores, Ranks]:
    """The mate's score and rank in each mated search.

    Args:
        scores: float ``[searches, people]``.
        mate: int ``[searches]``, the column of each search's mate.

    Returns:
        The mate's score ``[searches]``, and its rank, from 1; people of equal score stand before the mate.

    Raises:
        ValueError: shapes do not fit.
    """
    if scores.ndim != 2 or mate.shape != scores.shape[:1]:
        raise ValueError(f"scores {scores.shape} and mates {mate.shape}: expected [searches, people] and [searches]")
    own = scores[np.arange(len(scores)), mate]
    return own, np.count_nonzero(scores >= own[:, None], axis=1).astype(np.int64)


def cmc(rank: Ranks, depth: int) -> Curve:
    """Cumulative match characteristic: the share of mated searches whose mate is among the first k, k = 1..depth.

    Args:
        rank: int ``[searches]``, from 1 (`mate_ranks`); `UNRANKED` where the mate was not returned.
        depth: largest k.

    Returns:
        float64 ``[depth]`` in 0..1, rising.

    Raises:
        ValueError: no search, or a rank below 1.
    """
    if len(rank) == 0 or rank.min() < 1:
        raise ValueError("a CMC needs searches, and ranks from 1")
    return np.searchsorted(np.sort(rank), np.arange(1, depth + 1), side="right") / len(rank)


def rank_error(rank: Ranks, k: int) -> float:
    """Rank-k (top-k) error: the share 0..1 of mated searches whose mate is not among the first k."""
    return 1.0 - float(cmc(rank, k)[-1])


def dir_curve(
    own: Scores, rank: Ranks, negatives: Scores, trials: int | None = None, at_rank: int = 1
) -> tuple[Curve, Curve, Curve]:
    """The open-set curve: what is identified against what is wrongly returned, threshold by threshold.

    Args:
        own: float ``[mated searches]``, the mate's score.
        rank: int ``[mated searches]``, the mate's rank; `UNRANKED` for a face that was not even detected.
        negatives: float ``[m]``, the best score of each non-mated search (and of each false detection).
        trials: what false positives are counted against: None for the number of ``negatives`` (FPIR), or the number of
            pictures (false positives a picture, as UCCS's watch-list challenge counts).
        at_rank: the mate must be among the first so many.

    Returns:
        ``(false positives a trial, DIR, threshold)``, each float64 ``[k]``, thresholds falling.

    Raises:
        ValueError: no mated search, or nothing to count false positives against.
    """
    count = _trials(own, rank, negatives, trials)
    hits = np.sort(own[rank <= at_rank].astype(np.float64))
    wrong = np.sort(negatives.astype(np.float64))
    threshold = np.unique(np.concatenate([hits, wrong]))[::-1]
    named = len(hits) - np.searchsorted(hits, threshold)
    false = len(wrong) - np.searchsorted(wrong, threshold)
    return false / count, named / len(own), threshold


def dir_at(
    own: Scores, rank: Ranks, negatives: Scores, limit: float, trials: int | None = None, at_rank: int = 1
) -> tuple[float, float]:
    """Detection and identification rate where false positives a trial are at most ``limit``; see `dir_curve`.

    Returns:
        DIR in 0..1, and the threshold: the lowest that keeps the limit.
    """
    count = _trials(own, rank, negatives, trials)
    allowed = int(np.floor(limit * count + 1e-9))
    falling = -np.sort(-negatives.astype(np.float64))
    # The lowest threshold that shuts out the first negative too many (and those of equal score).
    threshold = float(np.nextafter(falling[allowed], np.inf)) if allowed < len(falling) else -np.inf
    return float(np.count_nonzero((rank <= at_rank) & (own >= threshold)) / len(own)), threshold


def fnir_at_fpir(own: Scores, rank: Ranks, top: Scores, fpir: float, at_rank: int = 1) -> tuple[float, float]:
    """False-negative identification rate where at most a share ``fpir`` of strangers is given a name.

    Args:
        own: float ``[mated searches]``, the mate's score.
        rank: int ``[mated searches]``, the mate's rank.
        top: float ``[non-mated searches]``, the best score of each.
        fpir: 0..1.
        at_rank: the mate must be among the first so many.

    Returns:
        FNIR in 0..1, and the threshold.

    Raises:
        ValueError: no mated or no non-mated search.
    """
    found, threshold = dir_at(own, rank, top, fpir, at_rank=at_rank)
    return 1.0 - found, threshold


def _trials(own: Scores, rank: Ranks, negatives: Scores, trials: int | None) -> int:
    count = len(negatives) if trials is None else trials
    if len(own) == 0 or len(own) != len(rank) or count < 1:
        raise ValueError(f"{len(own)} mated searches with {len(rank)} ranks and {count} trials: both kinds are needed")
    return count
