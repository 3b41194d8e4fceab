"""What every gallery does, in a file, in memory or in Milvus: enrolment, search, several processes."""

from __future__ import annotations

import subprocess
import sys
import threading
import unicodedata

import numpy as np
import pytest
from shell import ENVIRONMENT
from tiny_gallery import CONTRACT, DIM, names, photo, soon, vector

from lrface.errors import ArgumentError, ContractError, EnrolmentError, GalleryError, UnknownPersonError
from lrface.gallery import Gallery, PhotoTemplate


def test_who_is_closest(gallery: Gallery) -> None:
    for seed, name in enumerate(["ana", "bob", "cem"]):
        assert gallery.add(name, [photo(seed)]) == 1
    found = gallery.search(np.stack([vector(132), vector(32, near=32)]), 2)
    assert [f[0].name for f in found] == ["bob", "ana"]
    assert [len(m) for m in found] == [2, 2]
    assert found[0][0].similarity == pytest.approx(1, abs=1e-5)
    ids = {person.name: person.id for person in gallery.people()}
    assert [match.person_id for match in found[0]] == [ids[match.name] for match in found[0]]
    assert len(gallery) == 3


def test_search_is_the_exact_cosine_with_each_persons_mean(gallery: Gallery) -> None:
    """Against numpy, for 40 people with one to four photos."""
    means = {}
    for person in range(40):
        photos = [photo(person * 10 + i) for i in range(1 + person % 4)]
        gallery.add(f"p{person}", photos)
        mean = np.mean([p.embedding for p in photos], axis=0)
        means[f"p{person}"] = mean / np.linalg.norm(mean)
    probes = np.stack([vector(10_000 + i) for i in range(9)])
    for probe, found in zip(probes, gallery.search(probes, 7), strict=True):
        expected = sorted(means, key=lambda name: -float(probe @ means[name]))[:7]
        assert [m.name for m in found] == expected
        assert [m.similarity for m in found] == pytest.approx([float(probe @ means[n]) for n in expected], abs=1e-5)


def test_fewer_than_one_are_not_asked_for(gallery: Gallery) -> None:
    gallery.add("ana", [photo(1)])
    for call in (
        lambda: gallery.search(vector(1)[None], 0),
        lambda: gallery.people(most=0),
        lambda: gallery.audit_log(most=-1),
    ):
        with pytest.raises(ArgumentError, match="at least one"):
            call()


def test_nobody_enrolled(gallery: Gallery) -> None:
    assert gallery.search(np.stack([vector(1), vector(2)]), 5) == [[], []]
    assert gallery.search(np.zeros((0, DIM), np.float32), 5) == []
    assert len(gallery) == 0
    assert gallery.people() == []


def test_the_same_photo_twice_is_one(gallery: Gallery) -> None:
    assert gallery.add("ana", [photo(1), photo(2)]) == 2
    assert gallery.add("ana", [photo(2), photo(3)]) == 1
    assert [(p.name, p.photos) for p in gallery.people()] == [("ana", 3)]
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
    with pytest.raises(UnknownPersonError, match="nobody called"):
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
        ([PhotoTemplate("a", 9.0, vector(1)[:0])], "embed"),
        ([PhotoTemplate("a", 9.0, vector(1)[:9])], "shape"),
        ([PhotoTemplate("a", 9.0, vector(1) * 2)], "unit length"),
        ([PhotoTemplate("a", 9.0, vector(1) * np.nan)], "finite"),
        ([photo(1), PhotoTemplate("a", 9.0, vector(1) * 0)], "unit length"),
    ],
)
def test_templates_that_do_not_fit(gallery: Gallery, photos: list[PhotoTemplate], match: str) -> None:
    with pytest.raises(GalleryError, match=match):
        gallery.add("ana", photos)
    assert gallery.people() == []


@pytest.mark.parametrize("probe", [np.zeros((1, 9), np.float32), vector(1)])
def test_probes_that_do_not_fit(gallery: Gallery, probe: np.ndarray) -> None:
    with pytest.raises(ContractError, match="gallery's models"):
        gallery.search(probe)


