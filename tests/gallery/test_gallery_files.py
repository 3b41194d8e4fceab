"""The gallery's file: of other models, of other programs, damaged, full, read-only, after a removal."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_gallery import CONTRACT, DIM, names, photo, vector

from lrface.errors import ContractError, GalleryError, LrfaceError
from lrface.gallery import Contract, Gallery, PhotoTemplate
from lrface.gallery.tables import SCHEMA


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "Büro staff?.gallery"


@pytest.mark.parametrize(
    "other",
    [
        replace(CONTRACT, space="other"),
        replace(CONTRACT, dim=32),
        replace(CONTRACT, models={"32": {**CONTRACT.models["32"], "sha256": "f" * 64}}),
        replace(CONTRACT, models={"32": {**CONTRACT.models["32"], "mean": 0.0}}),
        replace(CONTRACT, models={"16": CONTRACT.models["32"]}),
    ],
)
def test_another_contract_is_refused_and_nothing_changes(path: Path, other: Contract) -> None:
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
    before = path.read_bytes()
    with pytest.raises(ContractError, match=r"another model.*again"):
        Gallery.open(path, other)
    assert path.read_bytes() == before


def search_once(path: Path) -> None:
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.search(vector(1)[None])


def foreign(statement: str) -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.executescript(statement)
    return connection.serialize()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"hello, this is a text and no database at all" * 50, "not a gallery"),
        (foreign("CREATE TABLE bookmarks (url TEXT)"), "another program"),
        (foreign("PRAGMA application_id = 7"), "another program"),
        (foreign("PRAGMA user_version = 3"), "another program"),
    ],
)
def test_files_of_others_are_refused_and_left_alone(path: Path, content: bytes, match: str) -> None:
    path.write_bytes(content)
    with pytest.raises(GalleryError, match=match):
        Gallery.open(path, CONTRACT)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("schema", "match"), [(SCHEMA + 1, "update lrface"), (1, "enrol the photos again"), (0, "enrol the photos again")]
)
def test_other_schemas(path: Path, schema: int, match: str) -> None:
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.set_fpir(0.1)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {schema}")
    with pytest.raises(GalleryError, match=match):
        Gallery.open(path, CONTRACT)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE photos SET embedding = x'00'",
        "UPDATE photos SET embedding = zeroblob(512)",
        "UPDATE photos SET embedding = zeroblob(3000000)",
        "UPDATE photos SET embedding = 'text'",
        "UPDATE photos SET quality = 0.1",
        "UPDATE photos SET crop = x'00'",
        "UPDATE people SET details = x'7b7d20'",
        "UPDATE people SET details = '{}'",
        "UPDATE settings SET json = '{}'",
        "DELETE FROM settings",
        "INSERT INTO negatives VALUES (1, 1, x'00', x'00')",
        "UPDATE state SET head = x'00'",
        "DELETE FROM people",
        "DELETE FROM photos",
        "UPDATE photos SET sha256 = upper(sha256) || 'a'",
        "UPDATE photos SET native_px = 101.0",
        "UPDATE photos SET native_px = 'wide'",
        "UPDATE photos SET person_id = 2",
        "UPDATE photos SET checksum = x''",
        "UPDATE people SET name = 'anb'",
        "UPDATE people SET name = x'00'",
        "UPDATE people SET uuid = 'x'",
        "UPDATE people SET checksum = 7",
        "UPDATE state SET people = 2",
        "UPDATE state SET generation = -1",
        "DELETE FROM state",
        "UPDATE contract SET json = '{}'",
        "UPDATE contract SET json = 'nope'",
        "UPDATE contract SET json = x'ff'",
        "DELETE FROM contract",
        "DROP TABLE photos",
        "CREATE TRIGGER t AFTER INSERT ON people BEGIN DELETE FROM photos; END",
        "CREATE VIEW v AS SELECT 1",
        "UPDATE people SET name = CAST(x'ff' AS TEXT)",
    ],
)
def test_damage_inside_is_found(path: Path, damage: str) -> None:
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
    with sqlite3.connect(path) as connection:
        connection.execute(damage)
    with pytest.raises(GalleryError, match="restore a copy"):
        search_once(path)


def test_a_damaged_index_is_found_before_anything_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index hides a name that is there: in a large file searches go on, changes and copies do not."""
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
        gallery.add("bob", [photo(2)])
    pages = [path.read_bytes()[start : start + 4096] for start in range(0, path.stat().st_size, 4096)]
    index_leaf = 0x0A
    path.write_bytes(b"".join(page.replace(b"ana", b"anb") if page[0] == index_leaf else page for page in pages))
    with pytest.raises(GalleryError, match=r"the file is damaged.*restore a copy"):
        Gallery.open(path)
    monkeypatch.setattr("lrface.gallery.pages.AT_ONCE", 0)
    with Gallery.open(path) as gallery:
        assert names(gallery, photo(1).embedding, 1) == ["ana"]
        for call in (
            lambda: gallery.add("ana", [photo(3)]),
            lambda: gallery.remove("bob"),
            gallery.compact,
            gallery.verify,
            lambda: gallery.snapshot(path.with_name("copy")),
        ):
            with pytest.raises(GalleryError, match=r"the file is damaged.*restore a copy"):
                call()
        assert not path.with_name("copy").exists()
        assert names(gallery, photo(2).embedding, 1) == ["bob"]


