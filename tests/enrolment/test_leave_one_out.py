"""How many photos of the enrolled people would be recognised: counted as if each photo were not enrolled."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from shell import lrface
from tiny_gallery import CONTRACT, DIM
from tiny_models import calibration, open_matcher, png, portrait, write_models

from lrface.decisions.calibration import Calibration
from lrface.enrolment.leave_one_out import PEOPLE, PHOTOS, leave_one_out
from lrface.gallery import Gallery, PhotoTemplate

RATES = (0.1, 0.001)


@pytest.fixture
def curves(tmp_path: Path) -> Calibration:
    """One stranger in 100 reaches .45, and one in 100,000 .64."""
    (tmp_path / "calibration.json").write_text(json.dumps(calibration([{"level": 32, "name": "t32", "sha256": "0"}])))
    return Calibration.load(tmp_path / "calibration.json")


def face(name: str, *parts: tuple[int, float]) -> PhotoTemplate:
    """A photo with these similarities to axes, for the rest along an axis that nobody else has."""
    vector = np.zeros(DIM, np.float32)
    for axis, similarity in parts:
        vector[axis] = similarity
    rest = np.sqrt(max(0.0, 1 - float(vector @ vector)))
    vector[DIM - 1 - sum(map(ord, name)) % (DIM // 2)] += rest
    return PhotoTemplate(name, 99.0, vector / np.linalg.norm(vector), 0.9)


def test_each_photo_is_compared_without_itself(curves: Calibration) -> None:
    with Gallery.open(":memory:", CONTRACT) as gallery:
        gallery.add("Ana", [face("a", (0, 0.9)), face("b", (0, 0.9))])  # .81 alike
        gallery.add("Bob", [face("c", (1, 0.75)), face("d", (1, 0.7))])  # .53 alike: enough for one in ten only
        gallery.add("Cleo", [face("e", (2, 0.9)), face("f", (3, 0.9))])  # not alike: unknown
        gallery.add("Dan", [face("g", (4, 0.9))])  # one photo says nothing
        many, few = leave_one_out(gallery, curves, RATES)
    assert (many.photos, many.people, many.named, many.mistaken, many.unknown) == (6, 3, 4, 0, 2)
    assert (few.named, few.mistaken, few.unknown) == (2, 0, 4)
    assert "4 of 6 photos of 3 people recognised (67 %)" in str(many)


def test_a_photo_of_somebody_else_counts_as_mistaken(curves: Calibration) -> None:
    with Gallery.open(":memory:", CONTRACT) as gallery:
        gallery.add("Ana", [face("a", (0, 0.9)), face("b", (0, 0.9)), face("c", (1, 0.9))])
        gallery.add("Bob", [face("d", (1, 0.9)), face("e", (1, 0.9))])
        found = leave_one_out(gallery, curves, RATES)[0]
    assert (found.photos, found.named, found.mistaken) == (5, 4, 1)
    assert "1 as somebody else" in str(found)


def test_a_face_that_is_said_to_be_somebody_else_is_not_recognised(curves: Calibration) -> None:
    with Gallery.open(":memory:", CONTRACT) as gallery:
        gallery.add("Ana", [face("a", (0, 0.9)), face("b", (0, 0.9))])
        assert leave_one_out(gallery, curves, RATES)[0].named == 2
        gallery.add_negative("Ana", face("a", (0, 0.9)).embedding)
        assert leave_one_out(gallery, curves, RATES)[0].named == 1
        gallery.set_retention("Ana", "2001-01-01")  # searched no longer: neither recognised nor missed
        assert leave_one_out(gallery, curves, RATES)[0].photos == 0


def test_of_a_large_gallery_only_some_are_compared(curves: Calibration) -> None:
    with Gallery.open(":memory:", CONTRACT) as gallery:
        for person in range(PEOPLE + 20):
            count = PHOTOS + 3 if person == 0 else 2
            gallery.add(f"p{person:04d}", [face(f"{person}-{n}", (person % 20, 0.9)) for n in range(count)])
        found = leave_one_out(gallery, curves, RATES)[0]
    assert (found.people, found.photos) == (PEOPLE, 2 * PEOPLE + PHOTOS - 2)


def test_lrface_thresholds_says_it(tmp_path: Path) -> None:
    models = write_models(tmp_path / "models")
    path = tmp_path / "staff.gallery"
    with open_matcher(path, models) as matcher:
        matcher.enroll("Ana", png(portrait("Ana")))
        assert "nobody has a second photo" in lrface("thresholds", path, "--models", models).stderr
        matcher.enroll("Ana", png(portrait("Ana", 1)), force=True)
    done = lrface("thresholds", path, "--models", models, "--fpir", "0.02")
    assert done.returncode == 0, done.stderr
    assert "one stranger in 50 named: 2 of 2 photos of 1 people recognised (100 %) (now)" in done.stderr
    assert "one stranger in 1,000 named" in done.stderr
    line = next(each for each in done.stderr.splitlines() if "in 50 named: expected" in each)
    assert re.search(r"of single faces: \d+ % at 12 px, .*, \d+ % at 48 px \(now\)", line)
