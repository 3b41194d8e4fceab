"""What `lrface gallery check` finds: wrong photos, one person under two names, hubs, poor photos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from shell import lrface
from tiny_gallery import CONTRACT, DIM
from tiny_models import calibration, open_matcher, png, portrait, write_models

from lrface.decisions.calibration import Calibration
from lrface.enrolment.checking import ALIKE, HUB, POOR, UNLIKE, Finding, check_gallery, fix
from lrface.gallery import Gallery, PhotoTemplate
from lrface.matcher import FaceMatcher


@pytest.fixture
def curves(tmp_path: Path) -> Calibration:
    """One stranger in 100 reaches .45, and one in 100,000 .64; a face needs a quality of .3."""
    made = calibration([{"level": 32, "name": "t32", "sha256": "0"}])
    made["probes"][0]["min_quality"] = 0.3
    (tmp_path / "calibration.json").write_text(json.dumps(made))
    return Calibration.load(tmp_path / "calibration.json")


def near(axis: int, similarity: float, other: int, quality: float = 0.9) -> PhotoTemplate:
    """A photo with this similarity to one axis, for the rest along another one."""
    vector = np.zeros(DIM, np.float32)
    vector[axis], vector[other] = similarity, np.sqrt(1 - similarity**2)
    return PhotoTemplate(f"{axis:02d}{other:02d}{round(1000 * similarity):04d}", 99.0, vector, quality)


def kinds(findings: list[Finding]) -> list[tuple[str, str, str, bool]]:
    return [(found.kind, found.name, found.photo, found.removable) for found in findings]


def test_nothing_is_found_in_a_good_gallery(curves: Calibration) -> None:
    with Gallery.open(":memory:", CONTRACT) as gallery:
        assert check_gallery(gallery, curves) == []
        for person in range(4):
            gallery.add(f"p{person}", [near(person, 0.9, 10 + 3 * person + n) for n in range(3)])
        assert check_gallery(gallery, curves) == []


def test_a_photo_of_somebody_else_is_found_and_removed(curves: Calibration) -> None:
    with Gallery.open(":memory:", CONTRACT) as gallery:
        wrong = near(40, 0.9, 41)
        gallery.add("Ana", [*(near(0, 0.9, 10 + n) for n in range(3)), wrong])
        found = check_gallery(gallery, curves)
        assert kinds(found) == [(UNLIKE, "Ana", wrong.sha256, True)]
        assert len(gallery.photos("Ana")) == 4  # nothing without fix
        assert fix(gallery, found) == 1
        assert wrong.sha256 not in [photo.sha256 for photo in gallery.photos("Ana")]
        assert check_gallery(gallery, curves) == []


def test_two_photos_that_differ_are_left_to_the_user(curves: Calibration) -> None:
    with Gallery.open(":memory:", CONTRACT) as gallery:
        gallery.add("Ana", [near(0, 0.9, 10), near(1, 0.9, 11)])
        found = check_gallery(gallery, curves)
        assert kinds(found) == [(UNLIKE, "Ana", "", False)]
        assert fix(gallery, found) == 0


def test_one_person_under_two_names_is_told_once(curves: Calibration) -> None:
    with Gallery.open(":memory:", CONTRACT) as gallery:
        gallery.add("Ana", [near(0, 0.95, 10), near(0, 0.95, 11)])
        gallery.add("Anna", [near(0, 0.95, 12)])
        gallery.add("Bob", [near(1, 0.95, 13)])
        (found,) = check_gallery(gallery, curves)
        assert (found.kind, {found.name, found.other}, found.removable) == (ALIKE, {"Ana", "Anna"}, False)
        assert "gallery merge" in found.suggestion
        gallery.merge("Anna", "Ana")
        assert check_gallery(gallery, curves) == []


@pytest.mark.parametrize(("people", "found"), [(35, True), (45, False)])
def test_a_photo_that_resembles_over_a_tenth_is_found(curves: Calibration, people: int, found: bool) -> None:
    with Gallery.open(":memory:", CONTRACT) as gallery:
        for person in range(people):
            gallery.add(f"p{person:02d}", [near(person, 0.999, 63)])
        crowd = np.zeros(DIM, np.float32)
        crowd[:4], crowd[62] = 0.48, np.sqrt(1 - 4 * 0.48**2)
        gallery.add("hub", [PhotoTemplate("crowd", 99.0, crowd, 0.9)])
        hubs = [finding for finding in check_gallery(gallery, curves) if finding.kind == HUB]
        assert kinds(hubs) == ([(HUB, "hub", "crowd", False)] if found else [])  # the only photo is not removed


def test_many_people_are_checked_like_few(curves: Calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a large gallery, 8 bits and a sample say first who may be alike: the findings are the same."""
    rng = np.random.default_rng(0)
    with Gallery.open(":memory:", CONTRACT) as gallery:
        for person in range(240):
            towards = near(person % 2, 0.6 if person < 60 else 0.1, 2 + person % 60).embedding
            noisy = [towards + 0.04 * rng.standard_normal(DIM) for _ in range(1 + person % 2)]
            vectors = [(each / np.linalg.norm(each)).astype(np.float32) for each in noisy]
            photos = [PhotoTemplate(f"{person:03d}{n}", 99.0, vector, 0.9) for n, vector in enumerate(vectors)]
            gallery.add(f"p{person:03d}", photos)
        gallery.add("hub", [near(0, 0.95, 1)])
        few = check_gallery(gallery, curves)
        monkeypatch.setattr("lrface.gallery.index._SAMPLE", 100)
        monkeypatch.setattr("lrface.gallery.scan.MANY_PEOPLE", 10)
        many = check_gallery(gallery, curves)
    assert {finding.kind for finding in few} == {ALIKE, HUB}
    # Of two people with one photo each, either may be told first.
    found = [{(finding.kind, frozenset((finding.name, finding.other))) for finding in each} for each in (few, many)]
    assert found[0] == found[1]
    assert len([finding for finding in few if finding.kind == ALIKE]) > 20


