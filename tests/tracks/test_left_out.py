"""How many tracks of the enrolled people would be recognised, counted as if the track's photos were not enrolled."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_gallery import CONTRACT, DIM
from tiny_models import calibration

from lrface.decisions.calibration import Calibration
from lrface.gallery import Gallery, PhotoTemplate
from lrface.tracks.left_out import tracks_left_out

RATES = (0.1, 0.001)


@pytest.fixture
def curves(tmp_path: Path) -> Calibration:
    """For a face and for a track: one stranger in 100 reaches .45, and one in 100,000 .64."""
    made = calibration([{"level": 32, "name": "t32", "sha256": "0"}])
    band = {"network": "t32", "widths": [0, None], "same_person": 0.3, "repeats": 1.0}
    made["tracks"] = [{**band, "curves": made["probes"][0]["curves"]}]
    (tmp_path / "calibration.json").write_text(json.dumps(made))
    return Calibration.load(tmp_path / "calibration.json")


def photos(seed: int, axis: int, similarity: float, count: int) -> list[PhotoTemplate]:
    """So similar to an axis each, and not alike besides."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        rest = rng.normal(size=DIM)
        rest[:8] = 0
        vector = np.sqrt(1 - similarity**2) * rest / np.linalg.norm(rest)
        vector[axis] = similarity
        made.append(PhotoTemplate(f"{seed} {i}", 99.0, vector.astype(np.float32), 0.9))
    return made


def test_a_track_of_several_photos_is_compared_with_the_others(curves: Calibration) -> None:
    with Gallery.open(":memory:", CONTRACT) as gallery:
        gallery.add("Ana", photos(1, 0, 0.8, 12))  # four together are alike enough, although two are not
        gallery.add("Bob", [*photos(2, 1, 0.8, 4), *photos(3, 2, 0.8, 4)])  # two faces: what is left is both
        gallery.add("Cleo", photos(4, 3, 0.8, 4))  # nothing would be left
        found = tracks_left_out(gallery, curves, RATES)
        many, few = (found[rate] for rate in RATES)
        assert [(each.views, each.tracks, each.mistaken) for each in many.values()] == [(4, 2, 0), (8, 1, 0)]
        assert (many[4].named, many[8].named, few[8].named) == (2, 1, 1)
        assert str(few[8]) == "1 of 1 tracks of 8 photos (100 %)"
        gallery.add("Ana's twin", photos(5, 0, 0.99, 3))
        found = tracks_left_out(gallery, curves, [0.1])
        assert (found[0.1][4].named, found[0.1][4].mistaken) == (1, 1)
        assert "1 as somebody else" in str(found[0.1][4])


def test_nothing_is_said_without_thresholds_for_tracks_or_photos(tmp_path: Path, curves: Calibration) -> None:
    with Gallery.open(":memory:", CONTRACT) as gallery:
        assert tracks_left_out(gallery, curves, RATES) == {0.1: {}, 0.001: {}}
        gallery.add("Ana", photos(1, 0, 0.8, 5))
        single = calibration([{"level": 32, "name": "t32", "sha256": "0"}])
        (tmp_path / "faces only.json").write_text(json.dumps(single))
        faces_only = Calibration.load(tmp_path / "faces only.json")
        assert tracks_left_out(gallery, faces_only, RATES) == {0.1: {}, 0.001: {}}
