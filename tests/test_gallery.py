from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lrface.errors import ContractError, EnrolmentError, GalleryError, LrfaceError
from lrface.gallery import Contract, Gallery, PhotoTemplates, normalise_name

DIM = 64
CONTRACT = Contract(
    "tiny",
    DIM,
    True,
    "arcface-112",
    {
        str(level): {"name": f"t{level}", "sha256": f"{level:064d}", "channels": "RGB", "mean": 127.5, "scale": 1 / 128}
        for level in (16, 32)
    },
)


def vector(seed: int, near: int | None = None) -> np.ndarray:
    value = np.random.default_rng(seed).standard_normal(DIM)
    if near is not None:
        value = vector(near) + 0.02 * value
    return (value / np.linalg.norm(value)).astype(np.float32)


def photo(seed: int, levels: tuple[int, ...] = (16, 32), near: int | None = None) -> PhotoTemplates:
    return PhotoTemplates(f"{seed:064x}", 100.0, {level: vector(seed * 100 + level, near) for level in levels})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "Büro staff?.gallery"


@pytest.fixture(params=["file", "memory"])
def gallery(request: pytest.FixtureRequest, path: Path) -> Iterator[Gallery]:
    with Gallery.open(path if request.param == "file" else ":memory:", CONTRACT) as opened:
        yield opened


def names(gallery: Gallery, probe: np.ndarray, level: int = 32, k: int = 5) -> list[str]:
    return [match.name for match in gallery.search(probe[None], level, k)[0]]


def test_who_is_closest(gallery: Gallery) -> None:
    for seed, name in enumerate(["ana", "bob", "cem"]):
        assert gallery.add(name, [photo(seed)]) == 1
    found = gallery.search(np.stack([vector(132), vector(32, near=32)]), 32, 2)
    assert [f[0].name for f in found] == ["bob", "ana"]
    assert [len(m) for m in found] == [2, 2]
    assert found[0][0].similarity == pytest.approx(1, abs=1e-5)
    assert found[0][0].gallery_level == 32
    assert len(gallery) == 3
    assert names(gallery, vector(132), 16) != []


def test_search_is_the_exact_cosine_with_each_persons_mean(gallery: Gallery) -> None:
    """Against numpy, for 40 people with one to four photos, some without large ones."""
    means = {}
    for person in range(40):
        photos = [photo(person * 10 + i, (16,) if person % 5 == 0 else (16, 32)) for i in range(1 + person % 4)]
        gallery.add(f"p{person}", photos)
        level = 16 if person % 5 == 0 else 32
        mean = np.mean([p.embeddings[level] for p in photos], axis=0)
        means[f"p{person}"] = (mean / np.linalg.norm(mean), level)
    probes = np.stack([vector(10_000 + i) for i in range(9)])
    for probe, found in zip(probes, gallery.search(probes, 32, 7), strict=True):
        expected = sorted(means, key=lambda name: -float(probe @ means[name][0]))[:7]
        assert [m.name for m in found] == expected
        assert [m.similarity for m in found] == pytest.approx([float(probe @ means[n][0]) for n in expected], abs=1e-5)
        assert [m.gallery_level for m in found] == [means[n][1] for n in expected]


def test_nobody_enrolled(gallery: Gallery) -> None:
    assert gallery.search(np.stack([vector(1), vector(2)]), 16, 5) == [[], []]
    assert gallery.search(np.zeros((0, DIM), np.float32), 16, 5) == []
    assert len(gallery) == 0
    assert gallery.people() == []


def test_the_same_photo_twice_is_one(gallery: Gallery) -> None:
    assert gallery.add("ana", [photo(1), photo(2)]) == 2
    assert gallery.add("ana", [photo(2), photo(3)]) == 1
    assert [(p.name, p.photos, p.levels) for p in gallery.people()] == [("ana", 3, (16, 32))]
    assert [gallery.owner(f"{i:064x}") for i in (1, 2, 3, 4)] == ["ana", "ana", "ana", None]


def test_a_photo_belongs_to_one_person(gallery: Gallery) -> None:
    gallery.add("ana", [photo(1)])
    with pytest.raises(GalleryError, match="enrolled as 'ana'"):
        gallery.add("bob", [photo(2), photo(1)])
    assert [str(p) for p in gallery.people()] == ["ana"]
    gallery.remove("ana")
    assert gallery.add("bob", [photo(2), photo(1)]) == 2


