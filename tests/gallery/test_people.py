"""What can be done with an enrolled person: rename, merge, tags, groups, retention, negative examples, the log."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_gallery import CONTRACT, names, photo, vector

from lrface.errors import GalleryError, LrfaceError
from lrface.gallery import Gallery
from lrface.gallery.settings import Group

KEY = bytes(range(32))


@pytest.fixture(params=["plain", "encrypted", "milvus"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def key(kind: str) -> bytes | None:
    return KEY if kind == "encrypted" else None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "staff.gallery"


@pytest.fixture
def place(request: pytest.FixtureRequest, path: Path, kind: str) -> str | Path:
    return request.getfixturevalue("milvus").empty("staff") if kind == "milvus" else path


@pytest.fixture
def gallery(place: str | Path, key: bytes | None) -> Iterator[Gallery]:
    with Gallery.open(place, CONTRACT, key=key) as opened:
        opened.add("Ana", [photo(1), photo(2)])
        opened.add("Bob", [photo(3)])
        yield opened
        assert opened.verify() == []


def test_a_new_name_leaves_the_id(gallery: Gallery) -> None:
    identity = gallery.person("Ana").id
    gallery.rename(identity, "  Ana  María ")
    assert [(p.name, p.photos) for p in gallery.people()] == [("Ana María", 2), ("Bob", 1)]
    assert gallery.person("Ana María").id == identity
    assert names(gallery, photo(1).embedding, 1) == ["Ana María"]
    with pytest.raises(GalleryError, match="merge them"):
        gallery.rename("Ana María", "Bob")


def test_people_come_in_pages(place: str | Path, key: bytes | None) -> None:
    with Gallery.open(place, CONTRACT, key=key) as opened:
        for seed, name in enumerate(("Émile", "Bo", "ana", "Zoë", "Ana", "Čapek")):
            opened.add(name, [photo(seed), photo(seed + 100)])
        everybody = opened.people()
        assert [person.name for person in everybody] == sorted(person.name for person in everybody)
        assert opened.people(most=2) == everybody[:2]
        assert opened.people(everybody[1].name, 3) == everybody[2:5]
        assert opened.people("Bn", 1) == [person for person in everybody if person.name == "Bo"]
        assert opened.people(everybody[-1].name, 3) == []
        assert opened.people(everybody[2].name) == everybody[3:]


def test_two_entries_become_one(gallery: Gallery) -> None:
    gallery.set_tags("Bob", ["tall"])
    gallery.set_metadata("Bob", {"room": 7, "floor": 1})
    gallery.set_metadata("Ana", {"room": 5})
    kept = gallery.person("Ana").id
    gallery.merge("Bob", "Ana")
    (person,) = gallery.people()
    assert (person.id, person.name, person.photos, person.tags) == (kept, "Ana", 3, ("tall",))
    assert person.metadata == {"room": 5, "floor": 1}
    assert gallery.owner(photo(3).sha256) == "Ana"
    with pytest.raises(GalleryError, match="same person"):
        gallery.merge("Ana", kept)


def test_photos_go_one_by_one(gallery: Gallery) -> None:
    first, second = gallery.photos("Ana")
    assert first.added.endswith("Z")
    gallery.remove_photo("Ana", first.sha256[:40] if first.sha256[:40] != second.sha256[:40] else first.sha256)
    assert [p.sha256 for p in gallery.photos("Ana")] == [second.sha256]
    for sha256, match in [("ffff", "no photo"), (second.sha256, "only photo")]:
        with pytest.raises(GalleryError, match=match):
            gallery.remove_photo("Ana", sha256)
    (found,) = gallery.search(second.embedding[None], 1)[0]
    assert (found.name, found.photos, found.similarity) == ("Ana", 1, pytest.approx(1, abs=1e-5))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda g: g.rename("nobody", "x"), "nobody called"),
        (lambda g: g.rename("Ana", "a/b"), "name"),
        (lambda g: g.set_metadata("Ana", {"x": object()}), "JSON"),
        (lambda g: g.set_metadata("Ana", {"x": float("nan")}), "JSON"),
        (lambda g: g.set_metadata("Ana", {"x": "y" * 70_000}), "64 KiB"),
        (lambda g: g.set_groups("Ana", ["staff"]), "no group"),
        (lambda g: g.set_group("staff", Group(fpir=2.0)), "fpir"),
        (lambda g: g.set_group("staff", Group(valid_until="tomorrow")), "not a day"),
        (lambda g: g.set_group("staff", None), "there is none"),
        (lambda g: g.set_retention("Ana", "2027-02-30"), "not a day"),
        (lambda g: g.add_negative("Ana", vector(1) * 2), "unit length"),
        (lambda g: g.add_negative("Ana", vector(1)[:3]), "does not fit"),
    ],
)
def test_what_is_refused_changes_nothing(gallery: Gallery, change: Callable[[Gallery], object], match: str) -> None:
    before = gallery.audit_log()
    with pytest.raises(LrfaceError, match=match):
        change(gallery)
    assert gallery.audit_log() == before


def test_a_face_that_is_not_hers_does_not_name_her_again(gallery: Gallery) -> None:
    ana = photo(1).embedding + photo(2).embedding
    stranger = (ana + 0.9 * vector(99)).astype(np.float32)
    stranger /= np.linalg.norm(stranger)
    again = (stranger + 0.1 * vector(98)).astype(np.float32)
    again /= np.linalg.norm(again)
    assert names(gallery, again, 1) == ["Ana"]
    gallery.add_negative("Ana", stranger)
    assert names(gallery, again) == ["Bob"]
    assert names(gallery, photo(1).embedding, 1) == ["Ana"]


def test_groups_have_rates_and_days_of_their_own(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    today = dt.date.today()
    gallery.set_group("watch", Group(fpir=0.1, valid_until=today.isoformat()))
    gallery.set_groups("Bob", ["watch"])
    (found,) = gallery.search(photo(3).embedding[None], 1)[0]
    assert (found.name, found.fpir, found.among) == ("Bob", 0.1, 1)
    (found,) = gallery.search(photo(1).embedding[None], 1)[0]
    assert (found.name, found.fpir) == ("Ana", None)
    with pytest.raises(GalleryError, match="is in it"):
        gallery.set_group("watch", None)
    gallery.set_group("watch", Group(valid_until=(today - dt.timedelta(days=1)).isoformat()))
    assert names(gallery, photo(3).embedding) == ["Ana"]
    assert len(gallery) == 2
    gallery.set_groups("Bob", [])
    assert names(gallery, photo(3).embedding, 1) == ["Bob"]
    gallery.set_group("watch", None)
    assert gallery.groups() == {}


def test_nobody_is_kept_longer_than_said(gallery: Gallery) -> None:
    today = dt.date.today()
    gallery.set_retention("Bob", (today - dt.timedelta(days=1)).isoformat())
    gallery.set_retention("Ana", today.isoformat())
    assert names(gallery, photo(3).embedding) == ["Ana"]
    bob = gallery.person("Bob").id
    assert gallery.expire() == [bob]
    assert [p.name for p in gallery.people()] == ["Ana"]
    assert gallery.audit_log()[-1].action == "person removed: retention ended"
    assert gallery.expire(today + dt.timedelta(days=1)) == [gallery.audit_log()[0].person]
    assert len(gallery) == 0


def test_the_log_tells_who_did_what_when(gallery: Gallery, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRFACE_ACTOR", "reception")
    identity = gallery.person("Ana").id
    gallery.remove("Ana")
    last = gallery.audit_log()[-1]
    assert (last.actor, last.action, last.person, last.detail) == ("reception", "person removed", identity, "2 photos")
    assert [entry.number for entry in gallery.audit_log()] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE audit SET actor = 'somebody else' WHERE seq = 2",
        "DELETE FROM audit WHERE seq = 2",
        "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)",
        "UPDATE audit SET hash = x'00' WHERE seq = 1",
    ],
)
def test_a_log_that_is_altered_is_noticed(path: Path, damage: str) -> None:
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("Ana", [photo(1)])
        gallery.add("Bob", [photo(2)])
    with sqlite3.connect(path) as connection:
        connection.execute(damage)
    connection.close()
    with Gallery.open(path, CONTRACT) as gallery:
        (entry,) = gallery.verify()
        assert "audit log" in entry.reason
        gallery.remove_damaged()
        assert gallery.verify() == []
        assert len(gallery) == 2


def test_nothing_of_a_person_is_left_by_whatever_way_it_went(path: Path) -> None:
    with Gallery.open(path, CONTRACT) as gallery:
        for number in range(30):
            gallery.add(f"person {number}", [photo(1000 + number)])
        gallery.add("Anastasia", [photo(1), photo(2)])
        gallery.set_metadata("Anastasia", {"note": "works in the cellar"})
        gallery.set_tags("Anastasia", ["left-handed"])
        gallery.add_negative("Anastasia", vector(77))
        gallery.rename("Anastasia", "Persephone")
        gallery.remove("Persephone")
        gallery.compact()
        traces = [b"Anastasia", b"Persephone", b"cellar", b"left-handed", vector(77)[:8].tobytes()]
        traces += [v for seed in (1, 2) for v in (photo(seed).embedding[:8].tobytes(), photo(seed).sha256.encode())]
        for file in path.parent.iterdir():
            content = file.read_bytes()
            assert [trace for trace in traces if trace in content] == [], file.name


@pytest.mark.parametrize("key", [None, KEY])
def test_a_snapshot_is_a_gallery_of_one_moment(path: Path, key: bytes | None, tmp_path: Path) -> None:
    with Gallery.open(path, CONTRACT, key=key) as gallery:
        gallery.add("Ana", [photo(1), photo(2)])
        gallery.add("Bob", [photo(3)])
        gallery.snapshot(tmp_path / "copy")
        gallery.remove("Ana")
        with Gallery.open(tmp_path / "copy", CONTRACT, key=key) as copy:
            assert [p.name for p in copy.people()] == ["Ana", "Bob"]
            assert copy.verify() == []
        with pytest.raises(GalleryError, match="there already"):
            gallery.snapshot(tmp_path / "copy")


def test_an_encrypted_file_tells_nothing(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with Gallery.open(path, CONTRACT, key=lambda: KEY) as gallery:
        gallery.add("Anastasia", [photo(1)])
        gallery.set_tags("Anastasia", ["left-handed"])
    content = path.read_bytes()
    for trace in (b"Anastasia", b"left-handed", photo(1).embedding[:2].tobytes(), photo(1).sha256.encode()):
        assert trace not in content
    (tmp_path / "key").write_text(KEY.hex() + "\n")
    monkeypatch.setenv("LRFACE_GALLERY_KEY_FILE", str(tmp_path / "key"))
    with Gallery.open(path, CONTRACT) as gallery:
        assert gallery.owner(photo(1).sha256) == "Anastasia"
        assert names(gallery, photo(1).embedding) == ["Anastasia"]


@pytest.mark.parametrize(
    ("stored", "given", "match"),
    [
        (KEY, None, "is encrypted: give its key"),
        (KEY, bytes(32), "another key"),
        (KEY, b"short", "32 bytes"),
        (None, KEY, "not encrypted"),
    ],
)
def test_a_wrong_key_is_a_clear_error(path: Path, stored: bytes | None, given: bytes | None, match: str) -> None:
    with Gallery.open(path, CONTRACT, key=stored) as gallery:
        gallery.add("Ana", [photo(1)])
    before = path.read_bytes()
    with pytest.raises(GalleryError, match=match):
        Gallery.open(path, CONTRACT, key=given)
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["nonsense", "0123"])
def test_a_key_in_the_environment_that_is_none(path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("LRFACE_GALLERY_KEY", text)
    with pytest.raises(GalleryError, match="key"):
        Gallery.open(path, CONTRACT)
