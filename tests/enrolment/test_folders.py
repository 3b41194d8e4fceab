"""Enrolment of a folder: several photos simultaneously, only what is new, a table and contact sheets."""

from __future__ import annotations

import csv
import hashlib
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_models import TinyDetector, open_matcher, png, portrait, write_models, write_people

from lrface.enrolment import enroller, preparing
from lrface.enrolment.screening import EnrolmentGate
from lrface.errors import EnrolmentError, LrfaceError
from lrface.gallery import Gallery
from lrface.matcher import FaceMatcher
from lrface.outputs.enrolment_files import EnrolmentFiles
from lrface.types import Detections

PEOPLE = {"Ana": 3, "Bob": 1, "Cid": 2, "Dan": 4}


class CountingDetector(TinyDetector):
    """Waits until two photos are looked at simultaneously, if it should."""

    def __init__(self, together: int = 1) -> None:
        self.calls = 0
        self._lock, self._barrier = threading.Lock(), threading.Barrier(together)

    def detect(self, image: np.ndarray) -> Detections:
        with self._lock:
            self.calls += 1
            first = self.calls <= self._barrier.parties
        if first:
            self._barrier.wait(60)
        return super().detect(image)


def enrol(
    tmp_path: Path, detector: TinyDetector, out: Path | None = None, judge: str = "", force: bool = False
) -> list[tuple[str, str]]:
    models = tmp_path / "models"
    if not models.exists():
        write_models(models)
    with FaceMatcher.open(tmp_path / "staff.gallery", models=models, detector=detector) as matcher:
        matcher._judge = judge  # of a detector of one's own it is unknown
        if out is None:
            report = matcher.enroll_folder(tmp_path / "people", force=force)
        else:
            with EnrolmentFiles(out) as files:
                report = matcher.enroll_folder(tmp_path / "people", on_photo=files.write)
    return [(Path(photo.photo).name, photo.status) for photo in report.photos]


def test_photos_are_looked_at_simultaneously_and_told_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_people(tmp_path / "people", PEOPLE)
    monkeypatch.setattr(preparing, "usable_processors", lambda: 3)
    found = enrol(tmp_path, CountingDetector(together=3))  # three at once, or the barrier breaks
    assert found == [(f"{n}.png", "enrolled") for count in PEOPLE.values() for n in range(count)]


def test_a_second_run_looks_only_at_what_is_new(tmp_path: Path) -> None:
    people = write_people(tmp_path / "people", PEOPLE)
    enrol(tmp_path, TinyDetector())
    write_people(people, {"Eva": 1})
    (people / "Bob" / "0.png").write_bytes(png(portrait("Bob", 9)))  # changed
    again = CountingDetector()
    found = enrol(tmp_path, again)
    assert again.calls == 2
    assert [status for _, status in found].count("enrolled") == 2


@pytest.mark.parametrize("key", [None, "ab" * 32])
def test_photos_that_were_refused_are_not_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    if key:
        monkeypatch.setenv("LRFACE_GALLERY_KEY", key)
    people = write_people(tmp_path / "people", PEOPLE)
    (people / "Bob" / "empty.png").write_bytes(png(np.full((90, 60, 3), 200, np.uint8)))
    (people / "Bob" / "broken.png").write_bytes(b"no picture")
    again = cv2.imencode(".png", cv2.imread(str(people / "Dan" / "0.png")), [cv2.IMWRITE_PNG_COMPRESSION, 0])[1]
    (people / "Dan" / "copy.png").write_bytes(again.tobytes())
    first = enrol(tmp_path, TinyDetector(), judge="a")
    assert [status for _, status in first].count("enrolled") == 10
    looked = []
    look = preparing.cut_portrait
    monkeypatch.setattr(preparing, "cut_portrait", lambda *photo: (looked.append(photo[1]), look(*photo))[1])

    def looks(**options: object) -> int:
        looked.clear()
        found = enrol(tmp_path, TinyDetector(), **options)  # type: ignore[arg-type]
        kept = {"enrolled": "already enrolled"}
        assert [status for _, status in found] == [kept.get(status, status) for _, status in first]
        return len(looked)

    assert looks(judge="a") == 0
    assert looks(judge="a", force=True) == 3
    assert looks(judge="b") == 3, "another detector may find a face"
    assert looks(judge="b") == 0
    with open_matcher(tmp_path / "staff.gallery", tmp_path / "models") as matcher:
        matcher._judge = "b"
        looked.clear()
        with pytest.raises(EnrolmentError, match="no face found"):
            matcher.enroll("Bob", people / "Bob" / "empty.png")  # asked for one by one, it is looked at
        assert len(looked) == 1
    with Gallery.open(tmp_path / "staff.gallery") as gallery:
        gallery.remove("Ana")
        gallery.compact()
    refused = hashlib.sha256(b"no picture").hexdigest()
    assert refused.encode() not in (tmp_path / "staff.gallery").read_bytes(), "it may show who was removed"
    assert enrol(tmp_path, TinyDetector(), judge="b")[0] == ("0.png", "enrolled")
    with Gallery.open(tmp_path / "staff.gallery") as gallery:
        original = gallery.stored_hash(hashlib.sha256((people / "Dan" / "0.png").read_bytes()).hexdigest())
        gallery.remove_photo("Dan", original)
    (people / "Dan" / "0.png").unlink()
    assert dict(enrol(tmp_path, TinyDetector(), judge="b"))["copy.png"] == "enrolled", "no copy of anything any more"


