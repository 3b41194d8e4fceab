"""kill -9 at any instant of an enrolment, a removal, a compaction or an upgrade to other models: what was acknowledged
is there, nothing half-done.

`LRFACE_FUZZ_KILLS=1000 pytest --timeout 3600 -n 0 -s tests/gallery/test_gallery_durability.py` kills more often than
every test run does.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shell import ENVIRONMENT
from tiny_gallery import CONTRACT, photo

from lrface.errors import ContractError
from lrface.gallery import Contract, Gallery

KILLS = int(os.environ.get("LRFACE_FUZZ_KILLS", "50"))
A_FILE = 25  # kills, then a new gallery: also its creation is hit often
PHOTOS = 6
OTHER = replace(CONTRACT, space="tiny-2")  # whose templates are those of CONTRACT turned round
WRITERS = """
import itertools, os, sys
from dataclasses import replace
from lrface.errors import ContractError
from lrface.gallery.store import Store
from tiny_gallery import CONTRACT, Gallery, photo

OTHER = replace(CONTRACT, space="tiny-2")

def upgrade(path, contract):
    store = Store(path, None)
    everybody = store.read(lambda person: person).people.values()
    templates = {p.sha256: replace(p, embedding=-p.embedding) for person in everybody for p in person.photos}
    store.upgrade(contract, templates)
    store.close()

def open_any(path):
    try:
        return Gallery.open(path, CONTRACT)
    except ContractError:
        return Gallery.open(path, OTHER)

def write(path, start, count):
    print("ready", os.getpid(), flush=True)
    for i in itertools.count(start):
        with open_any(path) as gallery:
            turn = 1 if gallery.contract == CONTRACT else -1
            photos = [photo(1000 * i + n) for n in range(count)]
            gallery.add(f"person {i}", [replace(p, embedding=turn * p.embedding) for p in photos])
            print("enrolled", i, flush=True)
            if i % 5 == 4:
                gallery.remove(f"person {i}")
                print("removed", i, flush=True)
                gallery.compact()
        if i % 5 == 2:
            upgrade(path, OTHER if turn == 1 else CONTRACT)
            print("upgraded", i, flush=True)

for line in sys.stdin:
    path, start, photos = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if child == 0:
        write(path, int(start), int(photos))
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


class Writers:
    """A process that has imported everything and forks a writer for each kill: a new interpreter takes far longer."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRITERS],
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def kill_one(self, path: Path, start: int, lines: int, delay_s: float) -> list[list[str]]:
        """Starts a writer without end, kills it a moment after so many lines, and gives all that it had said."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{path}\t{start}\t{PHOTOS}\n")
        word, pid = self._process.stdout.readline().split()
        assert word == "ready"
        try:
            said = [self._process.stdout.readline() for _ in range(lines)]
            time.sleep(delay_s)
        finally:
            os.kill(int(pid), signal.SIGKILL)
        said += iter(self._process.stdout.readline, "gone\n")
        return [line.split() for line in said]

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def writers() -> Iterator[Writers]:
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork: run the test on Linux or macOS")
    started = Writers()
    yield started
    started.close()


def test_kill_at_any_instant(tmp_path: Path, writers: Writers) -> None:
    rng = np.random.default_rng(28)
    people, during = 0, Counter[str]()
    for first in range(0, KILLS, A_FILE):
        people += kill_often(writers, tmp_path / f"{first}.gallery", rng, min(A_FILE, KILLS - first), during)
    hit = ", ".join(f"{count} in {what}" for what, count in sorted(during.items()))
    sys.stdout.write(f"\n{KILLS} kills ({hit}), {people} people enrolled: nobody lost\n")
    assert people > 10 * KILLS // 14
    assert during["a transaction"] > 0, "no kill hit a transaction: the test shows nothing"


def kill_often(writers: Writers, path: Path, rng: np.random.Generator, kills: int, during: Counter[str]) -> int:
    """Kills a writer so many times and compares each time; returns how many people are left, and counts in what."""
    there: set[str] = set()
    gone: set[str] = set()
    contract = CONTRACT
    for round_ in range(kills):
        # the first rounds hit the creation of the file, the later ones any step of a commit
        lines = 0 if round_ < 3 else int(rng.integers(1, 9))
        said = writers.kill_one(path, 1000 * round_, lines, rng.uniform(0, 0.03))
        during["a transaction"] += path.with_name(path.name + "-journal").exists()
        there |= {f"person {i}" for word, i in said if word == "enrolled"}
        gone |= {f"person {i}" for word, i in said if word == "removed"}
        for _ in [word for word, _ in said if word == "upgraded"]:
            contract = turned(contract)
        word, last = (said[-1][0], int(said[-1][1])) if said else ("", 1000 * round_ - 1)
        # A commit may have come just before the kill, and nobody could say so: of the next, a removal or an upgrade.
        next_ = {"enrolled": {4: "a removal", 2: "an upgrade"}.get(last % 5, "an enrolment"), "removed": "a compaction"}
        during[next_.get(word, "an enrolment")] += 1
        upgrading = word == "enrolled" and last % 5 == 2
        with open_any(path) as gallery:
            assert gallery.contract in ((contract, turned(contract)) if upgrading else (contract,))
            contract = gallery.contract
            people = {person.name: person for person in gallery.people()}
            removable = {f"person {last}"} if last % 5 == 4 else set()
            assert there - gone - removable <= set(people), "an acknowledged enrolment is lost"
            assert set(people) - there <= {f"person {last + 1}"}, "somebody is there who was never enrolled"
            assert not (gone & set(people)), "an acknowledged removal came back"
            assert all(p.photos == PHOTOS for p in people.values()), "a person is half there"
            assert len(gallery) == len(people)
            assert gallery.verify() == []
            turn = 1 if contract == CONTRACT else -1
            for person in gallery.everybody():
                for kept in person.photos:
                    wanted = photo(int(kept.sha256, 16)).embedding
                    assert np.array_equal(kept.embedding, turn * wanted), "a template of other models, or another one"
            there = set(people)
        if not there and not path.exists():  # killed before anybody was stored: a gallery without a change is deleted
            continue
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            photos = connection.execute("SELECT count(*) FROM photos").fetchone()[0]
            assert photos == PHOTOS * len(there)
        connection.close()
    return len(there)


def open_any(path: Path) -> Gallery:
    """Of whichever models it is."""
    try:
        return Gallery.open(path, CONTRACT)
    except ContractError:
        return Gallery.open(path, OTHER)


def turned(contract: Contract) -> Contract:
    """The contract after an upgrade."""
    return OTHER if contract == CONTRACT else CONTRACT