def test_poor_photos_go_but_never_the_last(curves: Calibration) -> None:
    with Gallery.open(":memory:", CONTRACT) as gallery:
        gallery.add("Ana", [near(0, 0.9, 10), near(0, 0.9, 11, quality=0.1)])
        gallery.add("Bob", [near(1, 0.9, 12, quality=0.2), near(1, 0.9, 13, quality=0.1)])
        found = check_gallery(gallery, curves)
        assert [(f.kind, f.name, f.removable) for f in found].count((POOR, "Bob", False)) == 1
        assert len(found) == 3
        assert fix(gallery, found) == 2
        assert [(person.name, person.photos) for person in gallery.people()] == [("Ana", 1), ("Bob", 1)]


def test_the_command(tmp_path: Path) -> None:
    models, gallery = write_models(tmp_path / "models"), tmp_path / "staff.gallery"
    with open_matcher(gallery, models) as matcher:
        matcher.enroll("Ana", [png(portrait("Ana", n)) for n in range(3)])
        matcher.enroll("Ana", png(portrait("Zoe", 7)), force=True)
    done = lrface("gallery", "check", gallery, "--models", models, "--json")
    assert "nothing was changed" in done.stderr
    record = json.loads(done.stdout)
    assert (record["name"], record["removable"]) == ("Ana", True)
    done = lrface("gallery", "check", gallery, "--models", models, "--fix")
    assert done.stdout.startswith("unlike the rest\tremovable\tAna\t")
    assert "1 photos removed" in done.stderr
    with open_matcher(gallery, models) as matcher:
        assert [photo.sha256 for photo in matcher.gallery.photos("Ana")].count(record["photo"]) == 0
        assert len(matcher.gallery.photos("Ana")) == 3


def test_real_people(shared: Path) -> None:
    """A photo of Sheldon among Amy's is found, and he who is enrolled twice; nobody else is suspected."""
    cast = shared / "data" / "images" / "cast" / "enroll"
    photos = {name: sorted((cast / name).iterdir()) for name in ("amy", "penny", "raj", "sheldon")}
    with FaceMatcher.open(":memory:") as matcher:
        matcher.enroll("amy", [*photos["amy"][:3], photos["sheldon"][4]], force=True)
        matcher.enroll("penny", photos["penny"][:3])
        matcher.enroll("raj", photos["raj"][:2])
        matcher.enroll("rajesh", photos["raj"][2:4], force=True)
        found = check_gallery(matcher.gallery, matcher.calibration)
        assert {(f.kind, f.name) for f in found if f.kind != ALIKE} == {(UNLIKE, "amy")}
        assert [{f.name, f.other} for f in found if f.kind == ALIKE] == [{"raj", "rajesh"}]
        assert fix(matcher.gallery, found) == 1
        assert len(matcher.gallery.photos("amy")) == 3
        assert not [f for f in check_gallery(matcher.gallery, matcher.calibration) if f.kind == UNLIKE]
