from __future__ import annotations

import numpy as np
import pytest

from lrface.metrics import det, roc, tar_at_far, tar_interval, wilson_interval


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (1, 3), (7, 10), (10, 10), (2963, 3000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_is_scipys(hits: int, trials: int, confidence: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    slow = stats.binomtest(hits, trials).proportion_ci(confidence, method="wilson")
    assert wilson_interval(hits, trials, confidence) == pytest.approx((slow.low, slow.high))


def test_wilson_covers_the_truth_as_often_as_it_says() -> None:
    hits = np.random.default_rng(0).binomial(200, 0.9, 2000)
    inside = [low <= 0.9 <= high for low, high in (wilson_interval(int(h), 200) for h in hits)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(("hits", "trials", "confidence"), [(0, 0, 0.95), (3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)])
def test_an_interval_of_nothing_is_refused(hits: int, trials: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="no interval"):
        wilson_interval(hits, trials, confidence)


def test_tar_with_its_interval_by_hand() -> None:
    scores = np.array([9, 8, 7, 6, 5, 4, 3, 2], float)
    same = np.array([1, 1, 0, 1, 0, 1, 0, 0], bool)
    tar, low, high = tar_interval(scores, same, 0.25)
    assert tar == tar_at_far(scores, same, 0.25) == 0.75
    assert (low, high) == pytest.approx((0.3006, 0.9544), abs=1e-4)


def test_det_counts_the_errors_of_either_kind() -> None:
    rng = np.random.default_rng(1)
    same = rng.random(200) < 0.4
    scores = np.round(rng.normal(same * 1.0, 1), 1)
    fmr, fnmr, threshold = det(scores, same)
    assert np.array_equal(threshold, roc(scores, same)[2])
    for m, n, t in zip(fmr, fnmr, threshold, strict=True):
        assert m == pytest.approx(np.mean(scores[~same] >= t))
        assert n == pytest.approx(np.mean(scores[same] < t))
