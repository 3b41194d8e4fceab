"""Damaged galleries: each is refused, or gives exactly what was enrolled.

`LRFACE_FUZZ_CASES=2000 pytest tests/fuzz/test_galleries.py -s` runs more cases than the 200 of every test run, and
prints how they ended.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tiny_gallery import CONTRACT, DIM, Gallery, photo, vector

from lrface.errors import LrfaceError
from lrface.gallery import Contract, Person
from lrface.gallery.settings import Group, Settings

CASES = int(os.environ.get("LRFACE_FUZZ_CASES", "200"))
PEOPLE = 30
PAGE = 4096
VALUES = [
    "NULL",
    "''",
    "x''",
    "0",
    "-1",
    "1",
    "7.5",
    "9e999",
    "1e300",
    "9223372036854775807",
    "'16,32'",
    "zeroblob(512)",
]
VALUES += ["'../../etc'", "'a' || char(10)", "randomblob(16)", "CAST(x'ff00' AS TEXT)", "'" + "x" * 300 + "'"]
COLUMNS = {
    "contract": ["json", "checksum"],
    "settings": ["json", "checksum"],
    "state": ["fpir", "people", "photos", "content", "generation", "head", "checksum"],
    "people": ["id", "uuid", "name", "details", "checksum"],
    "photos": ["id", "person_id", "sha256", "native_px", "quality", "added", "embedding", "crop", "checksum"],
    "negatives": ["person_id", "embedding", "checksum"],
    "audit": ["seq", "at", "actor", "action", "row", "person", "detail", "hash"],
}
Content = tuple[dict[str, Person], list[tuple[str, ...]], float | None, list[str | None], Contract, Settings]
OLD = Path(__file__).parents[1] / "gallery" / "data"


def owner_hashes() -> list[str]:
    return [f"{seed:064x}" for seed in range(3 * PEOPLE)]


def content(path: Path, contract: Contract | None) -> Content:
    """All that a user can learn of a gallery."""
    with Gallery.open(path, contract) as gallery:
        people = {person.name: person for person in gallery.people()}
        probes = np.stack([vector(seed) for seed in range(4)])
        found = [
            tuple(f"{match.name} {match.similarity:.6f} {match.photos}" for match in matches)
            for matches in gallery.search(probes, PEOPLE)
        ]
        return (
            people,
            found,
            gallery.fpir,
            [gallery.owner(sha256) for sha256 in owner_hashes()],
            gallery.contract,
            gallery.settings,
        )


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The same gallery at three moments."""
    path = tmp_path_factory.mktemp("fuzz") / "whole.gallery"
    kept = []
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.set_fpir(0.02)
        gallery.set_group("staff", Group(0.03, None, "2099-12-31"))
        for person in range(PEOPLE):
            gallery.add(f"person {person}", [photo(3 * person + i) for i in range(1 + person % 3)])
            if person % 4 == 0:
                gallery.set_tags(f"person {person}", ["a tag"])
                gallery.set_groups(f"person {person}", ["staff"])
                gallery.set_metadata(f"person {person}", {"badge": person})
                gallery.add_negative(f"person {person}", vector(5000 + person))
        kept.append(path.read_bytes())
        gallery.remove("person 4")
        gallery.add("person 90", [photo(12), photo(13)])
        kept.append(path.read_bytes())
        gallery.remove("person 8")
        gallery.add("person 9", [photo(24)])
        gallery.set_fpir(0.03)
        kept.append(path.read_bytes())
    return kept


def damage(rng: np.random.Generator, path: Path, versions: list[bytes]) -> str:
    """Writes a damaged gallery; returns the kind of damage."""
    whole = versions[-1]
    broken = bytearray(whole)
    kind = str(
        rng.choice(["bit", "bits", "bytes", "exponent", "page", "torn", "cut", "grown", "value", "rows", "journal"])
    )
    places = rng.integers(0, len(whole), 8)
    if kind == "bit":
        broken[places[0]] ^= 1 << int(rng.integers(8))
    elif kind == "bits":
        for place in places:
            broken[place] ^= 1 << int(rng.integers(8))
    elif kind == "bytes":
        start = int(places[0] if rng.random() < 0.7 else rng.integers(0, 200))
        broken[start : start + 16] = rng.bytes(len(broken[start : start + 16]))
    elif kind == "exponent":  # of one value of a template: the rest of the file stays right
        blobs = (photo(int(seed)).embedding.tobytes() for seed in rng.permutation(3 * PEOPLE))
        start = next(place for place in map(whole.find, blobs) if place >= 0)
        broken[start + 4 * int(rng.integers(DIM)) + 3] ^= 1 << int(rng.integers(7))
    elif kind in ("page", "torn"):
        pages = len(whole) // PAGE
        for page in rng.choice(pages, 1 if kind == "page" else int(rng.integers(1, pages)), replace=False):
            other = versions[int(rng.integers(2))][page * PAGE : (page + 1) * PAGE] if kind == "torn" else b""
            broken[page * PAGE : (page + 1) * PAGE] = other.ljust(PAGE, b"\0")
    elif kind == "cut":
        del broken[int(places[0]) :]
    elif kind == "grown":
        broken += rng.bytes(int(rng.integers(1, 2 * PAGE)))
    path.write_bytes(broken)
    if kind == "journal":
        path.with_name(path.name + "-journal").write_bytes(rng.bytes(3000))
    if kind in ("value", "rows"):
        table = str(rng.choice(list(COLUMNS)))
        column, value = rng.choice(COLUMNS[table]), rng.choice(VALUES)
        row = f"rowid = {rng.integers(1, PEOPLE)}" if table in ("people", "photos", "audit") else "1"
        statement = f"UPDATE {table} SET {column} = {value} WHERE {row}"
        if kind == "rows":
            statement = str(
                rng.choice(
                    [
                        f"DELETE FROM {table} WHERE {row}",
                        "UPDATE photos SET person_id = 1 + person_id % 20",
                        "UPDATE people SET name = name || 'x' WHERE " + row,
                        "DELETE FROM photos",
                        "UPDATE people SET checksum = (SELECT checksum FROM people AS p WHERE p.id = 1)",
                    ]
                )
            )
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute(statement)
        except sqlite3.Error:  # a constraint: the file stays whole
            pass
        finally:
            connection.close()
    return kind


