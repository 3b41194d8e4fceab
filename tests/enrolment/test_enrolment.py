from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_models import MAGIC, TinyDetector, open_matcher, png, portrait, scene, write_models, write_people

from lrface.alignment import TEMPLATE
from lrface.enrolment.portraits import choose_face, cut_portrait, suppress_duplicates
from lrface.errors import EnrolmentError, GalleryError
from lrface.matcher import FaceMatcher
from lrface.types import Detections


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def matcher(models: Path, tmp_path: Path) -> Iterator[FaceMatcher]:
    with open_matcher(tmp_path / "staff.gallery", models) as opened:
        yield opened


def enrolled(matcher: FaceMatcher) -> dict[str, int]:
    return {person.name: person.photos for person in matcher.people()}


def test_one_photo_or_many_in_any_form(matcher: FaceMatcher, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(portrait("ana", 0)))
    assert matcher.enroll("ana", tmp_path / "a.png").photos[0].status == "enrolled"
    assert matcher.enroll("ana", str(tmp_path / "a.png")).photos[0].status == "already enrolled"
    assert matcher.enroll("ana", png(portrait("ana", 0))).photos[0].status == "already enrolled"
    report = matcher.enroll("ana", (p for p in [portrait("ana", 1), png(portrait("ana", 2)), portrait("ana", 1)]))
    assert [photo.status for photo in report.photos] == ["enrolled", "enrolled", "already enrolled"]
    assert [photo.photo for photo in report.photos] == ["photo 1", "photo 2", "photo 3"]
    assert enrolled(matcher) == {"ana": 3}


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (b"", "empty"),
        (b"GIF89a", "known format"),
        (np.zeros((9, 9), np.float32), "uint8"),
        (np.zeros((50, 50, 3), np.uint8), "no face found"),
        (scene(("a", 0, 20, 60), ("b", 100, 20, 60)), "2 faces of similar width"),
        (scene(("a", 0, 20, 60), ("b", 100, 20, 32)), "2 faces of similar width"),
        (portrait("ana", width=14), "14 px wide"),
        ("nowhere.jpg", "no picture nowhere.jpg"),
        (None, "cannot be a NoneType"),
    ],
)
def test_a_photo_that_cannot_be_used(matcher: FaceMatcher, picture: object, reason: str) -> None:
    with pytest.raises(EnrolmentError, match=f"nothing could be enrolled for ana.*{reason}"):
        matcher.enroll("ana", picture)  # type: ignore[arg-type]
    assert enrolled(matcher) == {}
    report = matcher.enroll("ana", [picture, portrait("ana")])  # type: ignore[list-item]
    assert [photo.status for photo in report.photos] == ["refused", "enrolled"]
    assert reason in report.photos[0].reason
    assert reason in str(report)
    assert enrolled(matcher) == {"ana": 1}


def test_one_photo_under_two_names_is_refused(matcher: FaceMatcher, tmp_path: Path) -> None:
    folder = write_people(tmp_path / "people", {"ana": 2, "bob": 1})
    (folder / "bob" / "misfiled.png").write_bytes((folder / "ana" / "1.png").read_bytes())
    report = matcher.enroll_folder(folder)
    assert [(Path(p.photo).name, p.reason) for p in report.refusals] == [
        ("misfiled.png", "this photo is enrolled as 'ana': keep it in one person's folder")
    ]
    assert enrolled(matcher) == {"ana": 2, "bob": 1}


def test_a_clearly_dominant_face_is_taken(matcher: FaceMatcher) -> None:
    matcher.enroll("big", scene(("small", 0, 20, 40), ("big", 100, 20, 80), ("tiny", 200, 20, 10)))
    assert [face.name for face in matcher.identify(portrait("big", 5))] == ["big"]
    assert [face.name for face in matcher.identify(portrait("small", 5))] == [None]