def test_a_removed_person_is_gone(gallery: Gallery) -> None:
    gallery.add("ana", [photo(1), photo(2)])
    gallery.add("bob", [photo(3)])
    assert names(gallery, vector(132))[0] == "ana"
    assert gallery.remove("ana") == 2
    assert names(gallery, vector(132)) == ["bob"]
    with pytest.raises(GalleryError, match="nobody called"):
        gallery.remove("ana")
    assert gallery.add("ana", [photo(1)]) == 1


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("  Ana ", "Ana"),
        (unicodedata.normalize("NFD", "Zoë"), "Zoë"),
        ("李小龍", "李小龍"),
        ("محمد", "محمد"),
        ("O'Brien; DROP TABLE people", "O'Brien; DROP TABLE people"),
        ("👩‍🚀", "👩‍🚀"),
    ],
)
def test_names_have_one_spelling(gallery: Gallery, name: str, stored: str) -> None:
    gallery.add(name, [photo(1)])
    gallery.add(stored, [photo(2)])
    assert [str(p) for p in gallery.people()] == [stored]
    assert gallery.remove(name) == 2


@pytest.mark.parametrize(
    "name", ["", "  ", "a\nb", "a\0", "\x1b[31m", "\udcff", "x" * 201, "evil\u202etxt", "a\u2028b", None, 5]
)
def test_names_that_are_refused(gallery: Gallery, name: str) -> None:
    with pytest.raises(EnrolmentError, match="name"):
        gallery.add(name, [photo(1)])
    assert gallery.people() == []


@pytest.mark.parametrize(
    ("photos", "match"),
    [
        ([], "at least one"),
        ([PhotoTemplates("a", 9.0, {})], "embed"),
        ([PhotoTemplates("a", 9.0, {64: vector(1)})], "level 64"),
        ([PhotoTemplates("a", 9.0, {16: vector(1)[:9]})], "shape"),
        ([PhotoTemplates("a", 9.0, {16: vector(1) * 2})], "unit length"),
        ([PhotoTemplates("a", 9.0, {16: vector(1) * np.nan})], "finite"),
        ([photo(1), PhotoTemplates("a", 9.0, {16: vector(1) * 0})], "unit length"),
    ],
)
def test_templates_that_do_not_fit(gallery: Gallery, photos: list[PhotoTemplates], match: str) -> None:
    with pytest.raises(GalleryError, match=match):
        gallery.add("ana", photos)
    assert gallery.people() == []


@pytest.mark.parametrize(
    ("probe", "level"), [(np.zeros((1, 9), np.float32), 16), (vector(1), 16), (vector(1)[None], 64)]
)
def test_probes_that_do_not_fit(gallery: Gallery, probe: np.ndarray, level: int) -> None:
    with pytest.raises(ContractError, match="gallery's models"):
        gallery.search(probe, level)


def test_it_is_all_there_when_opened_again(path: Path) -> None:
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
    with Gallery.open(path) as again:
        assert again.contract == CONTRACT
        assert names(again, vector(132)) == ["ana"]


@pytest.mark.parametrize(
    "other",
    [
        replace(CONTRACT, space="other"),
        replace(CONTRACT, dim=32),
        replace(CONTRACT, models={**CONTRACT.models, "16": {**CONTRACT.models["16"], "sha256": "f" * 64}}),
        replace(CONTRACT, models={**CONTRACT.models, "16": {**CONTRACT.models["16"], "mean": 0.0}}),
        replace(CONTRACT, models={"16": CONTRACT.models["16"]}),
    ],
)
def test_another_contract_is_refused_and_nothing_changes(path: Path, other: Contract) -> None:
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
    before = path.read_bytes()
    with pytest.raises(ContractError, match=r"other models.*again"):
        Gallery.open(path, other)
    assert path.read_bytes() == before


def search_once(path: Path) -> None:
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.search(vector(1)[None], 16)


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


