"""Values in a gallery that are not what was written, or that nobody may have written: found, named, repaired."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_gallery import CONTRACT, names, photo, vector

from lrface.errors import GalleryError
from lrface.gallery import Gallery, PhotoTemplate
from lrface.gallery.records import digest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "staff.gallery"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "[" * 200_000,
        '{"a":' * 150_000,
        "1e999",
        "9" * 5000,
        *(
            CONTRACT.to_json().replace(*change)
            for change in [
                ('"dim": 64', '"dim": -64'),
                ('"dim": 64', '"dim": 1e999'),
                ('"dim": 64', '"dim": 65536'),
                ('"dim": 64', '"dim": true'),
                ('"dim": 64', '"dim": 1' + "0" * 400),
                ('"dim": 64', '"dim": "64"'),
                ("127.5", "Infinity"),
                ("127.5", "NaN"),
                ("127.5", "1" + "0" * 400),
                ("127.5", "1e400"),
                ("127.5", "[[[[1]]]]"),
                ('"32"', '"-16"'),
                ('"32"', '"\\u00b2"'),
                ('"32"', '"16/../x"'),
                ('"t32"', '"t\\u000016"'),
                ('"t32"', "16"),
                ('"tiny"', '"\\ud800"'),
                ('"normalized": true', '"normalized": 1'),
                ('"space"', '"spaces"'),
            ]
        ),
    ],
)
def test_contracts_from_elsewhere(path: Path, text: str) -> None:
    """With a checksum that is right: it tells damage, not malice."""
    with Gallery.open(path, CONTRACT) as made:
        made.set_fpir(0.1)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE contract SET json = ?, checksum = ?", (text, digest(text.encode())))
    connection.close()
    start = time.monotonic()
    with pytest.raises(GalleryError, match=r"contract is damaged.*enrol"):
        Gallery.open(path)
    assert time.monotonic() - start < 2


def test_the_damage_of_one_person_leaves_the_others(path: Path) -> None:
    with Gallery.open(path, CONTRACT) as gallery:
        for seed, name in enumerate(["ana", "bob", "cem"]):
            gallery.add(name, [photo(seed), photo(seed + 10)])
    blob = photo(11).embedding.tobytes()
    broken = path.read_bytes().replace(blob, blob[:7] + bytes([blob[7] ^ 0x40]) + blob[8:])
    path.write_bytes(broken)
    with Gallery.open(path, CONTRACT) as gallery:
        for call in (
            lambda: names(gallery, vector(32)),
            gallery.people,
            lambda: gallery.add("bob", [photo(20)]),
            lambda: gallery.owner(photo(1).sha256),
        ):
            with pytest.raises(GalleryError, match=r"'bob'.*checksum of a photo.*enrol these people again"):
                call()
        assert [(entry.name, entry.reason) for entry in gallery.verify()] == [
            ("bob", "the checksum of a photo is wrong")
        ]
        assert gallery.owner(photo(2).sha256) == "cem"
    copy = path.with_name("copy")
    copy.write_bytes(broken)
    with Gallery.open(path, CONTRACT) as gallery, Gallery.open(copy, CONTRACT) as other:
        assert gallery.remove("bob") == 2
        assert [entry.name for entry in other.remove_damaged()] == ["bob"]
        for repaired in (gallery, other):
            assert repaired.verify() == []
            assert [person.name for person in repaired.people()] == ["ana", "cem"]
            assert repaired.add("bob", [photo(1), photo(11)]) == 2
            assert names(repaired, photo(11).embedding)[0] == "bob"


@pytest.mark.parametrize("name", ["../../etc", "a/b", "..", "a\u200bb", "x\x1b[2J", "", "a" * 300])
def test_names_are_checked_when_read(path: Path, name: str) -> None:
    """Also where every checksum is right: whoever made the file may have meant it."""
    with Gallery.open(path, CONTRACT) as gallery:
        gallery._store.add(name, [photo(1)])
        gallery.add("ana", [photo(2)])
    with Gallery.open(path, CONTRACT) as gallery:
        for call in (gallery.people, lambda: names(gallery, vector(132)), lambda: gallery.owner(photo(1).sha256)):
            with pytest.raises(GalleryError, match="the name") as caught:
                call()
            assert "\x1b" not in str(caught.value)
        gallery.remove_damaged()
        assert [person.name for person in gallery.people()] == ["ana"]


@pytest.mark.parametrize(
    ("value", "px"),
    [
        (vector(1) * 2, 9.0),
        (vector(1) * np.nan, 9.0),
        (vector(1) * np.inf, 9.0),
        (vector(1) * 0, 9.0),
        (vector(1)[:9], 9.0),
        (vector(1)[:0], 9.0),
        (vector(1), float("inf")),
        (vector(1), -9.0),
    ],
)
def test_templates_are_checked_when_read(path: Path, value: np.ndarray, px: float) -> None:
    """Their values as well as their checksums: one vector that is too long moves what all thresholds hang on."""
    with Gallery.open(path, CONTRACT) as gallery:
        gallery._store.add("ana", [PhotoTemplate("a1", px, value)])
    with pytest.raises(GalleryError, match=r"'ana'.*enrol these people again"):
        Gallery.open(path, CONTRACT).people()


def test_a_persons_id_is_never_used_again(path: Path) -> None:
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
        first = gallery.people()[0].id
        gallery.add("ana", [photo(2)])
        assert gallery.people()[0].id == first
        gallery.remove("ana")
        gallery.add("ana", [photo(1)])
        assert gallery.people()[0].id != first
        last = gallery.people()[0].id
    with Gallery.open(path) as again:
        assert again.people()[0].id == last


def test_compacting_on_a_full_disk_tells_what_is_true(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrface.gallery.storefile.BUSY_S", 0.05)
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
        gallery.add("bob", [photo(2)])
        gallery.remove("ana")
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM people").fetchall()
        with pytest.raises(GalleryError, match=r"stays removed.*lrface gallery compact"):
            gallery.compact()
        reader.close()
        assert [person.name for person in gallery.people()] == ["bob"]
        gallery.compact()