def test_half_a_face_seen_too_large_is_no_second_face() -> None:
    whole, half, other = [40, 30, 250, 280], [31, 70, 150, 250], [300, 30, 380, 120]
    found = Detections.from_arrays(np.array([whole, half, other]), [0.9, 0.6, 0.8], np.stack([TEMPLATE] * 3))
    assert suppress_duplicates(found).boxes.tolist() == [whole, other]
    assert len(suppress_duplicates(Detections.empty())) == 0


@pytest.mark.parametrize("images", [[], iter([])])
def test_no_photo_at_all(matcher: FaceMatcher, images: object) -> None:
    with pytest.raises(EnrolmentError, match="no photo"):
        matcher.enroll("ana", images)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", " ", "a\tb", None])
def test_names_that_are_refused(matcher: FaceMatcher, name: str) -> None:
    with pytest.raises(EnrolmentError, match="name"):
        matcher.enroll(name, portrait("ana"))
    assert enrolled(matcher) == {}


@pytest.mark.parametrize("width", [16, 30, 112])
def test_every_photo_is_embedded_by_the_network_of_enrolment(matcher: FaceMatcher, width: int) -> None:
    report = matcher.enroll("ana", portrait("ana", width=width))
    assert report.photos[0].native_px == pytest.approx(width, rel=1e-3)
    for probe in (16, 112):
        assert [face.name for face in matcher.identify(portrait("ana", 5, width=probe))] == ["ana"]


def test_copies_share_the_fate_of_their_photo(tmp_path: Path) -> None:
    """The first photo is too poor; its copy is not "already enrolled"."""
    folder = write_models(tmp_path / "models", gate=0.6)
    poor = portrait("ana")
    poor[1:] = 128 + 0.2 * (poor[1:].astype(np.float32) - 128)
    with open_matcher(":memory:", folder) as matcher:
        with pytest.raises(EnrolmentError, match=r"photo 1.*too poor.*photo 2.*too poor"):
            matcher.enroll("ana", [poor, poor.copy()])
        assert enrolled(matcher) == {}
        report = matcher.enroll("ana", [poor, poor.copy(), portrait("ana"), portrait("ana")])
        assert [photo.status for photo in report.photos] == ["refused", "refused", "enrolled", "already enrolled"]


@pytest.fixture
def people(tmp_path: Path) -> Path:
    folder = write_people(tmp_path / "people", {"ana": 3, unicodedata.normalize("NFD", "Zoë"): 1, "bob": 2})
    (folder / "nobody").mkdir()
    (folder / "damaged").mkdir()
    (folder / "damaged" / "cut.png").write_bytes(png(portrait("damaged"))[:3000])
    (folder / "damaged" / "text.jpg").write_text("I am no picture")
    (folder / "bob" / ".DS_Store").write_bytes(b"x")
    (folder / "bob" / "notes.txt").write_text("x")
    (folder / "bob" / "older").mkdir()
    (folder / "bob" / "copy.png").write_bytes((folder / "bob" / "0.png").read_bytes())
    (folder / "bob" / "group.PNG").write_bytes(png(scene(("a", 0, 20, 60), ("b", 100, 20, 60))))
    (folder / "loose.jpg").write_bytes(b"x")
    (folder / ".hidden").mkdir()
    (folder / "bad\x07name").mkdir()
    return folder


def test_a_folder_of_people(matcher: FaceMatcher, people: Path) -> None:
    report = matcher.enroll_folder(people)
    table = {p.name: (p.enrolled, p.already, p.refused, p.skipped) for p in report.people}
    assert table == {
        "Zoë": (1, 0, 0, 0),
        "ana": (3, 0, 0, 0),
        "bob": (2, 1, 1, 3),
        "damaged": (0, 0, 2, 0),
        "nobody": (0, 0, 0, 0),
    }
    assert report.without_photo == ("damaged", "nobody")
    assert enrolled(matcher) == {"ana": 3, "bob": 2, "Zoë": 1}
    reasons = {Path(photo.photo).name: photo.reason for photo in report.refusals}
    assert reasons.keys() >= {"cut.png", "text.jpg", "notes.txt", "older", ".DS_Store", "group.PNG", "loose.jpg"}
    assert all(reasons.values())
    text = str(report)
    assert "3 of 5 people in the gallery, 6 new photos" in text
    assert all(part in text for part in ("damaged", "no usable photo", "cut.png", "truncated", "bad\\x07name"))


