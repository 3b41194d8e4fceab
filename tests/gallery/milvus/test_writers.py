"""Several writers of a gallery in Milvus, also killed and stopped ones, and a server that fails within a change."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from milvus_server import MilvusServer
from pymilvus.exceptions import MilvusException
from shell import ENVIRONMENT
from tiny_gallery import CONTRACT, names, photo, vector

from lrface.errors import GalleryError, GalleryInUseError
from lrface.gallery import Gallery
from lrface.gallery.milvus import turns
from lrface.gallery.milvus.connection import Connection

WRITER = """
import sys, time
from lrface.gallery.milvus import turns
from tiny_gallery import *
url, first, count, lease = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
turns.LEASE_S = lease
with Gallery.open(url, CONTRACT) as gallery:
    print("ready", flush=True)
    for i in range(count):
        name = f"p{i % 3}" if lease > 9 else f"p{first + i}"
        gallery.add(name, [photo(first + i)])
        print(name, first + i, flush=True)
"""


def writer(url: str, first: int, count: int, lease: float = 10) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url, str(first), str(count), str(lease)],
        env=ENVIRONMENT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_two_processes_add_photos_to_the_same_people(url: str) -> None:
    """Each reads a person and writes it back with a photo more: neither may lose what the other has written."""
    children = [writer(url, first, 9) for first in (1000, 2000)]
    assert [child.wait(120) for child in children] == [0, 0]
    with Gallery.open(url, CONTRACT) as gallery:
        assert [(p.name, p.photos) for p in gallery.people()] == [("p0", 6), ("p1", 6), ("p2", 6)]
        assert gallery.verify() == []
        assert [entry.number for entry in gallery.audit_log()] == list(range(1, 22))


def test_what_was_acknowledged_is_there_when_the_writer_is_killed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LEASE_S", 1.5)
    rng, said = np.random.default_rng(3), []
    with Gallery.open(url, CONTRACT) as gallery:
        for round_ in range(4):
            child = writer(url, 100 * round_, 90, lease=1.5)
            assert child.stdout is not None
            for _ in range(2 + int(rng.integers(3))):
                said.append(child.stdout.readline())
            time.sleep(rng.uniform(0, 0.1))
            child.send_signal(signal.SIGKILL)
            said += child.stdout.readlines()
            child.wait(30)
            told = {int(line.split()[1]) for line in said if len(line.split()) == 2}
            there = {int(p.sha256, 16) for person in gallery.everybody() for p in person.photos}
            assert told <= there, "an acknowledged enrolment is lost"
            assert len(there - told) <= round_ + 1, "somebody is there who was never enrolled"
            assert gallery.verify() == []
        gallery.add("last", [photo(9000)])  # whatever claims the dead have left
        assert gallery.verify() == []
        assert len(gallery) == len(there) + 1


def test_what_a_killed_writer_left_half_done_is_completed(
    gallery: Gallery, url: str, monkeypatch: pytest.MonkeyPatch, milvus: MilvusServer
) -> None:
    """Between its one request and what comes after it."""
    gallery.add("Ana", [photo(1), photo(2)])
    gallery.add("Bob", [photo(3)])
    with monkeypatch.context() as patch:
        for name in ("delete", "delete_keys"):  # nothing after the request is done
            patch.setattr(Connection, name, lambda *_, **__: None)
        gallery.remove("Ana")
    monkeypatch.setattr(turns, "LEASE_S", 1.5)
    with Gallery.open(url, CONTRACT) as other:
        assert [p.name for p in other.people()] == ["Bob"]
        assert other.owner(photo(1).sha256) is None
        assert other.audit_log()[-1].action == "person removed"
        assert other.verify() == []
        assert other.add("Cem", [photo(1)]) == 1  # waits for the claim of the dead one to end
        assert other.verify() == []
        assert milvus.client().query("staff", filter='kind == "blank"', output_fields=["key"]) == []


def test_a_writer_that_was_stopped_for_long_deletes_nothing_of_the_next(
    gallery: Gallery, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its request; meanwhile its turn is over, and the photo is enrolled again."""
    gallery.add("Ana", [photo(1)])
    commit = Connection.commit
    others = iter([lambda other: other.add("Cem", [photo(1)])])

    def stopped(connection: Connection, rows: list[dict[str, object]]) -> None:
        commit(connection, rows)
        for call in others:
            with Gallery.open(url, CONTRACT) as other:
                call(other)

    monkeypatch.setattr(turns, "LEASE_S", 2.0)
    monkeypatch.setattr(Connection, "commit", stopped)
    gallery.remove("Ana")
    assert gallery.owner(photo(1).sha256) == "Cem"
    assert gallery.verify() == []


def test_a_change_that_is_stored_is_no_error(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is deleted after it can be deleted by the next change."""

    def late(*_: object) -> None:
        raise GalleryInUseError("no answer")

    gallery.add("Ana", [photo(1)])
    monkeypatch.setattr(Connection, "delete_keys", late)
    assert gallery.remove("Ana") == 1
    assert gallery.people() == []


def test_a_server_that_dies_within_a_change_leaves_it_open(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request was sent, and no answer came."""
    gallery.add("Ana", [photo(1)])
    client = gallery._store._connection._client
    upsert = client.upsert

    def broken(name: str, rows: list[dict[str, object]], **more: object) -> None:
        upsert(name, rows, **more)
        if name == "staff":
            raise ConnectionError("the connection is broken")

    with monkeypatch.context() as patch:
        patch.setattr(client, "upsert", broken)
        with pytest.raises(GalleryError, match="is not known: look, then repeat it"):
            gallery.add("Bob", [photo(2)])
    assert gallery.add("Bob", [photo(2)]) == 0  # it was there
    assert gallery.verify() == []


def test_a_change_that_the_server_refuses_is_not_stored(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery.add("Ana", [photo(1)])
    client = gallery._store._connection._client
    upsert = client.upsert

    def refusing(name: str, rows: list[dict[str, object]], **more: object) -> None:
        if name == "staff":
            raise MilvusException(7, "PrivilegeUpsert: permission deny to lrface")
        upsert(name, rows, **more)

    monkeypatch.setattr(client, "upsert", refusing)
    with pytest.raises(GalleryError, match="the server refuses this user") as error:
        gallery.add("Bob", [photo(2)])
    assert "not known" not in str(error.value)


def test_a_turn_that_does_not_end_is_an_error_not_a_hang(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_S", 0.3)
    gallery.add("Ana", [photo(1)])
    with turns.turn_of(gallery._store._connection):
        with pytest.raises(GalleryInUseError, match="another process"):
            gallery.add("Bob", [photo(2)])
        assert names(gallery, vector(1)) == ["Ana"]  # searches go on
    assert gallery.add("Bob", [photo(2)]) == 1


def test_a_change_that_took_too_long_is_not_written(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    """By then another process may have the turn."""
    gallery.add("Ana", [photo(1)])
    ago = time.monotonic() - turns.LEASE_S

    def slow() -> None:
        with gallery._store._writing() as change:
            change.tell("nothing")
            change.turn._renewed = ago

    with pytest.raises(GalleryInUseError, match="took too long"):
        slow()
    assert [entry.action for entry in gallery.audit_log()] == ["person added", "photos added"]
