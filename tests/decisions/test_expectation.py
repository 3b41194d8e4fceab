"""How many small faces of the enrolled people are expected to stay unknown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import calibration, embedder_bytes, embedder_entry

from lrface.decisions.calibration import Calibration, Population
from lrface.decisions.curves import OWN_SHARES
from lrface.decisions.expectation import Enrolled, expected_missed, expected_tracks_missed
from lrface.decisions.rates import fmr_for

NETWORKS = {12.0: "tiny-16", 30.0: "tiny-32"}
RATES = (0.1, 0.001)


def load(tmp_path: Path, change: Any = lambda made: None) -> Calibration:
    made = calibration([embedder_entry(level, embedder_bytes(level)) for level in (16, 32)])
    change(made)
    (tmp_path / "calibration.json").write_text(json.dumps(made))
    return Calibration.load(tmp_path / "calibration.json")


def test_what_is_missed_follows_from_the_thresholds_of_this_gallery(tmp_path: Path) -> None:
    made = load(tmp_path)
    for size in (1, 500):  # a share s of a person's own faces is less like the template than s
        enrolled = Enrolled(Population(size), {1: size})
        found = expected_missed(made, enrolled, NETWORKS, RATES)
        for rate in RATES:
            for width, network in NETWORKS.items():
                needed = made.threshold(network, width, 1, enrolled.population, rate)
                assert found[rate][width] == pytest.approx(needed)
    assert expected_missed(made, Enrolled(Population(0), {}), NETWORKS, RATES) == {rate: {} for rate in RATES}


def test_people_with_more_photos_are_missed_less(tmp_path: Path) -> None:
    def better(made: dict[str, Any]) -> None:
        for band in made["probes"]:
            band["curves"][1]["own"]["similarity"] = [0.9 + share / 10 for share in OWN_SHARES]

    made = load(tmp_path, better)
    one, many, half = (
        expected_missed(made, Enrolled(Population(10), photos), NETWORKS, [0.01])[0.01][12.0]
        for photos in ({1: 10}, {5: 10}, {1: 5, 4: 5})
    )
    assert many == 0 < half < one
    assert half == pytest.approx(one / 2)


def test_people_who_resemble_each_other_are_missed_more_and_never_less(tmp_path: Path) -> None:
    made = load(tmp_path)

    def missed(mean: float) -> float:
        return expected_missed(made, Enrolled(Population(30, mean), {1: 30}), NETWORKS, [0.01])[0.01][30.0]

    assert missed(0.2) == pytest.approx(missed(0.0) + 0.2)
    assert missed(-0.1) == pytest.approx(missed(0.0))


def test_nothing_is_said_of_what_was_not_measured(tmp_path: Path) -> None:
    def older(made: dict[str, Any]) -> None:
        for curve in made["probes"][0]["curves"]:
            del curve["own"]

    found = expected_missed(load(tmp_path, older), Enrolled(Population(3), {1: 3}), NETWORKS, RATES)
    assert [list(each) for each in found.values()] == [[30.0], [30.0]]


def with_tracks(made: dict[str, Any]) -> None:
    """Tracks of the smaller network, whose own people are .1 and .2 more like their templates than single faces."""
    single = made["probes"][0]
    made["tracks"] = [
        {
            "network": single["network"], "widths": [0, None], "same_person": 0.3, "repeats": 2.0,
            "curves": [
                {**curve, "views": views, "drawn": drawn,
                 "own": {"comparisons": 500, "similarity": [min(1.0, s + gain) for s in OWN_SHARES]}}
                for views, drawn, gain in ((1.0, 1, 0.0), (3.2, 4, 0.1), (5.0, 8, 0.2)) for curve in single["curves"]
            ],
        }
    ]  # fmt: skip


def test_of_tracks_of_more_views_fewer_are_missed_by_the_thresholds_of_tracks(tmp_path: Path) -> None:
    made, enrolled = load(tmp_path, with_tracks), Enrolled(Population(30, 0.05), {1: 20, 5: 10})
    for rate in RATES:
        found = expected_tracks_missed(made, enrolled, NETWORKS, RATES)[rate]
        curve = made.tracks["tiny-16"][0].curve(3.2, 1)
        threshold = curve.threshold(fmr_for(rate, 30) / 2.0) + 0.05  # a track has two chances; these people are alike
        assert list(found) == [4, 8]  # tracks of the other network were not measured
        assert found[4] == {12.0: pytest.approx(threshold - 0.1)}
        assert found[8] == {12.0: pytest.approx(threshold - 0.2)}
    assert expected_tracks_missed(made, Enrolled(Population(0), {}), NETWORKS, RATES) == {rate: {} for rate in RATES}
    assert expected_tracks_missed(load(tmp_path), enrolled, NETWORKS, RATES) == {rate: {} for rate in RATES}


def test_the_share_that_is_missed_rises_with_the_threshold(tmp_path: Path) -> None:
    curve = load(tmp_path).band("tiny-16", 12.0).curve(1)
    shares = [curve.missed(threshold) for threshold in np.linspace(-1, 2, 50)]
    assert shares == sorted(shares, key=float)  # type: ignore[arg-type]
    assert (shares[0], shares[-1]) == (0.0, 1.0)
