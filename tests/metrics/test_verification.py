from __future__ import annotations

import numpy as np
import pytest

from lrface.metrics import fold_accuracies, roc, tar_at_far


def _slow_best_threshold_accuracy(train_scores, train_same, scores, same):
    """Try every threshold on the training pairs, apply the best to the others."""
    values = np.unique(train_scores)
    cuts = [values[0] - 1, *((values[1:] + values[:-1]) / 2), values[-1] + 1]
    best = max(np.mean((train_scores >= c) == train_same) for c in cuts)
    return {np.mean((scores >= c) == same) for c in cuts if np.mean((train_scores >= c) == train_same) == best}


@pytest.mark.parametrize("seed", range(5))
def test_fold_accuracy_equals_trying_every_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    same = rng.random(120) < 0.5
    scores = np.round(rng.normal(same * 1.0, 1), 2)  # rounded: ties must not be cut apart
    folds = np.repeat(np.arange(4), 30)
    for fold, accuracy in enumerate(fold_accuracies(scores, same, folds)):
        inside = folds == fold
        assert accuracy in _slow_best_threshold_accuracy(scores[~inside], same[~inside], scores[inside], same[inside])


def test_perfect_and_reversed_scores() -> None:
    same = np.array([True, False] * 10)
    folds = np.repeat([0, 1], 10)
    assert fold_accuracies(same * 1.0, same, folds).tolist() == [1.0, 1.0]
    assert fold_accuracies(-1.0 * same, same, folds).mean() <= 0.5


def test_a_threshold_is_never_chosen_on_its_own_fold() -> None:
    # Fold 1's scores are shifted; its own best threshold would be perfect, fold 0's is not.
    scores = np.array([0.0, 1.0, 5.0, 6.0])
    same = np.array([False, True, False, True])
    assert fold_accuracies(scores, same, np.array([0, 0, 1, 1])).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("far", "expected"),
    [(0.0, 0.5), (0.24, 0.5), (0.25, 0.75), (0.5, 1.0), (1.0, 1.0)],
)
def test_tar_at_far_by_hand(far: float, expected: float) -> None:
    scores = np.array([9, 8, 7, 6, 5, 4, 3, 2], float)
    same = np.array([1, 1, 0, 1, 0, 1, 0, 0], bool)
    assert tar_at_far(scores, same, far) == expected


def test_tied_scores_are_accepted_together() -> None:
    far, tar, threshold = roc(np.array([1.0, 1.0, 0.0]), np.array([True, False, False]))
    assert (far.tolist(), tar.tolist(), threshold.tolist()) == ([0.5, 1.0], [1.0, 1.0], [1.0, 0.0])


@pytest.mark.parametrize(
    ("scores", "same", "folds"),
    [(np.zeros(3), np.zeros(2, bool), np.zeros(3, int)), (np.zeros(2), np.array([True, False]), np.zeros(2, int))],
)
def test_unusable_pairs_are_refused(scores, same, folds) -> None:
    with pytest.raises(ValueError, match=r"differ|two folds"):
        fold_accuracies(scores, same, folds)


def test_roc_needs_both_kinds() -> None:
    with pytest.raises(ValueError, match="genuine and impostor"):
        roc(np.zeros(2), np.ones(2, bool))