def test_it_is_all_there_when_opened_again(where: str) -> None:
    with Gallery.open(where, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
    with Gallery.open(where) as again:
        assert again.contract == CONTRACT
        assert names(again, vector(132)) == ["ana"]


def test_another_process_is_followed(where: str) -> None:
    with Gallery.open(where, CONTRACT) as here, Gallery.open(where, CONTRACT) as there:
        assert names(here, vector(132)) == []
        there.add("ana", [photo(1)])
        soon(lambda: names(here, vector(132)), ["ana"])
        here.add("bob", [photo(2)])
        soon(lambda: names(there, vector(232), k=1), ["bob"])
        there.remove("ana")
        soon(lambda: names(here, vector(132)), ["bob"])


def test_a_closed_gallery(where: str) -> None:
    gallery = Gallery.open(where, CONTRACT)
    gallery.set_fpir(0.1)
    gallery.close()
    with pytest.raises(GalleryError, match="open it again"):
        gallery.add("ana", [photo(1)])


def test_searching_while_enrolling_from_many_threads(where: str) -> None:
    errors: list[BaseException] = []
    done = threading.Event()
    with Gallery.open(where, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])

        def search() -> None:
            try:
                while not done.is_set():
                    found = gallery.search(np.stack([vector(132)] * 3), 3)
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


def test_two_processes_enrol_into_one_new_gallery(where: str) -> None:
    """Both may find no file; one creates it, neither loses anybody."""
    code = (
        "import sys; from tiny_gallery import *\n"
        "with Gallery.open(sys.argv[1], CONTRACT) as g:\n"
        "    for seed in range(int(sys.argv[2]), int(sys.argv[2]) + 6): g.add(f'p{seed}', [photo(seed)])\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", code, where, str(first)], env=ENVIRONMENT) for first in (0, 50)]
    assert [child.wait(60) for child in children] == [0, 0]
    with Gallery.open(where, CONTRACT) as gallery:
        assert len(gallery) == 12


def test_how_alike_the_people_are(gallery: Gallery) -> None:
    """Every pair of photos of two people, the slow way; pairs of people count the same."""
    photos = {"ana": [1, 2, 3], "bob": [4], "cem": [5, 6]}
    for name, seeds in photos.items():
        gallery.add(name, [photo(seed) for seed in seeds])
    vectors = {name: [photo(seed).embedding for seed in seeds] for name, seeds in photos.items()}
    pairs = [("ana", "bob"), ("ana", "cem"), ("bob", "cem")]
    slow = np.mean([np.mean([float(u @ v) for u in vectors[a] for v in vectors[b]]) for a, b in pairs])
    population = gallery.search_index().population
    assert population.impostor_mean == pytest.approx(slow, abs=1e-6)
    assert population.size == 3
    matches = gallery.search(photo(5).embedding[None])[0]
    assert {match.name: match.photos for match in matches} == {"ana": 3, "bob": 1, "cem": 2}


def test_the_chosen_rate_stays_with_the_gallery(where: str) -> None:
    with Gallery.open(where, CONTRACT) as opened:
        assert opened.fpir is None
        for fpir in (0.05, 0.001):
            opened.set_fpir(fpir)
        with pytest.raises(ArgumentError, match="fpir"):
            opened.set_fpir(1.0)
    with Gallery.open(where, CONTRACT) as again:
        assert again.fpir == 0.001


def test_the_likeliest_are_among_the_candidates_whatever_the_photos(gallery: Gallery) -> None:
    """Ten people of many photos are closer by cosine; the one of a single photo is still asked about."""
    for person in range(10):
        gallery.add(f"many {person}", [photo(100 * person + i, near=7) for i in range(3)])
    gallery.add("single", [photo(5000)])
    assert "single" not in names(gallery, vector(7), k=5)
    (found,) = gallery.search_index().candidates(vector(7)[None], 5)
    assert [match.photos for match in found].count(3) == 5
    assert "single" in [match.name for match in found]