def test_the_bundled_detector_is_a_judge_and_one_of_the_users_own_is_none(tmp_path: Path) -> None:
    with FaceMatcher.open(":memory:") as usual, FaceMatcher.open(":memory:", min_face=20) as other:
        assert len({usual._judge, other._judge, ""}) == 3
    with FaceMatcher.open(":memory:", detector=TinyDetector()) as own:
        assert own._judge == ""


def test_a_photo_more_like_its_own_person_than_like_another_is_taken_at_once(tmp_path: Path) -> None:
    """Also if it comes before the others of the person; so a second run finds nothing more to take."""

    def mixed(a: str, share: float, b: str) -> np.ndarray:
        picture = cv2.addWeighted(portrait(a), share, portrait(b), 1 - share, 0)
        picture[0] = portrait(b)[0]  # where the detector reads
        return picture

    people = write_people(tmp_path / "people", {"Ana": 1})
    for name, share in (("Bob", 0.46), ("Cid", 0.6)):  # the one more like himself, the other one more like Ana
        (people / name).mkdir()
        (people / name / "0.png").write_bytes(png(mixed("Ana", share, name)))
        (people / name / "1.png").write_bytes(png(portrait(name)))
    first = enrol(tmp_path, TinyDetector())
    assert [status for _, status in first] == ["enrolled", "enrolled", "enrolled", "refused", "enrolled"]
    again = [status for _, status in enrol(tmp_path, TinyDetector())]
    assert again == ["already enrolled"] * 3 + ["refused", "already enrolled"]


def test_a_face_under_two_names_is_noticed_however_long_the_folder_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who were enrolled before are compared one by one or, after some, by the gallery's index."""
    people = write_people(tmp_path / "people", {f"p{i}": 1 for i in range(9)})
    for i in range(0, 9, 4):
        (people / f"q{i}").mkdir()
        (people / f"q{i}" / "0.png").write_bytes(png(portrait(f"p{i}") // 2 * 2))
    monkeypatch.setattr(enroller, "LATE", 3)
    late = []
    add = EnrolmentGate.add
    monkeypatch.setattr(EnrolmentGate, "add", lambda self, *person: (late.append(self.late), add(self, *person)))
    found = enrol(tmp_path, TinyDetector())
    assert [status for _, status in found] == ["enrolled"] * 9 + ["refused"] * 3
    assert max(late) == 2


def test_a_photo_in_two_folders_belongs_to_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = write_people(tmp_path / "people", {"Ana": 1, "Bob": 1})
    (people / "Bob" / "1.png").write_bytes((people / "Ana" / "0.png").read_bytes())
    monkeypatch.setattr(preparing, "usable_processors", lambda: 4)  # both are prepared before one is stored
    assert enrol(tmp_path, TinyDetector()) == [("0.png", "enrolled"), ("0.png", "enrolled"), ("1.png", "refused")]


def test_table_and_contact_sheets(tmp_path: Path) -> None:
    people = write_people(tmp_path / "people", {"=Ana": 2, "Bob": 50})
    (people / "Bob" / "empty.png").write_bytes(png(np.full((90, 60, 3), 200, np.uint8)))
    (people / "Bob" / "broken.png").write_bytes(b"no picture")
    (people / "Bob" / "notes.txt").write_text("no picture")
    enrol(tmp_path, TinyDetector(), tmp_path / "seen")
    enrol(tmp_path, TinyDetector(), tmp_path / "seen")
    first, second = sorted((tmp_path / "seen").iterdir())
    assert sorted(path.name for path in first.iterdir()) == ["report.csv", "sheet-001.jpg", "sheet-002.jpg"]
    tables = []
    for folder in (first, second):
        with (folder / "report.csv").open(encoding="utf-8", newline="") as file:
            tables.append({(row["name"], Path(row["photo"]).name): row for row in csv.DictReader(file)})
    row = tables[0]["'=Ana", "0.png"]
    assert (row["status"], row["reason"], float(row["native_px"]) > 50) == ("enrolled", "", True)
    assert tables[1]["'=Ana", "0.png"]["status"] == "already enrolled"
    for name, status in (("empty.png", "refused"), ("broken.png", "refused"), ("notes.txt", "skipped")):
        assert tables[0]["Bob", name]["status"] == status
        assert tables[0]["Bob", name]["reason"]
    sheet = cv2.imread(str(first / "sheet-001.jpg"))
    face = cv2.resize(portrait("=Ana")[20:132, 20:132], (112, 112))
    assert np.abs(sheet[4:116, 4:116].astype(int) - face).mean() < 12
    with pytest.raises(LrfaceError, match="URL"):
        EnrolmentFiles("https://example.org/seen")


def test_a_run_that_looks_at_nothing_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(LrfaceError, match="cannot read the folder"):
        enrol(tmp_path, TinyDetector(), tmp_path / "seen")
    assert list((tmp_path / "seen").iterdir()) == []


def test_copies_of_a_photo_count_once(shared: Path, tmp_path: Path) -> None:
    """Real photos: saved again, smaller and mirrored they are the same photo; another photo of the person is not."""
    photos = sorted((shared / "data" / "images" / "cast" / "enroll" / "amy").iterdir())[:2]
    first = cv2.imread(str(photos[0]))
    half = cv2.resize(first, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    copies = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in (first, half, first[:, ::-1])]
    with FaceMatcher.open(":memory:") as matcher:
        report = matcher.enroll("amy", [photos[0], *copies[:2], photos[1]])
        assert [photo.status for photo in report.photos] == ["enrolled", *["already enrolled"] * 2, "enrolled"]
        (later,) = matcher.enroll("amy", [copies[2]]).photos
        assert (later.status, "a copy" in later.reason) == ("already enrolled", True)
        assert len(matcher.gallery.photos("amy")) == 2
