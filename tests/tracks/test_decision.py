from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from tiny_models import write_models

from lrface.decisions.calibration import Calibration, Population
from lrface.decisions.tracks import TrackBandRecord, track_bands
from lrface.gallery.index import Match
from lrface.models.manifest import Manifest
from lrface.tracks.decision import decide_track, one_name_each
from lrface.tracks.template import View, fuse_views
from lrface.types import Reason

NET = "tiny-16"
ONE = Population(1)


def curve(views, similarity):
    data = {"photos": 1, "comparisons": 1000, "fmr": [0.1, 0.01, 0.001], "tail": {"scale": 0.01, "shape": 0.0}}
    return {**data, "similarity": similarity, "views": views}


@pytest.fixture(scope="module")
def thresholds(tmp_path_factory):
    """Of one view at 1 %: 0.45, of four: 0.55; a track's rate is twice that of one decision."""
    plain = Calibration.of(Manifest.load(write_models(tmp_path_factory.mktemp("m"))))
    record = {
        "network": NET, "widths": [0, None], "same_person": 0.3, "repeats": 2.0,
        "curves": [curve(1.0, [0.3, 0.45, 0.5]), curve(4.0, [0.4, 0.55, 0.6])],
    }  # fmt: skip
    return plain, replace(plain, tracks=track_bands([msgspec.convert(record, TrackBandRecord)]))


def template(views):
    vectors = np.linalg.qr(np.random.default_rng(0).standard_normal((64, views)))[0].T
    return fuse_views([View(vector.astype(np.float32), 0.5, 16.0, NET) for vector in vectors])


def match(name, similarity):
    return Match(name, similarity, 1, f"id-{name}")


@pytest.mark.parametrize(
    ("views", "matches", "reason"),
    [
        (1, [("Ada", 0.46)], Reason.BELOW_THRESHOLD),  # enough for a face at 1 %, not for a track
        (1, [("Ada", 0.48)], Reason.MATCH),
        (3, [("Ada", 0.48)], Reason.BELOW_THRESHOLD),  # counted as four views
        (3, [("Ada", 0.58), ("Bob", 0.5)], Reason.MATCH),
        (3, [("Ada", 0.58), ("Bob", 0.575)], Reason.TIE),
        (3, [], Reason.EMPTY_GALLERY),
    ],
)
def test_one_decision_a_track(thresholds, views, matches, reason):
    found = decide_track(template(views), [match(*each) for each in matches], thresholds[1], ONE, 0.01)
    assert found.reason == reason
    assert (found.name, found.person) == (("Ada", "id-Ada") if reason == Reason.MATCH else (None, None))
    assert found.views == pytest.approx(views)
    assert not matches or f"{views:.1f} effective views" in found.basis


def test_a_group_has_its_own_rate(thresholds):
    found = decide_track(template(1), [Match("Ada", 0.46, 1, "id", fpir=0.1, among=2)], thresholds[1], ONE, 0.01)
    assert found.name == "Ada"
    assert found.basis.startswith("at most 0.1 of strangers' tracks named among 2 people")


def test_without_thresholds_for_tracks_one_view_decides_by_a_stricter_rate(thresholds):
    found = decide_track(template(1), [match("Ada", 0.46)], thresholds[0], ONE, 0.01)
    assert found.reason == Reason.BELOW_THRESHOLD
    assert decide_track(template(1), [match("Ada", 0.56)], thresholds[0], ONE, 0.01).name == "Ada"


@pytest.mark.parametrize(
    ("similarities", "together", "named"),
    [
        ((0.6, 0.7), {(0, 1)}, (False, True)),
        ((0.6, 0.7), set(), (True, True)),  # never seen together: one person who left and came back
        ((0.7, 0.7), {(0, 1)}, (False, False)),
        ((0.6, 0.7, 0.8), {(0, 1), (1, 2)}, (True, False, True)),
    ],
)
def test_two_tracks_in_view_together_never_have_one_name(thresholds, similarities, together, named):
    decisions = [
        decide_track(template(3), [match("Ada", similarity)], thresholds[1], ONE, 0.01) for similarity in similarities
    ]
    found = one_name_each(decisions, together)
    assert tuple(each.name == "Ada" for each in found) == named
    assert all(each.reason == Reason.TAKEN for each, kept in zip(found, named, strict=True) if not kept)
