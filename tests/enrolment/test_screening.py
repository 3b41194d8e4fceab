"""Which photos are refused at enrolment, by hand-made templates and through the whole enrolment."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_gallery import CONTRACT, DIM
from tiny_models import TinyDetector, calibration, open_matcher, portrait, scene, write_models, write_people

from lrface.decisions.calibration import Calibration
from lrface.embedding.quality import AlignmentPenalty, alignment_adjusted_quality
from lrface.enrolment.screening import EnrolmentGate
from lrface.errors import EnrolmentError
from lrface.gallery import Gallery, PhotoTemplate
from lrface.types import Detections

ENTRIES = [{"level": 32, "name": "t32", "sha256": "0"}]


def load(tmp_path: Path) -> Calibration:
    """Curves by which one stranger in 100 reaches .45, and one in 100,000 .64."""
    path = tmp_path / "calibration.json"
    made = calibration(ENTRIES)
    (wide,) = made["probes"]
    made["probes"] = [wide | {"widths": [0, 20]}, wide | {"widths": [20, None], "min_quality": 0.3}]
    path.write_text(json.dumps(made))
    return Calibration.load(path)


def screen(tmp_path: Path, vectors: np.ndarray) -> EnrolmentGate:
    with Gallery.open(":memory:", CONTRACT) as gallery:
        for i, vector in enumerate(vectors):
            gallery.add(f"p{i}", [PhotoTemplate(f"{i:064x}", 99.0, vector)])
        return EnrolmentGate(gallery.search_index(), load(tmp_path))


def axes(count: int) -> np.ndarray:
    """People who resemble nobody."""
    return np.eye(DIM, dtype=np.float32)[:count]


def towards(vectors: np.ndarray, similarity: float) -> np.ndarray:
    """A vector of unit length with this similarity to each of some orthogonal ones."""
    out = similarity * vectors.sum(axis=0)
    out[-1] = np.sqrt(1 - np.square(out).sum())
    return out.astype(np.float32)


@pytest.mark.parametrize(("quality", "refused"), [(None, False), (0.29, True), (0.3, False), (0.9, False)])
def test_a_poor_face(tmp_path: Path, quality: float | None, refused: bool) -> None:
    made = screen(tmp_path, axes(0))
    assert ("too poor" in (made.rejection_reason("new", 32.0, axes(1)[0], quality) or "")) is refused
    assert made.rejection_reason("new", 16.0, axes(1)[0], quality) is None  # no limit at this width


@pytest.mark.parametrize(("similarity", "refused"), [(0.5, False), (0.58, False), (0.72, True), (0.99, True)])
def test_another_persons_face(tmp_path: Path, similarity: float, refused: bool) -> None:
    people = axes(10)
    made = screen(tmp_path, people)
    probe = towards(people[3:4], similarity)
    reason = made.rejection_reason("new", 32.0, probe, None)
    assert (reason is not None) is refused
    if reason is not None:
        assert "looks like p3" in reason
        assert "--force" in reason
    assert made.rejection_reason("p3", 32.0, probe, None) is None  # that very person


def test_people_enrolled_meanwhile_count_too(tmp_path: Path) -> None:
    made = screen(tmp_path, axes(3))
    twin = towards(axes(6)[5:], 0.9)
    assert made.rejection_reason("twin", 32.0, twin, None) is None
    made.add("late", [axes(6)[5], axes(6)[5]])
    assert "looks like late" in (made.rejection_reason("twin", 32.0, twin, None) or "")


def test_somebody_enrolled_from_small_photos_only_is_seen_too(tmp_path: Path) -> None:
    with Gallery.open(":memory:", CONTRACT) as gallery:
        gallery.add("small", [PhotoTemplate(f"{1:064x}", 17.0, axes(1)[0])])
        gate = EnrolmentGate(gallery.search_index(), load(tmp_path))
    assert "looks like small" in (gate.rejection_reason("new", 99.0, towards(axes(1), 0.9), None) or "")
    assert gate.rejection_reason("small", 99.0, towards(axes(1), 0.9), None) is None
    assert gate.rejection_reason("new", 99.0, axes(2)[1], None) is None


@pytest.mark.parametrize(("drawn", "of", "refused"), [(4, 40, False), (5, 40, True), (5, 20, False)])
def test_a_face_that_attracts_strangers(tmp_path: Path, drawn: int, of: int, refused: bool) -> None:
    """At a similarity of .5 to `drawn` people; each alone is no reason to refuse."""
    people, centre = axes(of), axes(DIM)[-1]
    people[:drawn] = 0.5 * centre + np.sqrt(0.75) * people[:drawn]
    reason = screen(tmp_path, people).rejection_reason("new", 32.0, centre, None)
    assert (f"looks like {drawn} of the {of} people" in (reason or "")) is refused


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


def test_one_face_under_two_names(models: Path, tmp_path: Path) -> None:
    folder = write_people(tmp_path / "people", {"ana": 2, "bob": 2})
    cv2.imwrite(str(folder / "bob" / "misfiled.png"), portrait("ana", 7))
    cv2.imwrite(str(folder / "ana" / "more.png"), portrait("ana", 8))
    with open_matcher(tmp_path / "g", models) as matcher:
        report = matcher.enroll_folder(folder)
        assert [(Path(p.photo).name, "looks like ana" in p.reason) for p in report.refusals] == [("misfiled.png", True)]
        with pytest.raises(EnrolmentError, match=r"looks like bob.*force"):
            matcher.enroll("robert", portrait("bob", 9))
        assert {p.name: p.photos for p in matcher.people()} == {"ana": 3, "bob": 2}
        assert matcher.enroll("robert", portrait("bob", 9), force=True).photos[0].status == "enrolled"
        assert len(matcher.people()) == 3


def flat(name: str, photo: int, contrast: float) -> np.ndarray:
    """A portrait with little contrast; its first row tells the tiny detector where the face is."""
    picture = scene((name, 20, 20, 112), photo=photo)
    picture[1:] = (128 + contrast * (picture[1:].astype(np.float32) - 128)).astype(np.uint8)
    return picture


class Unsure(TinyDetector):
    """Knows how far off its landmarks may be."""

    def __init__(self, error: float) -> None:
        self.error = error

    def detect(self, image: np.ndarray) -> Detections:
        found = super().detect(image)
        return replace(found, landmark_errors=np.full(len(found), self.error, np.float32))


def test_quality_is_measured_gated_and_told(tmp_path: Path) -> None:
    """The tiny models' quality is contrast."""
    folder = write_models(tmp_path / "models", gate=0.6)
    with open_matcher(tmp_path / "g", folder) as matcher:
        with pytest.raises(EnrolmentError, match=r"too poor.*sharper"):
            matcher.enroll("ana", flat("ana", 1, 0.2))
        report = matcher.enroll("ana", [flat("ana", 1, 0.2), portrait("ana")])
        assert [photo.status for photo in report.photos] == ["refused", "enrolled"]
        assert report.photos[0].quality < 0.6 < report.photos[1].quality  # type: ignore[operator]
        good, poor = matcher.identify(portrait("ana", 3))[0], matcher.identify(flat("ana", 3, 0.2))[0]
        assert (good.name, good.reason) == ("ana", "match")
        assert poor.quality is not None
        assert (poor.name, poor.quality < 0.6) == ("ana", True)  # a match is a match
        matcher.detector = Unsure(0.4)
        doubted = matcher.identify(portrait("ana", 3))[0]
        assert doubted.quality == pytest.approx(alignment_adjusted_quality(good.quality, 0.4, AlignmentPenalty()))
        assert (doubted.name, matcher.identify(portrait("nobody", 3))[0].reason) == ("ana", "too poor")
        assert matcher.enroll("bo", portrait("bo")).photos[0].quality > 0.6  # type: ignore[operator]  # of a still photo
        matcher.detector = TinyDetector()
        stranger = matcher.identify(flat("somebody else", 3, 0.2))[0]
        assert (stranger.name, stranger.reason) == (None, "too poor")
        assert "too poor to decide" in stranger.explain()
        assert poor.to_dict()["quality"] == pytest.approx(poor.quality, abs=1e-5)