def test_a_second_run_adds_only_what_is_new(matcher: FaceMatcher, people: Path) -> None:
    matcher.enroll_folder(people)
    again = matcher.enroll_folder(people)
    assert sum(p.enrolled for p in again.people) == 0
    assert sum(p.already for p in again.people) == 7
    (people / "ana" / "new.png").write_bytes(png(portrait("ana", 7)))
    third = matcher.enroll_folder(people)
    assert [Path(p.photo).name for p in third.photos if p.status == "enrolled"] == ["new.png"]
    assert enrolled(matcher)["ana"] == 4


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda f: None, "cannot read the folder"),
        (lambda f: f.write_text("x"), "cannot read the folder"),
        (lambda f: f.mkdir(), "holds nothing.*people/<name>"),
        (lambda f: write_people(f / "x", {"y": 1}), "move its pictures up"),
        (lambda f: (f.mkdir(), (f / "a.jpg").write_bytes(b"x")), "1 files but no folder"),
        (lambda f: (f / "ana").mkdir(parents=True), "no photo to enrol"),
        (lambda f: ((f / "a").mkdir(parents=True), (f / "a" / "b.jpg").write_bytes(b"x")), r"b\.jpg: .*known format"),
    ],
    ids=["missing", "a file", "empty", "too deep", "no folder", "a person without a photo", "no usable photo"],
)
def test_folders_with_nothing_to_enrol(matcher: FaceMatcher, tmp_path: Path, make: object, match: str) -> None:
    make(tmp_path / "folder")  # type: ignore[operator]
    with pytest.raises(EnrolmentError, match=match):
        matcher.enroll_folder(tmp_path / "folder")
    assert enrolled(matcher) == {}


class Interrupted(TinyDetector):
    """Ctrl-C while the n-th photo is looked at."""

    def __init__(self, after: int) -> None:
        self.left = after

    def detect(self, image: np.ndarray) -> Detections:
        self.left -= image[0, 0, 0] == MAGIC  # a photo is looked at in smaller sizes too
        if self.left < 0:
            raise KeyboardInterrupt
        return super().detect(image)