def test_no_damage_is_silent(tmp_path: Path, versions: list[bytes]) -> None:
    ends: Counter[tuple[str, str]] = Counter()
    path = tmp_path / "broken.gallery"
    path.write_bytes(versions[-1])
    wanted = content(path, CONTRACT)
    for case in range(CASES):
        rng = np.random.default_rng([28, case])
        kind = damage(rng, path, versions)
        contract = CONTRACT if case % 2 else None
        try:
            got = content(path, contract)
        except LrfaceError:
            ends[kind, after_repair(path, wanted, contract)] += 1
        else:
            assert got == wanted, f"case {case} ({kind}): other content, and no word of it"
            ends[kind, "nothing lost"] += 1
            with Gallery.open(path, contract) as gallery:  # and it goes on as a whole one
                damaged = gallery.verify()  # the audit log is read by this and by `gallery log` only
                gallery.add("somebody new", [photo(1000)])
                gallery.remove("person 1")
                gallery.audit_log()
                after = gallery.verify()
                assert bool(after) == bool(damaged), "damage of the audit log is forgotten"
                assert all("audit log" in entry.reason for entry in [*damaged, *after]), (damaged, after)
        for left in path.parent.iterdir():
            left.unlink()
    total = Counter(end for _, end in ends.elements())
    lines = [f"{CASES} damaged galleries: {dict(total)}; silently different: 0"]
    lines += [f"  {kind:10} {end:20} {count}" for (kind, end), count in sorted(ends.items())]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")


def after_repair(path: Path, wanted: Content, contract: Contract | None) -> str:
    """What `remove_damaged` leaves: only people who are exactly what they were."""
    try:
        with Gallery.open(path, contract) as gallery:
            damaged = gallery.remove_damaged()
            assert damaged, "refused, yet nothing is damaged"
            assert gallery.verify() == []
        people = content(path, contract)[0]
    except LrfaceError:
        return "refused"
    older = [person.name for person in people.values() if wanted[0].get(person.name) != person]
    # A page of an earlier moment may bring back a whole person of that moment; the user is told that damage was found.
    assert set(older) <= {"person 4", "person 8", "person 9", "person 90"}, older
    return "all but the damaged"


def test_no_damaged_gallery_of_an_earlier_version_ends_in_a_crash(tmp_path: Path) -> None:
    """Opened, it is brought to the newest schema: every value in it may be any other."""
    path, ends = tmp_path / "old.gallery", Counter[str]()
    files = [(OLD / f"schema-{schema}.sqlite").read_bytes() for schema in (1, 2)]
    for case in range(CASES):
        rng = np.random.default_rng([29, case])
        broken = bytearray(files[case % 2])
        if rng.random() < 0.3:
            for place in rng.integers(0, len(broken), int(rng.integers(1, 9))):
                broken[place] = int(rng.integers(256))
        path.write_bytes(broken)
        with (
            contextlib.suppress(sqlite3.Error, ValueError),
            contextlib.closing(sqlite3.connect(path, isolation_level=None)) as old,
        ):
            for _ in range(int(rng.integers(1, 4))):
                tables = [row[0] for row in old.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
                table = rng.choice(tables)
                column = rng.choice([row[1] for row in old.execute(f"PRAGMA table_info({table})")])
                row = rng.choice(["1", "rowid = 1", "rowid = 2"])
                old.execute(
                    f"DELETE FROM {table} WHERE {row}"
                    if rng.random() < 0.15
                    else f"UPDATE {table} SET {column} = {rng.choice(VALUES)} WHERE {row}"
                )
        try:
            with Gallery.open(path, CONTRACT if case % 4 < 2 else None) as gallery:
                gallery.people()
                gallery.search(vector(0)[None])
                gallery.verify()
            ends["read"] += 1
        except LrfaceError:
            ends["refused"] += 1
        for left in path.parent.iterdir():
            left.unlink()
    assert ends["read"], ends
    assert ends["refused"] > CASES // 4, ends
