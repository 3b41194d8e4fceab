"""Recall@k against a plain search."""

from __future__ import annotations

import numpy as np
import pytest

from lrface.metrics import recall_at


def slow(features: np.ndarray, labels: np.ndarray, k: int) -> float:
    found = []
    for i in range(len(features)):
        others = [j for j in range(len(features)) if j != i]
        if not any(labels[j] == labels[i] for j in others):
            continue
        near = sorted(others, key=lambda j: -float(features[i] @ features[j]))[:k]
        found.append(any(labels[j] == labels[i] for j in near))
    return sum(found) / len(found)


@pytest.mark.parametrize("block", [1, 7, 100])
def test_recall_is_that_of_a_plain_search(block: int) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 5))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    labels = np.array([*rng.integers(0, 8, 39), 99])  # the last is alone in its class
    found = recall_at(features, labels, (1, 2, 4, 8), block)
    assert found == pytest.approx({k: slow(features, labels, k) for k in (1, 2, 4, 8)})
    assert found[1] < found[8]


def test_without_mates_there_is_nothing_to_find() -> None:
    with pytest.raises(ValueError, match="no class of two"):
        recall_at(np.eye(3), np.arange(3), (1,))
    with pytest.raises(ValueError, match="give"):
        recall_at(np.eye(3), np.arange(2), (1,))