@pytest.mark.parametrize(
    ("after", "expected"), [(0, {}), (2, {}), (3, {"ana": 3}), (4, {"ana": 3}), (5, {"ana": 3, "bob": 2})]
)
def test_ctrl_c_leaves_every_finished_person(
    models: Path, tmp_path: Path, after: int, expected: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # With several threads the interrupt may meet an earlier photo than the one that is meant.
    monkeypatch.setattr("lrface.enrolment.preparing.usable_processors", lambda: 1)
    folder = write_people(tmp_path / "people", {"ana": 3, "bob": 2, "cem": 1})
    with open_matcher(tmp_path / "g", models) as matcher:
        matcher.detector = Interrupted(after)
        with pytest.raises(KeyboardInterrupt):
            matcher.enroll_folder(folder)
    with open_matcher(tmp_path / "g", models) as matcher:
        assert enrolled(matcher) == expected
        matcher.enroll_folder(folder)
        assert enrolled(matcher) == {"ana": 3, "bob": 2, "cem": 1}


def test_a_full_disk_in_the_middle_keeps_the_finished(matcher: FaceMatcher, tmp_path: Path) -> None:
    folder = write_people(tmp_path / "people", {"ana": 2, "bob": 40, "cem": 1})
    pages = matcher.gallery._store._connection.execute("PRAGMA page_count").fetchone()[0]
    matcher.gallery._store._connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(GalleryError, match="disk is full"):
        matcher.enroll_folder(folder)
    assert enrolled(matcher) == {"ana": 2}
    assert [face.name for face in matcher.identify(portrait("ana", 9))] == ["ana"]


@pytest.mark.parametrize("progress", [False, True])
def test_the_bar_is_on_stderr_and_only_if_asked_for(
    matcher: FaceMatcher, tmp_path: Path, capsys: pytest.CaptureFixture[str], progress: bool
) -> None:
    matcher.enroll_folder(write_people(tmp_path / "people", {"ana": 2}), progress=progress)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("2/2" in err) is progress


@pytest.mark.parametrize(
    ("faces", "chosen"),
    [
        ([(94, 0.9)], 0),
        ([(94, 0.9), (47, 0.8)], 0),
        ([(94, 0.9), (60, 0.8)], None),  # two people
        ([(94, 0.9), (60, 0.5)], 0),  # a pattern on a shirt
        ([(60, 0.9), (94, 0.5)], 0),  # a large one
        ([(94, 0.5)], 0),  # a poor photo, but only one face
    ],
)
def test_a_weak_false_alarm_is_no_second_person(faces: list[tuple[int, float]], chosen: int | None) -> None:
    boxes = np.array([[200 * i, 0, 200 * i + width, width] for i, (width, _) in enumerate(faces)])
    found = Detections.from_arrays(boxes, [score for _, score in faces], np.stack([TEMPLATE] * len(faces)))
    picked = choose_face(found)
    assert picked == chosen if chosen is not None else "crop the photo" in str(picked)


def test_a_copy_of_a_refused_photo_is_refused_too(matcher: FaceMatcher) -> None:
    matcher.enroll("ana", portrait("ana"))
    twin = portrait("ana", 1)
    with pytest.raises(EnrolmentError, match=r"photo 1: it looks like ana.*photo 2: it looks like ana"):
        matcher.enroll("bob", [twin, twin.copy()])
    assert enrolled(matcher) == {"ana": 1}


QUADRANTS = (50, 100, 150, 200)
"""Grey levels of a picture's quarters, clockwise: the upper left one tells how often the picture was turned."""


class Turned:
    """Finds a face in the upper left quarter, with a score that depends on how often the picture was turned."""

    def __init__(self, scores: dict[int, float]) -> None:
        self.scores = scores

    def detect(self, image: np.ndarray) -> Detections:
        score = self.scores.get(QUADRANTS.index(int(image[0, 0, 0])))
        if score is None:
            return Detections.empty()
        points = (TEMPLATE * 30 / 112 + 2)[None]
        return Detections(np.array([[2, 2, 32, 32]], np.float32), np.array([score], np.float32), points)


def quartered() -> np.ndarray:
    rows = [np.repeat([QUADRANTS[left], QUADRANTS[right]], 40) for left, right in ((0, 1), (3, 2))]
    return np.repeat(np.repeat(rows, 40, axis=0)[..., None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    ("scores", "turns"),
    [
        ({0: 0.95, 2: 0.99}, 0),  # a clear face is not searched turned
        ({0: 0.7, 2: 0.95}, 2),  # upside down
        ({1: 0.9}, 1),
        ({3: 0.9, 2: 0.85}, 3),
        ({0: 0.8, 2: 0.82}, 0),  # turned it is hardly clearer
        ({0: 0.7, 2: 0.76}, 0),  # turned it is not clear either
    ],
)
def test_a_photo_that_lies_on_its_side_is_turned(scores: dict[int, float], turns: int) -> None:
    found = cut_portrait(quartered(), "sha", Turned(scores))  # type: ignore[arg-type]
    assert set(np.unique(found.crop)) == {QUADRANTS[turns]}


@pytest.mark.parametrize(("score", "taken"), [(0.66, True), (0.58, False)])
def test_enrolment_asks_for_a_surer_face_than_search(score: float, taken: bool) -> None:
    if taken:
        assert cut_portrait(quartered(), "sha", Turned({0: score})).native_px > 16  # type: ignore[arg-type]
    else:
        with pytest.raises(EnrolmentError, match="not certain that this is a face"):
            cut_portrait(quartered(), "sha", Turned({0: score}))  # type: ignore[arg-type]
