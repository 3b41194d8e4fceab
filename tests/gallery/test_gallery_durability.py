"""kill -9 at any instant of an enrolment, a removal or a compaction: what was acknowledged is there, nothing half-done.

`LRFACE_FUZZ_KILLS=1000 pytest tests/gallery/test_gallery_durability.py -s` kills more often than every test run does.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from shell import ENVIRONMENT
from tiny_gallery import CONTRACT, photo

from lrface.gallery import Gallery

KILLS = int(os.environ.get("LRFACE_FUZZ_KILLS", "50"))
A_FILE = 25  # kills, then a new gallery: also its creation is hit often
PHOTOS = 6
WRITERS = """
import itertools, os, signal, sys
from tiny_gallery import CONTRACT, Gallery, photo

def write(path, start, photos):
    print("ready", os.getpid(), flush=True)
    with Gallery.open(path, CONTRACT) as gallery:
        for i in itertools.count(start):
            gallery.add(f"person {i}", [photo(1000 * i + n) for n in range(photos)])
            print("enrolled", i, flush=True)
            if i % 5 == 4:
                gallery.remove(f"person {i}")
                print("removed", i, flush=True)
                gallery.compact()

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
    journals = people = 0
    for first in range(0, KILLS, A_FILE):
        found = kill_often(writers, tmp_path / f"{first}.gallery", rng, min(A_FILE, KILLS - first))
        people, journals = people + found[0], journals + found[1]
    told = f"{KILLS} kills, {journals} of them within a transaction, {people} people enrolled: nobody lost"
    sys.stdout.write(f"\n{told}\n")
    assert people > 10 * KILLS // 14
    assert journals > 0, "no kill hit a transaction: the test shows nothing"


def kill_often(writers: Writers, path: Path, rng: np.random.Generator, kills: int) -> tuple[int, int]:
    """Kills a writer so many times and compares each time; returns how many people and hot journals were left."""
    there: set[str] = set()
    gone: set[str] = set()
    journals = 0
    for round_ in range(kills):
        # the first rounds hit the creation of the file, the later ones any step of a commit
        lines = 0 if round_ < 3 else int(rng.integers(1, 7))
        said = writers.kill_one(path, 1000 * round_, lines, rng.uniform(0, 0.03))
        journals += path.with_name(path.name + "-journal").exists()
        there |= {f"person {i}" for word, i in said if word == "enrolled"}
        gone |= {f"person {i}" for word, i in said if word == "removed"}
        with Gallery.open(path, CONTRACT) as gallery:
            people = {person.name: person for person in gallery.people()}
            last = int(said[-1][1]) if said else 1000 * round_ - 1
            # A commit may have come just before the kill, and nobody could say so: of the next, or of a removal.
            removable = {f"person {last}"} if last % 5 == 4 else set()
            assert there - gone - removable <= set(people), "an acknowledged enrolment is lost"
            assert set(people) - there <= {f"person {last + 1}"}, "somebody is there who was never enrolled"
            assert not (gone & set(people)), "an acknowledged removal came back"
            assert all(p.photos == PHOTOS for p in people.values()), "a person is half there"
            assert len(gallery) == len(people)
            assert gallery.verify() == []
            there = set(people)
        if not there and not path.exists():  # killed before anybody was stored: a gallery without a change is deleted
            continue
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            photos = connection.execute("SELECT count(*) FROM photos").fetchone()[0]
            assert photos == PHOTOS * len(there)
    return len(there), journals


def test_an_acknowledged_person_is_exactly_what_was_enrolled(tmp_path: Path, writers: Writers) -> None:
    said = writers.kill_one(tmp_path / "g", 0, 9, 0.0)
    with Gallery.open(tmp_path / "g", CONTRACT) as gallery:
        for word, i in said:
            if word == "enrolled" and ["removed", i] not in said and (word, i) != tuple(said[-1]):
                mean = np.mean([photo(1000 * int(i) + n).embedding for n in range(PHOTOS)], axis=0)
                found = gallery.search((mean / np.linalg.norm(mean))[None].astype(np.float32), 1)[0][0]
                assert found.name == f"person {i}"
                assert found.similarity == pytest.approx(1, abs=1e-5)
