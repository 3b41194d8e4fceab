"""Strangers who come back keep their identifier, and hardly anybody gets somebody else's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lrface.decisions.calibration import Calibration
from lrface.decisions.curves import ImpostorCurve
from lrface.decisions.rates import fmr_for
from lrface.measuring.statistics import Probes, statistics
from lrface.models.manifest import Manifest
from lrface.tracks.decision import curve_between
from lrface.tracks.strangers import MAX_KEPT, Strangers
from lrface.tracks.template import View, fuse_views

NET, FPIR = "net", 0.02


def asking(similarity: float) -> ImpostorCurve:
    """A curve that asks for a similarity at 1 %, and for more with each further stranger who is kept."""
    return ImpostorCurve(1000, (-2.0, -1.0), (similarity, similarity - 0.1), 0.02, 0.0)


def at(angle: float) -> np.ndarray:
    """Unit vectors in a plane: the similarity of two is the cosine of the difference of their angles."""
    return np.array([np.cos(angle), np.sin(angle)], np.float32)


@pytest.mark.parametrize(
    ("kept", "mine", "similarity", "known"),
    [
        (0.5, 0.5, 0.52, True),
        (0.5, 0.5, 0.48, False),
        (0.7, 0.5, 0.6, False),  # the one that asks for more counts: the kept track's faces were small
        (0.5, 0.7, 0.6, False),
        (None, 0.5, 1.0, False),  # nothing was measured for one of them
        (0.5, None, 1.0, False),
    ],
)
def test_two_tracks_are_of_one_stranger_if_both_curves_say_so(
    kept: float | None, mine: float | None, similarity: float, known: bool
) -> None:
    strangers = Strangers()
    curves = [None if each is None else asking(each) for each in (kept, mine)]
    first = strangers.identify(at(0.0), curves[0], 0.01, 0.0, set())
    second = strangers.identify(at(float(np.arccos(similarity))), curves[1], 0.01, 1.0, set())
    assert (first == second) is known


def test_more_is_asked_for_among_many() -> None:
    far = [asking(0.5).threshold(fmr_for(0.01, n)) for n in (1, 1000)]
    between = float(np.arccos(np.mean(far)))
    for others, known in ((0, True), (999, False)):
        strangers = Strangers()
        first = strangers.identify(at(0.0), asking(0.5), 0.01, 0.0, set())
        for i in range(others):
            strangers.keep(f"other {i}", -at(0.0), asking(0.5), 0.0)
        assert (strangers.identify(at(between), asking(0.5), 0.01, 1.0, set()) == first) is known


def test_somebody_in_view_is_nobody_else_and_the_oldest_are_forgotten() -> None:
    strangers = Strangers(retention_s=10.0)
    first = strangers.identify(at(0.0), asking(0.5), 0.01, 0.0, set())
    assert first is not None
    assert strangers.identify(at(0.0), asking(0.5), 0.01, 1.0, {first}) != first
    assert strangers.identify(at(0.0), asking(0.5), 0.01, 20.0, set()) != first
    for i in range(MAX_KEPT):
        strangers.keep(f"other {i}", at(1.5), asking(0.5), 20.0)
    again = strangers.identify(at(0.0), asking(0.5), 0.01, 20.0, set())
    assert again is not None
    assert not again.startswith("other")
    assert Strangers(0.0).identify(at(0.0), asking(0.5), 0.01, 0.0, set()) is None


def test_few_get_the_identifier_of_somebody_else(tmp_path: Path) -> None:
    """Curves of 80 made-up people, in half of whose photos a poor camera makes all alike; 60 others pass it twice."""
    rng = np.random.default_rng(0)
    camera = rng.standard_normal(24)

    def draw(people: int, photos: int, poor: np.ndarray) -> np.ndarray:
        centres = np.repeat(rng.standard_normal((people, 24)), photos, axis=0)
        found = centres + 0.5 * rng.standard_normal(centres.shape) + 0.8 * poor[:, None] * camera
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)

    poor = np.arange(80 * 16) % 2 == 1
    cohort = draw(80, 16, poor)
    person = np.array([f"s/{i // 16}" for i in range(len(cohort))])
    probes = Probes(NET, 8.0, None, np.arange(len(cohort)), cohort, None, poor)
    plain = {
        "schema": 3, "space": "made up", "models": {}, "enrolment": NET, "people": 80,
        "alignment_penalty": {"usual_error": 0.05, "rate": 6.0},
    }  # fmt: skip
    made = {**plain, **statistics(cohort, [probes], person, rng)}
    (record,) = made["tracks"]
    assert [each["views"] for each in record["between"]] == sorted(each["views"] for each in record["between"])
    (tmp_path / "calibration.json").write_text(json.dumps(made))
    calibration = Calibration.load(tmp_path / "calibration.json")

    found = {"again": 0, "wrong": 0, "visits": 0}
    for _ in range(10):
        photos = draw(60, 4, np.ones(240, np.bool_)).reshape(60, 4, 24)
        strangers, keys = Strangers(), list[str | None]()
        for visit in range(2):
            for who, own in enumerate(photos):
                views = [View(vector, None, 10.0, NET) for vector in own[2 * visit : 2 * visit + 2]]
                template = fuse_views(views)
                key = strangers.identify(template.vector, curve_between(calibration, template), FPIR, visit, set())
                found["visits"] += 1
                found["wrong"] += key in keys and not (visit and keys[who] == key)
                found["again"] += bool(visit) and keys[who] == key
                if not visit:
                    keys.append(key)
    assert found["wrong"] <= 1.5 * FPIR * found["visits"], found
    assert found["again"] >= 0.3 * found["visits"] / 2, found


def test_shipped_thresholds_of_two_small_faces_ask_for_more_than_those_of_a_face_and_a_photo() -> None:
    calibration = Calibration.of(Manifest.load())
    assert calibration.tracks
    for bands in calibration.tracks.values():
        for band in bands:
            for views in (1.0, 4.0):
                curve = band.curve_between(views)
                assert curve is not None
                if band.high <= 16:
                    assert curve.threshold(1e-3) > band.curve(views, 1).threshold(1e-3) + 0.05
