"""The search is exact, and follows changes without reading anybody else again."""

from __future__ import annotations

import base64
import subprocess
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shell import ENVIRONMENT
from tiny_gallery import CONTRACT, DIM, photo

from lrface.embedding.templates import fuse
from lrface.gallery import Gallery, Match, PhotoTemplate, blocks, scan
from lrface.gallery.blocks import Entries, append, take_out
from lrface.gallery.index import PersonTemplates
from lrface.gallery.reading import StoredPerson
from lrface.gallery.records import Details
from lrface.gallery.settings import Group, Settings


def unit(rng: np.random.Generator, n: int) -> np.ndarray:
    vectors = rng.standard_normal((n, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def rounded(match: Match) -> Match:
    return replace(match, similarity=round(match.similarity, 5))


def entries(templates: np.ndarray, first: int = 0) -> Entries:
    n = len(templates)
    rows = np.arange(first, first + n)
    zeros = np.zeros((n, 16), np.uint8)
    return Entries([f"p{row}" for row in rows], rows, zeros, zeros, np.ones(n, np.float32), templates)


@pytest.mark.parametrize("way", ["float32", "8 bits", "8 bits without VNNI", "8 bits, too many alike"])
@pytest.mark.parametrize("near", [1.0, 0.02])  # strangers; people who are very much alike
@pytest.mark.parametrize(("people", "probes", "k"), [(300, 1, 5), (300, 7, 1), (1, 2, 5), (700, 40, 30)])
def test_the_closest_are_those_of_float64(
    monkeypatch: pytest.MonkeyPatch, way: str, near: float, people: int, probes: int, k: int
) -> None:
    monkeypatch.setattr(blocks, "CAPACITY", 128)
    if way != "float32":
        monkeypatch.setattr(scan, "MANY_PROBES", 1)
        monkeypatch.setattr(scan, "MANY_PEOPLE", 1)
        monkeypatch.setattr(scan, "_PENDING", 500)
        monkeypatch.setattr(scan, "_TOO_MANY", 100 if "alike" in way else 2**20)
        made = scan._product()[0], 63 if "VNNI" in way else 127
        monkeypatch.setattr(scan, "_product", lambda: made)
        if way != "8 bits, too many alike":  # it must not fall back on the other way
            monkeypatch.delattr(scan, "_closest_of_few")
    rng = np.random.default_rng(people + probes)
    templates = unit(rng, 1) + near * unit(rng, people)
    templates = (templates / np.linalg.norm(templates, axis=1, keepdims=True)).astype(np.float32)
    asked = unit(rng, probes)
    held = append((), entries(templates))
    exact = asked.astype(np.float64) @ templates.T.astype(np.float64)
    for scores, matches in zip(exact, scan.closest(held, asked, k), strict=True):
        best = np.sort(scores)[::-1][:k]
        assert [similarity for _, _, similarity in matches] == pytest.approx(best, abs=1e-6)
        assert [scores[block.rows[place]] for block, place, _ in matches] == pytest.approx(best, abs=1e-6)


def test_a_search_in_8_bits_follows_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes are kept with a block; one more or one less row must not leave old ones."""
    monkeypatch.setattr(scan, "MANY_PROBES", 1)
    monkeypatch.setattr(scan, "MANY_PEOPLE", 1)
    monkeypatch.delattr(scan, "_closest_of_few")
    templates = unit(np.random.default_rng(4), 50)
    held = append((), entries(templates[:40]))
    scan.closest(held, templates[:1], 1)
    later = take_out(append(held, entries(templates[40:], 40)), {7})
    found = [matches[0] for matches in scan.closest(later, templates, 1)]
    assert [int(block.rows[place]) == row for row, (block, place, _) in enumerate(found)] == [
        row != 7 for row in range(50)
    ]
    assert [block.rows[place] for ((block, place, _),) in scan.closest(held, templates[:40], 1)] == list(range(40))


def test_the_product_of_codes_is_the_graph_that_onnx_writes() -> None:
    helper = pytest.importorskip("onnx.helper")
    kinds = pytest.importorskip("onnx").TensorProto
    a, b, c = (
        helper.make_tensor_value_info(name, kind, shape)
        for name, kind, shape in (
            ("a", kinds.UINT8, ["n", "d"]),
            ("b", kinds.INT8, ["d", "q"]),
            ("c", kinds.INT32, ["n", "q"]),
        )
    )
    zero = helper.make_tensor("z", kinds.UINT8, [], bytes([128]), raw=True)
    node = helper.make_node("MatMulInteger", ["a", "b", "z"], ["c"])
    made = helper.make_model(
        helper.make_graph([node], "", [a, b], [c], [zero]),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    assert base64.b64decode(scan._PRODUCT) == made.SerializeToString(deterministic=True)


def test_whoever_reads_sees_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adding, taking out and adding again changes nothing in blocks that somebody holds."""
    monkeypatch.setattr(blocks, "CAPACITY", 128)
    rng = np.random.default_rng(0)
    templates = unit(rng, 600)
    there: dict[int, np.ndarray] = {}
    held: tuple = ()
    moments = []
    for step in range(60):
        gone = {row for row in there if rng.random() < 0.05 + 0.5 * (step % 10 == 9)}
        if gone:
            held = take_out(held, gone)
            there = {row: v for row, v in there.items() if row not in gone}
        new = templates[step * 10 : step * 10 + 10]
        held = append(held, entries(new, step * 10))
        there |= dict(zip(range(step * 10, step * 10 + 10), new, strict=True))
        moments.append((held, dict(there)))
    for blocks_, people in moments:
        rows = np.concatenate([block.rows[:count] for block, count in blocks_])
        stored = np.concatenate([block.templates[:count] for block, count in blocks_])
        assert sorted(rows.tolist()) == sorted(people)
        assert np.abs(stored - np.stack([people[row] for row in rows.tolist()])).max() < 1e-6
    assert len(held) < 2 + 2 * len(there) // 64, "blocks that are nearly empty are joined"


def test_the_population_is_the_same_by_steps_and_at_once(tmp_path: Path) -> None:
    path = tmp_path / "staff.gallery"
    rng = np.random.default_rng(1)
    with Gallery.open(path, CONTRACT) as gallery:
        for _ in range(60):
            gallery.add(f"p{rng.integers(25)}", [photo(int(rng.integers(10**6)))])
            people = gallery.people()
            if len(people) > 10:
                gallery.remove(str(rng.choice([p.name for p in people])))
        steps = gallery.search_index()
    with Gallery.open(path) as again:
        once = again.search_index()
    assert steps.population.size == once.population.size
    assert steps.population.impostor_mean == pytest.approx(once.population.impostor_mean, abs=1e-9)
    assert steps.names == once.names
    assert np.abs(steps.templates - once.templates).max() == 0


def test_groups_days_and_negative_examples_are_the_same_by_steps_and_at_once(tmp_path: Path) -> None:
    path = tmp_path / "staff.gallery"
    rng = np.random.default_rng(5)
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.set_group("staff", Group(fpir=0.05))
        gallery.set_group("gone", Group(fpir=0.01, valid_until="2020-01-01"))
        for seed in range(8):
            gallery.add(f"p{seed}", [photo(seed)])
        for step in range(40):
            who = f"p{rng.integers(8)}"
            if step % 10 == 9:
                gallery.remove(who)
                gallery.add(who, [photo(100 + step)])
            elif step % 3 == 0:
                gallery.set_groups(who, ["staff", "gone"][: rng.integers(3)] if rng.random() < 0.5 else ["gone"])
            elif step % 3 == 1:
                gallery.set_retention(who, [None, "2020-01-01", "2999-01-01"][rng.integers(3)])
            else:
                gallery.add_negative(who, photo(int(rng.integers(8))).embedding)
            steps = gallery.search_index()
            with Gallery.open(path) as again:
                once = again.search_index()
            assert (steps.people, len(steps), steps.depends_on_day()) == (8, len(once), once.depends_on_day())
            probes = unit(rng, 3)
            for mine, other in zip(steps.candidates(probes, 4), once.candidates(probes, 4), strict=True):
                assert set(map(rounded, mine)) == set(map(rounded, other))


def test_whom_negative_examples_keep_out_takes_nobodys_place(tmp_path: Path) -> None:
    """Of a hundred people who are like the probe, ninety are said not to be it: the other ten are found."""
    with Gallery.open(":memory:", CONTRACT) as gallery:
        near = [photo(seed, near=7) for seed in range(100)]
        for seed, each in enumerate(near):
            gallery.add(f"p{seed}", [each])
        probe = np.mean([each.embedding for each in near], axis=0)
        probe = (probe / np.linalg.norm(probe)).astype(np.float32)
        for seed in range(90):
            gallery.add_negative(f"p{seed}", probe)
        for k in (1, 5, 10, 30):
            found = [match.name for match in gallery.search(probe[None], k)[0]]
            assert len(found) == min(k, 10)
            assert set(found) <= {f"p{seed}" for seed in range(90, 100)}


@pytest.mark.parametrize("key", [None, bytes(32)])
def test_many_people_at_once_are_what_they_are_one_by_one(tmp_path: Path, key: bytes | None) -> None:
    path = tmp_path / "staff.gallery"
    with Gallery.open(path, CONTRACT, key=key) as gallery:
        gallery.set_keep_crops(True)
        for seed, name in enumerate(["Ana", "Bob 2", "Śāntā", "d'Arc, J.", "Eva", "Finn", "Gus"]):
            crop = b"" if seed % 2 else b"a crop"
            photos = [replace(photo(10 * seed + n), crop=crop, quality=0.5 * n or None) for n in range(1 + seed % 3)]
            gallery.add(name, photos)
        gallery.set_tags("Ana", ["night"])
        gallery.set_retention("Bob 2", "2999-12-31")
        gallery.add_negative("Finn", photo(99).embedding)
        store = gallery._store
        one_by_one = store.read(PersonTemplates.of)
        at_once = store.read(PersonTemplates.of, in_shelves=True)
    assert [person.name for person in at_once.people.values() if person] == ["Bob 2", "Finn"]
    found = {}
    for shelf in at_once.shelves:
        rows = shelf.entries
        for place, row in enumerate(rows.rows.tolist()):
            found[row] = (
                rows.names[place],
                shelf.photos,
                uuid.UUID(bytes=rows.ids[place].tobytes()),
                rows.checksums[place].tobytes(),
                rows.templates[place].tobytes(),
            )
    wanted = {
        row: (p.name, p.photos, uuid.UUID(p.id), p.checksum, fuse(p.total[None])[0].tobytes())
        for row, p in one_by_one.people.items()
        if p and p.name not in ("Bob 2", "Finn")
    }
    assert len(wanted) == 5
    assert found == wanted


@pytest.mark.parametrize("key", [None, bytes(32)])
@pytest.mark.parametrize("details", [Details(), Details(tags=("night",), metadata={"badge": 7})])
def test_nobody_is_read_one_by_one_for_what_is_usual(tmp_path: Path, key: bytes | None, details: Details) -> None:
    """Imported people have photos without a time, and of another program's hashes."""
    people = []
    for seed in range(5):
        named = replace(photo(seed), sha256="a" * (1 + seed))
        people.append(StoredPerson(0, str(uuid.uuid4()), f"p{seed}", details, (named, photo(10 + seed)), (), b""))
    with Gallery.open(tmp_path / "staff.gallery", CONTRACT, key=key) as gallery:
        gallery._store.fill(people, Settings(), None)
        found = gallery._store.read(PersonTemplates.of, in_shelves=True)
    assert found.people == {}
    assert [(shelf.photos, list(shelf.entries.names)) for shelf in found.shelves] == [(2, [f"p{n}" for n in range(5)])]


WRITER = """
import sys, time
from tiny_gallery import *
with Gallery.open(sys.argv[1], CONTRACT) as gallery:
    for seed in range(5):
        gallery.add(f"new {seed}", [photo(10**6 + seed)])
        print(time.time(), flush=True)
        time.sleep(0.2)
"""


def test_whom_another_process_enrols_is_seen_within_a_second(tmp_path: Path) -> None:
    path = tmp_path / "staff.gallery"
    vectors = unit(np.random.default_rng(2), 300)
    with Gallery.open(path, CONTRACT) as gallery:
        for i, vector in enumerate(vectors):
            gallery.add(f"p{i}", [PhotoTemplate(f"{i:064x}", 99.0, vector)])
        assert len(gallery) == 300
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
        )
        seen: set[int] = set()
        missed = [0.0] * 5  # when the last search began that did not find the person
        end = time.monotonic() + 60
        while len(seen) < 5 and time.monotonic() < end:
            for seed in range(5):
                began = time.time()
                (match,) = gallery.search(photo(10**6 + seed).embedding[None], 1)[0]
                if match.name == f"new {seed}":
                    seen.add(seed)
                else:
                    missed[seed] = began
        said = [float(line) for line in writer.communicate()[0].split()]
    assert writer.returncode == 0
    assert len(seen) == 5
    assert max(last - enrolled for last, enrolled in zip(missed, said, strict=True)) < 1.0