@pytest.mark.parametrize(("schema", "match"), [(2, "update lrface"), (0, "new gallery")])
def test_other_schemas(path: Path, schema: int, match: str) -> None:
    Gallery.open(path, CONTRACT).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {schema}")
    with pytest.raises(GalleryError, match=match):
        Gallery.open(path, CONTRACT)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE templates SET embedding = x'00'",
        "UPDATE templates SET embedding = zeroblob(256)",
        "UPDATE templates SET embedding = zeroblob(3000000)",
        "UPDATE templates SET embedding = 'text'",
        "UPDATE templates SET level = 5 WHERE level = 16",
        "DELETE FROM people",
        "DELETE FROM templates",
        "UPDATE contract SET json = '{}'",
        "UPDATE contract SET json = 'nope'",
        "UPDATE contract SET json = x'ff'",
        "DELETE FROM contract",
        "DROP TABLE photos",
        "CREATE TRIGGER t AFTER INSERT ON people BEGIN DELETE FROM templates; END",
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
                gallery.search(vector(1)[None], 16)
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
        pages = gallery._connection.execute("PRAGMA page_count").fetchone()[0]
        gallery._connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(GalleryError, match="disk is full"):
            gallery.add("bob", [photo(seed) for seed in range(2, 40)])
        assert [str(p) for p in gallery.people()] == ["ana"]
        assert names(gallery, vector(132)) == ["ana"]
        gallery._connection.execute("PRAGMA max_page_count = 100000")
        assert gallery.add("bob", [photo(2)]) == 1


def test_a_gallery_opened_without_the_right_to_write(path: Path) -> None:
    """SQLite itself says that it may only read, so that the test serves root too, who may write everywhere."""
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
        gallery._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(GalleryError, match="permissions"):
            gallery.add("bob", [photo(2)])
        assert names(gallery, vector(132)) == ["ana"]


def test_nothing_of_a_removed_person_is_left_in_the_files(path: Path) -> None:
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("bob", [photo(99)])
        gallery.add("Anastasia", [photo(seed) for seed in range(30)])
        blobs = [v.tobytes() for seed in range(30) for v in photo(seed).embeddings.values()]
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


def test_another_process_is_followed(path: Path) -> None:
    with Gallery.open(path, CONTRACT) as here, Gallery.open(path, CONTRACT) as there:
        assert names(here, vector(132)) == []
        there.add("ana", [photo(1)])
        assert names(here, vector(132)) == ["ana"]
        here.add("bob", [photo(2)])
        assert names(there, vector(232), k=1) == ["bob"]
        there.remove("ana")
        assert names(here, vector(132)) == ["bob"]


def test_a_writer_that_does_not_end_is_an_error_not_a_hang(path: Path) -> None:
    with Gallery.open(path, CONTRACT) as gallery:
        gallery._connection.execute("PRAGMA busy_timeout = 50")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(GalleryError, match="another process"):
            gallery.add("ana", [photo(1)])
        assert names(gallery, vector(1)) == []  # reading goes on meanwhile
        other.execute("ROLLBACK")
        assert gallery.add("ana", [photo(1)]) == 1
        other.close()


def test_a_closed_gallery(path: Path) -> None:
    gallery = Gallery.open(path, CONTRACT)
    gallery.close()
    with pytest.raises(GalleryError, match="open it again"):
        gallery.add("ana", [photo(1)])


def test_searching_while_enrolling_from_many_threads(path: Path) -> None:
    errors: list[BaseException] = []
    done = threading.Event()
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])

        def search() -> None:
            try:
                while not done.is_set():
                    found = gallery.search(np.stack([vector(132)] * 3), 32, 3)
                    assert [f[0].name for f in found] == ["ana"] * 3
                    assert all(m.similarity <= 1.0001 for f in found for m in f)
            except BaseException as error:
                errors.append(error)

        def enrol(first: int) -> None:
            try:
                for seed in range(first, first + 8):
                    gallery.add(f"p{seed}", [photo(seed)])
            except BaseException as error:
                errors.append(error)

        readers = [threading.Thread(target=search) for _ in range(3)]
        writers = [threading.Thread(target=enrol, args=(first,)) for first in (100, 200)]
        for thread in readers + writers:
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        for thread in readers:
            thread.join()
        assert errors == []
        assert len(gallery) == 17


def test_two_processes_enrol_into_one_new_gallery(path: Path) -> None:
    """Both may find no file; one creates it, neither loses anybody."""
    code = (
        "import sys; from test_gallery import *\n"
        "with Gallery.open(sys.argv[1], CONTRACT) as g:\n"
        "    for seed in range(int(sys.argv[2]), int(sys.argv[2]) + 6): g.add(f'p{seed}', [photo(seed)])\n"
    )
    here = Path(__file__).parent
    env = {**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{here.parent}"}
    children = [subprocess.Popen([sys.executable, "-c", code, str(path), str(first)], env=env) for first in (0, 50)]
    assert [child.wait(60) for child in children] == [0, 0]
    with Gallery.open(path, CONTRACT) as gallery:
        assert len(gallery) == 12


def test_normalise_name_is_idempotent() -> None:
    for name in (" A\u0301b ", "李", "x" * 200):
        assert normalise_name(normalise_name(name)) == normalise_name(name)