def test_a_large_file_is_checked_once_and_then_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrface.gallery.pages.AT_ONCE", 0)
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
        with Gallery.open(path) as other:
            assert names(other, photo(1).embedding) == ["ana"]
            gallery.add("bob", [photo(2)])
            other.add("cem", [photo(3)])
            assert sorted(names(gallery, photo(1).embedding)) == ["ana", "bob", "cem"]
        assert gallery.verify() == []


def test_flipped_bytes_end_in_a_gallery_or_an_error(path: Path) -> None:
    with Gallery.open(path, CONTRACT) as gallery:
        for seed in range(12):
            gallery.add(f"p{seed}", [photo(seed)])
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for attempt in range(80):
        broken = bytearray(whole)
        for place in rng.integers(0, len(whole) if attempt % 2 else 4096, 8):
            broken[place] = rng.integers(0, 256)
        path.write_bytes(broken if attempt % 3 else broken[: rng.integers(1, len(whole))])
        try:
            with Gallery.open(path, CONTRACT) as gallery:
                gallery.search(vector(1)[None])
                gallery.people()
        except LrfaceError:
            continue


def test_places_where_no_gallery_can_be(tmp_path: Path) -> None:
    for bad, contract, match in [
        (tmp_path, CONTRACT, "folder"),
        (tmp_path / "none" / "x.gallery", CONTRACT, "create it first"),
        (tmp_path / "none.gallery", None, "no such file"),
        ("", CONTRACT, "folder"),
        ("a\0b", CONTRACT, "check the path"),
        ("x" * 5000, CONTRACT, "check the path"),
        (os.devnull, CONTRACT, "not a regular file"),
    ]:
        with pytest.raises(GalleryError, match=match):
            Gallery.open(bad, contract)
    (tmp_path / "blank.gallery").touch()
    with pytest.raises(GalleryError, match="empty"):
        Gallery.open(tmp_path / "blank.gallery")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["blank.gallery"]
    Gallery.open(tmp_path / "blank.gallery", CONTRACT).close()  # what a kill while creating leaves behind


def test_a_full_disk_leaves_nothing_half_done(path: Path) -> None:
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
        pages = gallery._store._connection.execute("PRAGMA page_count").fetchone()[0]
        gallery._store._connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(GalleryError, match="disk is full"):
            gallery.add("bob", [photo(seed) for seed in range(2, 40)])
        assert [str(p) for p in gallery.people()] == ["ana"]
        assert names(gallery, vector(132)) == ["ana"]
        gallery._store._connection.execute("PRAGMA max_page_count = 100000")
        assert gallery.add("bob", [photo(2)]) == 1


def test_a_gallery_opened_without_the_right_to_write(path: Path) -> None:
    """SQLite itself says that it may only read, so that the test serves root too, who may write everywhere."""
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
        gallery._store._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(GalleryError, match="permissions"):
            gallery.add("bob", [photo(2)])
        assert names(gallery, vector(132)) == ["ana"]


def test_nothing_of_a_removed_person_is_left_in_the_files(path: Path) -> None:
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("bob", [photo(99)])
        gallery.add("Anastasia", [photo(seed) for seed in range(30)])
        blobs = [photo(seed).embedding.tobytes() for seed in range(30)]
        assert all(blob in path.read_bytes() for blob in blobs)
        gallery.remove("Anastasia")
        for file in path.parent.iterdir():
            content = file.read_bytes()
            assert not any(blob[i : i + 32] in content for blob in blobs for i in range(0, 4 * DIM, 32)), file.name
            assert b"Anastasia" not in content
        large = path.stat().st_size
        gallery.compact()
        assert path.stat().st_size < large
        assert names(gallery, vector(9932)) == ["bob"]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("dim", [64, 700])  # 700: longer than a page
@pytest.mark.parametrize("compact", [False, True])
def test_nothing_is_left_after_many_changes(tmp_path: Path, dim: int, compact: bool) -> None:
    """SQLite moves rows between pages as people come and go; no copy of a removed one may stay behind."""
    rng = np.random.default_rng(dim)
    path = tmp_path / "staff.gallery"
    there: dict[str, list[PhotoTemplate]] = {}
    traces: list[bytes] = []

    def new_photo() -> PhotoTemplate:
        vector = rng.standard_normal(dim).astype(np.float32)
        return PhotoTemplate(rng.bytes(32).hex(), 50.0, vector / np.linalg.norm(vector))

    with Gallery.open(path, replace(CONTRACT, dim=dim)) as gallery:
        for step in range(90):
            if there and rng.random() < 0.4:
                name = str(rng.choice(list(there)))
                gallery.remove(name)
                for gone in there.pop(name):
                    traces += [gone.embedding[i : i + 8].tobytes() for i in range(0, dim, 16)]
                    traces.append(gone.sha256.encode())
                traces.append(name.encode())
            else:
                name = f"Anastasia{step:04d}"
                there[name] = [new_photo() for _ in range(int(rng.integers(1, 6)))]
                gallery.add(name, there[name])
        if compact:
            gallery.compact()
        content = b"".join(file.read_bytes() for file in sorted(tmp_path.iterdir()))
        assert len(traces) > 500
        assert [trace for trace in traces if trace in content] == []
        assert all(photo.sha256.encode() in content for photos in there.values() for photo in photos)


@pytest.mark.parametrize("url", ["http://localhost:19530/staff", "rtsp://user:secret@camera/live"])
def test_another_url_is_not_taken_for_a_file(url: str) -> None:
    with pytest.raises(GalleryError, match="milvus://localhost:19530/staff") as error:
        Gallery.open(url)
    assert "secret" not in str(error.value)
