from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from shell import ENVIRONMENT
from tiny_gallery import CONTRACT, DIM, names, photo, vector

from lrface.errors import CalibrationError, ContractError, EnrolmentError, GalleryError
from lrface.gallery import Gallery, PhotoTemplates, normalise_name


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "Büro staff?.gallery"


@pytest.fixture(params=["file", "memory"])
def gallery(request: pytest.FixtureRequest, path: Path) -> Iterator[Gallery]:
    with Gallery.open(path if request.param == "file" else ":memory:", CONTRACT) as opened:
        yield opened


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


def test_another_process_is_followed(path: Path) -> None:
    with Gallery.open(path, CONTRACT) as here, Gallery.open(path, CONTRACT) as there:
        assert names(here, vector(132)) == []
        there.add("ana", [photo(1)])
        assert names(here, vector(132)) == ["ana"]
        here.add("bob", [photo(2)])
        assert names(there, vector(232), k=1) == ["bob"]
        there.remove("ana")
        assert names(here, vector(132)) == ["bob"]


def test_a_writer_that_does_not_end_is_an_error_not_a_hang(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrface.gallery.store.BUSY_S", 0.05)
    with Gallery.open(path, CONTRACT) as gallery:
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
    gallery.set_fpir(0.1)
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
        "import sys; from tiny_gallery import *\n"
        "with Gallery.open(sys.argv[1], CONTRACT) as g:\n"
        "    for seed in range(int(sys.argv[2]), int(sys.argv[2]) + 6): g.add(f'p{seed}', [photo(seed)])\n"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(path), str(first)], env=ENVIRONMENT) for first in (0, 50)
    ]
    assert [child.wait(60) for child in children] == [0, 0]
    with Gallery.open(path, CONTRACT) as gallery:
        assert len(gallery) == 12


def test_normalise_name_is_idempotent() -> None:
    for name in (" A\u0301b ", "李", "x" * 200):
        assert normalise_name(normalise_name(name)) == normalise_name(name)


def test_how_alike_the_people_are(gallery: Gallery) -> None:
    """Every pair of photos of two people, the slow way; pairs of people count the same."""
    photos = {"ana": [1, 2, 3], "bob": [4], "cem": [5, 6]}
    for name, seeds in photos.items():
        gallery.add(name, [photo(seed, (16,) if name == "cem" else (16, 32)) for seed in seeds])
    vectors = {name: [photo(seed).embeddings[16] for seed in seeds] for name, seeds in photos.items()}
    pairs = [("ana", "bob"), ("ana", "cem"), ("bob", "cem")]
    slow = np.mean([np.mean([float(u @ v) for u in vectors[a] for v in vectors[b]]) for a, b in pairs])
    population = gallery.projection().population
    assert population.impostor_mean[16] == pytest.approx(slow, abs=1e-6)
    assert (population.size, population.people) == (3, {16: 3, 32: 2})
    matches = gallery.search(photo(5).embeddings[16][None], 32)[0]
    assert {match.name: (match.photos, match.gallery_level) for match in matches} == {
        "ana": (3, 32),
        "bob": (1, 32),
        "cem": (2, 16),
    }


def test_the_chosen_rate_stays_with_the_gallery(path: Path) -> None:
    with Gallery.open(path, CONTRACT) as opened:
        assert opened.fpir is None
        for fpir in (0.05, 0.001):
            opened.set_fpir(fpir)
        with pytest.raises(CalibrationError, match="fpir"):
            opened.set_fpir(1.0)
    with Gallery.open(path, CONTRACT) as again:
        assert again.fpir == 0.001


@pytest.mark.parametrize("value", ["'much'", "7.0", "x'00'", "NULL", "-1.0", "9e999"])
def test_a_rate_that_was_not_chosen_is_noticed(path: Path, value: str) -> None:
    """By the checksum; remove_damaged then forgets the rate and nothing else."""
    with Gallery.open(path, CONTRACT) as opened:
        opened.add("ana", [photo(1)])
        opened.set_fpir(0.05)
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE state SET fpir = {value}")
    connection.close()
    with Gallery.open(path, CONTRACT) as opened:
        with pytest.raises(GalleryError, match="lrface thresholds"):
            _ = opened.fpir
        assert len(opened.remove_damaged()) == 1
        assert opened.fpir is None
        assert names(opened, vector(132)) == ["ana"]


@pytest.mark.parametrize("fpir", [7.0, -0.5, 0.0, float("inf")])
def test_a_rate_out_of_range_is_refused_with_a_right_checksum_too(path: Path, fpir: float) -> None:
    with Gallery.open(path, CONTRACT) as opened:
        opened._store.set_fpir(fpir)
    with Gallery.open(path, CONTRACT) as opened:
        with pytest.raises(GalleryError, match="lrface thresholds"):
            _ = opened.fpir
        opened.set_fpir(0.05)
        assert opened.fpir == 0.05


def test_a_gallery_into_which_nothing_was_written_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "new.gallery"
    with Gallery.open(path, CONTRACT):
        assert path.exists()
    assert not list(tmp_path.iterdir())
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.set_fpir(0.1)
    assert path.exists()
    with Gallery.open(path, CONTRACT):  # made before, so it stays
        pass
    assert path.exists()


def test_a_new_gallery_that_another_process_uses_stays(tmp_path: Path) -> None:
    path = tmp_path / "new.gallery"
    with Gallery.open(path, CONTRACT), Gallery.open(path, CONTRACT) as other:
        other.set_fpir(0.1)
    with Gallery.open(path) as gallery:
        assert gallery.fpir == 0.1
