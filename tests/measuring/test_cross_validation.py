"""Cross-validated rates, on made-up people whose scores are known to be alike, or not."""

from __future__ import annotations

import numpy as np

from lrface.measuring.cross_validation import cross_validate, ratio_table
from lrface.measuring.statistics import Probes

MADE = {
    "schema": 3,
    "space": "s",
    "models": {},
    "enrolment": "net",
    "people": 60,
    "alignment_penalty": {"usual_error": 0.05, "rate": 6.0},
}


def people(count: int, photos: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.standard_normal((count, 24)), photos, axis=0)
    vectors = centres + 0.8 * rng.standard_normal(centres.shape)
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit, np.array([f"s/{i // photos}" for i in range(len(unit))])


def test_thresholds_from_one_half_hold_on_the_other() -> None:
    vectors, person = people(60)
    probes = [Probes("net", 0.0, None, np.arange(len(vectors)), vectors, None, np.zeros(len(vectors), np.bool_))]
    found = cross_validate(MADE, vectors, probes, person)
    assert [(r.photos, r.people) for r in found] == [(n, g) for n in (1, 5) for g in (10, 100, 1000)]
    for ratio in found:
        assert ratio.events > 0
        # 30 people are few: rare comparisons are few, too.
        assert 0.3 < ratio.ratio < 3, ratio
    assert ratio_table(found).splitlines()[-1].startswith("| net, 0 px or more | ")


def test_too_few_people_are_said_so() -> None:
    vectors, person = people(12)
    probes = [Probes("net", 0.0, None, np.arange(len(vectors)), vectors, None, np.zeros(len(vectors), np.bool_))]
    found = cross_validate(MADE, vectors, probes, person)
    assert found == []
    assert ratio_table(found) == "too few people for a cross-validation"
