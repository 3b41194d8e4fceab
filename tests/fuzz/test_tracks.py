"""Odd views, boxes and candidates of tracks: a template and a decision that mean something, whatever the order.

`LRFACE_FUZZ_CASES=10000 pytest tests/fuzz/test_tracks.py --timeout 0` runs more cases than the 200 of every run.
"""

from __future__ import annotations

import math
import os
import random
from pathlib import Path

import numpy as np
from tiny_models import write_models

from lrface.decisions.calibration import Calibration, Population
from lrface.gallery.index import Match
from lrface.models.manifest import Manifest
from lrface.tracks.decision import decide_track, one_name_each
from lrface.tracks.template import TrackTemplate, View, fuse_views
from lrface.tracks.tracker import MotionTracker
from lrface.types import FloatArray

CASES = int(os.environ.get("LRFACE_FUZZ_CASES", "200"))
QUALITIES = [None, 0.0, -0.0, 1e-300, 0.1, 0.5, 0.9, 0.999999, 1.0]
WIDTHS = [6.0, 6.0001, 13.0, 16.0, 112.0, 1e5, 1e30]
NETWORKS = ["tiny-16", "tiny-32"]


def unit(vector: FloatArray) -> FloatArray:
    found: FloatArray = (vector / np.linalg.norm(vector)).astype(np.float32)
    return found


def odd_views(rng: random.Random, seed: int) -> list[View]:
    """Views of one person, of many, opposite ones, copies, and nearly copies."""
    numbers = np.random.default_rng(seed)
    dim = rng.choice([1, 2, 8, 128])
    base = unit(numbers.standard_normal(dim))
    views: list[View] = []
    for _ in range(rng.choice([1, 1, 2, 3, 4, 5, 8, 32])):
        vector = rng.choice(
            [
                base,
                -base,
                unit(numbers.standard_normal(dim)),
                unit(base + np.float32(1e-4) * numbers.standard_normal(dim)),
                unit(base + np.float32(0.5) * numbers.standard_normal(dim)),
                np.eye(dim, dtype=np.float32)[rng.randrange(dim)],
            ]
        )
        views.append(View(vector, rng.choice(QUALITIES), rng.choice(WIDTHS), rng.choice(NETWORKS)))
    return views + rng.choices(views, k=rng.choice([0, 0, 1, 5]))


def check_template(template: TrackTemplate, views: list[View]) -> None:
    assert abs(float(np.linalg.norm(template.vector)) - 1) < 1e-5
    assert template.vector.dtype == np.float32
    widths = [view.native_px for view in views]
    assert min(widths) * (1 - 1e-9) <= template.native_px <= max(widths) * (1 + 1e-9)
    assert template.network in {view.network for view in views}
    assert template.quality in {view.quality for view in views}
    assert abs(float(template.shares.sum()) - 1) < 1e-9
    for same_person in (-0.5, 0.0, 0.3, 0.99):
        assert 1 <= template.effective_views(same_person) <= len(views) + 1e-6


def test_templates_and_decisions(tmp_path: Path) -> None:
    manifest = Manifest.load(write_models(tmp_path / "models"))
    calibration = Calibration.of(manifest)
    for case in range(CASES):
        rng = random.Random(case)
        views = odd_views(rng, case)
        template = fuse_views(views)
        check_template(template, views)
        other = fuse_views(rng.sample(views, len(views)) + rng.choices(views, k=2))
        np.testing.assert_array_equal(other.vector, template.vector)
        people = rng.choice([1, 2, 1000, 10**7])
        matches = [
            Match(
                f"person {i}",
                rng.choice([-1.0, -1e-9, 0.0, 0.5, 0.7, 0.7 + 1e-9, 0.95, 1.0, 1.0000001]),
                rng.choice([1, 2, 5, 1000]),
                f"id {i}",
            )
            for i in range(rng.choice([0, 1, 2, 6]))
        ]
        mean = rng.choice([None, 0.0, -1.0, 0.02, 0.9, 1.0])
        population = Population(people, mean)
        fpir = rng.choice([1e-300, 1e-12, 1e-6, 0.01, 0.5, 1 - 1e-12])
        decision = decide_track(template, matches, calibration, population, fpir)
        assert (decision.person is None) == (decision.name is None) == (decision.reason != "match")
        assert len(decision.candidates) == min(5, len(matches))
        assert all(0 <= each.false_match_rate <= 1 for each in decision.candidates)
        if decision.name is not None:
            assert decision.similarity is not None
            assert decision.threshold is not None
            assert decision.similarity >= decision.threshold
            assert math.isfinite(decision.threshold)
            assert decision.name == decision.candidates[0].name
        assert str(decision.basis).isprintable()
        again = decide_track(template, rng.sample(matches, len(matches)), calibration, population, fpir)
        assert (again.name, again.threshold) == (decision.name, decision.threshold)
        seen = one_name_each([decision, again, decision], {(0, 1), (1, 2)})
        assert all(each.name is None for each in seen) or decision.name is None


def odd_boxes(rng: random.Random) -> FloatArray:
    """Boxes without an area, far outside, huge, equal, and ordinary ones."""
    boxes = []
    for _ in range(rng.choice([0, 1, 2, 5, 20])):
        x, y = rng.choice([(0.0, 0.0), (50.0, 50.0), (-1e6, 3.0), (1e7, 1e7), (rng.uniform(0, 99), rng.uniform(0, 99))])
        w, h = rng.choice([(0.0, 0.0), (10.0, 10.0), (1e6, 1e-3), (1e7, 1e7), (16.0, 20.0)])
        boxes.append((x, y, x + w, y + h))
    return np.array(boxes, np.float32).reshape(-1, 4)


def test_tracks_are_never_two_faces_of_a_frame_and_never_come_back() -> None:
    rng, tracker, time_s = random.Random(1), MotionTracker(), 0.0
    ended: set[int] = set()
    for case in range(CASES):
        time_s += rng.choice([1e-9, 0.04, 0.04, 0.5, 1.0, 5.0, 1e6])
        found = tracker.update(odd_boxes(rng), time_s)
        assert len(set(found)) == len(found), case
        assert not ended & set(found), case
        ended |= set(tracker.gone(time_s))
