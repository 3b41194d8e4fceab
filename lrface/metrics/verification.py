"""Verification: are two faces the same person?

FAR and TAR are the literature's names; where every face was detected, ISO/IEC 19795-1 calls them false-match rate
(FMR) and one minus the false-non-match rate (FNMR).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lrface.metrics.intervals import wilson_interval

Scores = npt.NDArray[np.floating]
Flags = npt.NDArray[np.bool_]


def _best_threshold(scores: Scores, same: Flags) -> float:
    """The lowest-error threshold for accept = ``score >= threshold``; of equals the highest (fewest accepts)."""
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], same[order]
    # After accepting the k best: correct = genuine among them + impostors among the rest.
    correct = np.concatenate([[0], np.cumsum(np.where(hits, 1, -1))]) + np.count_nonzero(~same)
    # A cut between equal scores is no threshold.
    possible = np.concatenate([[True], ordered[1:] != ordered[:-1], [True]])
    best = int(np.argmax(np.where(possible, correct, -1)))
    if best == 0:
        return float(np.nextafter(ordered[0], np.inf))
    if best == len(ordered):
        return float(ordered[-1])
    return float((ordered[best - 1] + ordered[best]) / 2)


def fold_accuracies(scores: Scores, same: Flags, folds: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Accuracy on each fold, its threshold chosen on all others (LFW's View 2; Huang et al., 2007).

    Args:
        scores: float ``[n]``, similarity of each pair, higher is closer.
        same: bool ``[n]``, True for a genuine pair.
        folds: int ``[n]``, the fold of each pair.

    Returns:
        float64 ``[number of folds]`` in 0..1; its mean is the figure, its standard deviation goes beside it.

    Raises:
        ValueError: lengths differ, or there are fewer than two folds.
    """
    if not len(scores) == len(same) == len(folds):
        raise ValueError(f"lengths differ: {len(scores)} scores, {len(same)} labels, {len(folds)} folds")
    names = np.unique(folds)
    if len(names) < 2:
        raise ValueError("a threshold is chosen on the other folds: at least two folds are needed")
    out = []
    for fold in names:
        inside = folds == fold
        threshold = _best_threshold(scores[~inside], same[~inside])
        out.append(np.mean((scores[inside] >= threshold) == same[inside]))
    return np.asarray(out, np.float64)


def roc(
    scores: Scores, same: Flags
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The ROC's corner points.

    Returns:
        ``(far, tar, threshold)``, each float64 ``[k]``, thresholds falling, for accept = ``score >= threshold``.

    Raises:
        ValueError: there is no genuine or no impostor pair.
    """
    if same.all() or not same.any():
        raise ValueError("a ROC needs genuine and impostor pairs")
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order].astype(np.float64), same[order]
    last = np.append(ordered[1:] != ordered[:-1], True)
    tar = np.cumsum(hits)[last] / np.count_nonzero(same)
    far = np.cumsum(~hits)[last] / np.count_nonzero(~same)
    return far, tar, ordered[last]


def tar_at_far(scores: Scores, same: Flags, far: float) -> float:
    """Largest true accept rate (0..1) at a threshold whose false accept rate is at most ``far`` (0..1)."""
    false_rate, true_rate, _ = roc(scores, same)
    allowed = true_rate[false_rate <= far]
    return float(allowed[-1]) if len(allowed) else 0.0


def tar_interval(scores: Scores, same: Flags, far: float, confidence: float = 0.95) -> tuple[float, float, float]:
    """``tar_at_far`` with Wilson's interval over the genuine pairs.

    The threshold is taken as given: how far it would move with other impostors is not in the interval, and matters
    where ``far`` times their number is a handful.

    Returns:
        The rate, lower and upper bound, 0..1.
    """
    tar, genuine = tar_at_far(scores, same, far), int(np.count_nonzero(same))
    return (tar, *wilson_interval(round(tar * genuine), genuine, confidence))


def det(
    scores: Scores, same: Flags
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Detection error trade-off (ISO/IEC 19795-1): the errors of either kind at every threshold.

    Returns:
        ``(fmr, fnmr, threshold)``, each float64 ``[k]``, thresholds falling, so FMR rising and FNMR falling.

    Raises:
        ValueError: there is no genuine or no impostor pair.
    """
    far, tar, threshold = roc(scores, same)
    return far, 1.0 - tar, threshold
