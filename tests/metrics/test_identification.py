from __future__ import annotations

import numpy as np
import pytest

from lrface.metrics import UNRANKED, cmc, dir_at, dir_curve, fnir_at_fpir, mate_ranks, rank_error

# Four mated searches over three people, by hand; mates in columns 0, 1, 2, 0.
SCORES = np.array([[0.9, 0.1, 0.2], [0.5, 0.4, 0.1], [0.3, 0.6, 0.3], [0.2, 0.2, 0.1]])
MATES = np.array([0, 1, 2, 0])
OWN, RANK = np.array([0.9, 0.4, 0.3, 0.2]), np.array([1, 2, 3, 2])


def test_ranks_by_hand_and_ties_against_the_mate() -> None:
    own, rank = mate_ranks(SCORES, MATES)
    assert own.tolist() == OWN.tolist()
    assert rank.tolist() == RANK.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_cmc_equals_sorting_each_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, mate = np.round(rng.normal(size=(50, 8)), 1), rng.integers(0, 8, 50)
    scores[np.arange(50), mate] += 1
    slow = np.zeros(8)
    for row, who in zip(scores, mate, strict=True):
        # by falling score, the mate last among equals
        order = sorted(range(8), key=lambda i: (-row[i], i == who))
        slow[order.index(who) :] += 1 / 50
    assert cmc(mate_ranks(scores, mate)[1], 8) == pytest.approx(slow)


def test_closed_set_by_hand() -> None:
    assert cmc(RANK, 4).tolist() == [0.25, 0.75, 1.0, 1.0]
    assert (rank_error(RANK, 1), rank_error(RANK, 2), rank_error(RANK, 5)) == (0.75, 0.25, 0.0)
    assert cmc(np.array([1, UNRANKED]), 100)[-1] == 0.5


@pytest.mark.parametrize(
    ("fpir", "at_rank", "fnir", "named"),
    [
        (0.0, 1, 0.75, 0),  # threshold just above .35: only the first search, at rank 1
        (0.0, 2, 0.5, 0),  # the second is at rank 2
        (0.5, 2, 0.5, 1),  # one of two strangers may be named: threshold just above .25
        (0.99, 3, 0.25, 1),
        (1.0, 3, 0.0, 2),
    ],
)
def test_open_set_by_hand(fpir: float, at_rank: int, fnir: float, named: int) -> None:
    top = np.array([0.25, 0.35])
    found, threshold = fnir_at_fpir(OWN, RANK, top, fpir, at_rank)
    assert found == pytest.approx(fnir)
    assert np.count_nonzero(top >= threshold) == named


@pytest.mark.parametrize("trials", [None, 7])
@pytest.mark.parametrize("seed", range(3))
def test_open_set_equals_trying_every_threshold(seed: int, trials: int | None) -> None:
    rng = np.random.default_rng(seed)
    own, rank = np.round(rng.normal(1, 1, 60), 1), rng.integers(1, 4, 60)
    negatives = np.round(rng.normal(0, 1, 40), 1)
    false, found, threshold = dir_curve(own, rank, negatives, trials, at_rank=2)
    for f, d, t in zip(false, found, threshold, strict=True):
        assert f == pytest.approx(sum(s >= t for s in negatives) / (trials or 40))
        assert d == pytest.approx(sum(s >= t and r <= 2 for s, r in zip(own, rank, strict=True)) / 60)
    for limit in (0.0, 0.1, 0.33, 0.9, 100.0):
        allowed = [d for f, d in zip(false, found, strict=True) if f <= limit + 1e-12]
        assert dir_at(own, rank, negatives, limit, trials, 2)[0] == pytest.approx(max(allowed, default=0.0))


def test_a_face_that_was_not_detected_is_a_miss_even_without_a_threshold() -> None:
    own, rank = np.array([0.5, -np.inf]), np.array([1, UNRANKED])
    assert dir_at(own, rank, np.array([0.9]), 1.0)[0] == 0.5


def test_no_false_positive_at_all_needs_no_threshold() -> None:
    assert dir_at(OWN, RANK, np.zeros(0), 0.1, trials=10, at_rank=3) == (1.0, -np.inf)


@pytest.mark.parametrize(
    "call",
    [
        lambda: mate_ranks(SCORES, MATES[:2]),
        lambda: cmc(np.array([0, 1]), 3),
        lambda: cmc(np.zeros(0, np.int64), 3),
        lambda: fnir_at_fpir(OWN, RANK, np.zeros(0), 0.1),
        lambda: fnir_at_fpir(OWN[:0], RANK[:0], OWN, 0.1),
        lambda: dir_curve(OWN, RANK[:2], OWN),
    ],
)
def test_unusable_searches_are_refused(call) -> None:
    with pytest.raises(ValueError, match=r"expected|needs|needed"):
        call()
