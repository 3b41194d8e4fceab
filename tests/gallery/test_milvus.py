"""What is particular to a gallery in Milvus: the same answers as a file's, several writers, a server that is not there.

The server is milvus-lite in a process of its own.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from milvus_server import MilvusServer
from pymilvus.exceptions import MilvusException
from shell import ENVIRONMENT, lrface, refused
from tiny_gallery import CONTRACT, names, photo, soon, vector

from lrface.errors import ContractError, GalleryError, GalleryInUseError, GalleryServerError
from lrface.gallery import Gallery
from lrface.gallery.archive import export_gallery, import_gallery
from lrface.gallery.milvus import store, turns
from lrface.gallery.milvus.connection import Connection
from lrface.gallery.milvus.reader import MilvusReader
from lrface.gallery.settings import Group

NEVER = "2000-01-01"


@pytest.fixture
def url(milvus: MilvusServer) -> str:
    return milvus.empty("staff")


@pytest.fixture
def gallery(url: str) -> Iterator[Gallery]:
    with Gallery.open(url, CONTRACT) as opened:
        yield opened


def populate(gallery: Gallery) -> None:
    """People of one to four photos, some in groups, some not searched today, some with negative examples."""
    gallery.set_group("watch", Group(fpir=0.2))
    gallery.set_group("former", Group(valid_until=NEVER))
    for person in range(24):
        near = 7 if person < 8 else None
        gallery.add(f"p{person}", [photo(10 * person + i, near) for i in range(1 + person % 4)])
    for person in (1, 2, 17):
        gallery.set_groups(f"p{person}", ["watch"])
    gallery.set_groups("p3", ["former"])
    gallery.set_groups("p2", ["former", "watch"])
    gallery.set_retention("p4", NEVER)
    gallery.set_retention("p5", "2999-01-01")
    for person in (6, 9):
        gallery.add_negative(f"p{person}", vector(7))
    gallery.remove("p18")
    gallery.remove_photo("p7", photo(70).sha256)
    gallery.merge("p19", "p20")
    gallery.set_fpir(0.02)


def test_the_answers_are_those_of_a_file(gallery: Gallery, tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "file.gallery", CONTRACT) as file:
        for each in (file, gallery):
            populate(each)
        probes = np.stack([vector(7), *(vector(500 + i, near=7) for i in range(4)), *(vector(i) for i in range(12))])
        there, here = gallery.search_index(), file.search_index()
        for one, other in zip(there.candidates(probes, 3), here.candidates(probes, 3), strict=True):
            assert [(m.name, m.photos, m.fpir, m.among) for m in sorted(one, key=str)] == [
                (m.name, m.photos, m.fpir, m.among) for m in sorted(other, key=str)
            ]
        for one, other in zip(gallery.search(probes, 5), file.search(probes, 5), strict=True):
            assert [m.name for m in one] == [m.name for m in other]
            assert [m.similarity for m in one] == pytest.approx([m.similarity for m in other], abs=1e-5)
        assert (len(there), there.people, there.names) == (len(here), here.people, here.names)
        assert (there.fpir, there.enrolled.photos) == (here.fpir, here.enrolled.photos)
        assert there.population.impostor_mean == pytest.approx(here.population.impostor_mean, abs=1e-6)
        near = [each.reaching(probes, lambda photos: np.full(len(probes), 0.1 * photos)) for each in (there, here)]
        assert near[0] == near[1]
        assert sum(near[0]) > 15
        assert [e.action for e in gallery.audit_log()] == [e.action for e in file.audit_log()]
        assert gallery.verify() == file.verify() == []


def test_whoever_searches_has_the_same_people_until_something_changes(gallery: Gallery, url: str) -> None:
    gallery.add("ana", [photo(1)])
    index = gallery.search_index()
    assert gallery.search_index() is index
    with Gallery.open(url, CONTRACT) as other:
        other.add("bob", [photo(2)])
    assert index.search(photo(2).embedding[None], 1)[0][0].name == "ana"  # of that moment
    soon(lambda: names(gallery, photo(2).embedding, 1), ["bob"])
    assert gallery.search_index() is not index


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


def test_closed_by_another_thread(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a camera searches."""
    gallery.add("Ana", [photo(1)])
    index = gallery.search_index()
    client = gallery._store._connection._client
    search = client.search

    def closing(*values: object, **more: object) -> object:
        gallery.close()
        return search(*values, **more)

    monkeypatch.setattr(client, "search", closing)
    with pytest.raises(GalleryError, match="open it again"):
        index.search(vector(1)[None], 1)


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


def test_nothing_of_a_removed_person_is_left_on_the_servers_disk(gallery: Gallery, milvus: MilvusServer) -> None:
    """Once it has compacted its files, which milvus-lite does where there are four of a size."""
    traces = [b"Anastasia", b"Persephone", b"left-handed"]

    def held() -> set[bytes]:
        files = [file.read_bytes() for file in (milvus.folder / "data").rglob("*") if file.is_file()]
        return {trace for trace in traces for content in files if trace in content}

    gallery.add("Anastasia", [photo(1), photo(2)])
    gallery.set_tags("Anastasia", ["left-handed"])
    gallery.compact()
    assert held() == {*traces} - {b"Persephone"}  # it would be found
    gallery.rename("Anastasia", "Persephone")
    gallery.remove("Persephone")
    for number in range(12):
        gallery.add(f"person {number}", [photo(1000 + number)])
        gallery.compact()
        if not held():
            return
    assert held() == set()


def test_a_template_that_is_altered_is_noticed(gallery: Gallery, milvus: MilvusServer) -> None:
    gallery.add("Ana", [photo(1)])
    gallery.add("Bob", [photo(2), photo(3)])
    client = milvus.client()
    (row,) = client.query("staff", filter='name == "Bob"', output_fields=["*"])
    client.upsert("staff", [{**row, "vector": [float(v) for v in vector(5)]}])
    assert [(entry.name, entry.reason) for entry in gallery.verify()] == [
        ("Bob", "the template is not the mean of the photos")
    ]
    with pytest.raises(GalleryError, match=r"damaged.*Bob"):
        gallery.photos("Bob")
    with pytest.raises(GalleryError, match=r"damaged.*Bob"):
        gallery.add("Bob", [photo(4)])
    assert [entry.name for entry in gallery.remove_damaged()] == ["Bob"]
    assert gallery.verify() == []
    assert [p.name for p in gallery.people()] == ["Ana"]
    assert gallery.search_index().population.size == 1


def test_a_damaged_person_is_removed_like_any_other(
    gallery: Gallery, milvus: MilvusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log says who is gone, so that a service erases what it has kept. Nobody whole is taken for damaged."""
    gallery.add("Ana", [photo(1)])
    gallery.add("Bob", [photo(2), photo(3)])
    bob = gallery.person("Bob").id
    client = milvus.client()
    (row,) = client.query("staff", filter='name == "Bob"', output_fields=["*"])
    client.upsert("staff", [{**row, "vector": [float(v) for v in vector(5)]}])
    assert gallery.remove("Bob") == 2
    assert [(e.action, e.person) for e in gallery.audit_log(most=1)] == [("person removed", bob)]
    assert gallery.verify() == []

    def late(*_: object) -> None:
        raise GalleryInUseError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(MilvusReader, "_find", late)
        with pytest.raises(GalleryInUseError):
            gallery.remove("Ana")
    assert [person.name for person in gallery.people()] == ["Ana"]


def test_an_altered_log_is_noticed(gallery: Gallery, milvus: MilvusServer) -> None:
    gallery.add("Ana", [photo(1)])
    gallery.add("Bob", [photo(2)])
    client = milvus.client()
    client.delete("staff__notes", filter='key == "entry 1"')
    (entry,) = gallery.verify()
    assert "audit log" in entry.reason
    gallery.remove_damaged()
    assert gallery.verify() == []
    assert len(gallery) == 2


def test_export_and_import_keep_everything(gallery: Gallery, milvus: MilvusServer, tmp_path: Path) -> None:
    populate(gallery)
    assert export_gallery(gallery._store, tmp_path / "a.zip") == 22
    with pytest.raises(GalleryError, match="somebody is in"):
        import_gallery(tmp_path / "a.zip", milvus.url("staff"))
    copy = milvus.empty("copied")
    for target in (copy, tmp_path / "file.gallery"):
        assert import_gallery(tmp_path / "a.zip", target) == 22
        with Gallery.open(target, CONTRACT) as new:
            assert new.people() == gallery.people()
            assert (new.fpir, new.groups()) == (gallery.fpir, gallery.groups())
            assert new.verify() == []
            assert names(new, vector(7)) == names(gallery, vector(7))


def test_an_import_that_was_interrupted_is_begun_again(
    gallery: Gallery, milvus: MilvusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        gallery.add(f"p{number}", [photo(number)])
    export_gallery(gallery._store, tmp_path / "a.zip")
    copy = milvus.empty("copied")
    with monkeypatch.context() as patch:
        patch.setattr(store, "_REQUEST", 0)
        patch.setattr(turns.Turn, "renew", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            import_gallery(tmp_path / "a.zip", copy)
    with Gallery.open(copy, CONTRACT) as opened, pytest.raises(GalleryError, match="import again"):
        opened.search_index()
    assert import_gallery(tmp_path / "a.zip", copy) == 3
    with Gallery.open(copy, CONTRACT) as opened:
        assert opened.verify() == []
        assert len(opened) == 3


def test_crops_are_kept_and_deleted(gallery: Gallery) -> None:
    gallery.add("Ana", [replace(photo(1), crop=b"a picture")])
    gallery.set_keep_crops(True)
    gallery.add("Ana", [replace(photo(2), crop=b"a picture")])
    assert [p.crop for p in gallery.photos("Ana")] == [b"", b"a picture"]
    gallery.set_keep_crops(False)
    assert [p.crop for p in gallery.photos("Ana")] == [b"", b""]
    assert gallery.verify() == []


def test_crops_that_an_interrupted_call_left_are_deleted(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery.set_keep_crops(True)
    gallery.add("Ana", [replace(photo(1), crop=b"a picture")])
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "all", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            gallery.set_keep_crops(False)
    gallery.set_keep_crops(False)
    assert [p.crop for p in gallery.photos("Ana")] == [b""]
    assert gallery.verify() == []


def test_an_import_with_crops_is_sent_in_parts(
    gallery: Gallery, milvus: MilvusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server refuses a request of more than 64 MiB."""
    gallery.set_keep_crops(True)
    for number in range(3):
        own = [photo(100 * number + i) for i in range(30)]
        gallery.add(f"p{number}", [replace(each, crop=bytes(40_000)) for each in own])
    export_gallery(gallery._store, tmp_path / "a.zip")
    sizes, commit = [], Connection.commit

    def measured(connection: Connection, rows: list[dict[str, str]]) -> None:
        sizes.append(sum(len(row["blob"]) for row in rows))
        commit(connection, rows)

    monkeypatch.setattr(Connection, "commit", measured)
    copy = milvus.empty("copied")
    assert import_gallery(tmp_path / "a.zip", copy) == 3
    assert max(sizes) < 2 * 2**20 < sum(sizes)
    with Gallery.open(copy, CONTRACT) as new:
        assert [len(p.crop) for person in new.everybody() for p in person.photos] == 90 * [40_000]
        assert new.verify() == []


def test_who_is_searched_is_counted_while_others_enrol(gallery: Gallery) -> None:
    """Of somebody who is not searched today there are more photos than at the moment of the index."""
    gallery.add("Ana", [photo(1)])
    gallery.add("Bob", [photo(2)])
    gallery.set_retention("Bob", NEVER)
    index = gallery.search_index()
    gallery.add("Bob", [photo(3)])
    assert index.names == ["Ana"]
    assert index.enrolled.photos[1] >= 1


def test_another_day_is_another_list_of_people(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery.add("Ana", [photo(1)])
    gallery.add("Bob", [photo(2)])
    gallery.set_retention("Ana", dt.date.today().isoformat())
    assert len(gallery.search_index()) == 2

    tomorrow = dt.date.today() + dt.timedelta(days=1)

    class Tomorrow(dt.date):
        @classmethod
        def today(cls) -> dt.date:
            return tomorrow

    monkeypatch.setattr("lrface.gallery.milvus.reader.dt.date", Tomorrow)
    assert names(gallery, photo(1).embedding) == ["Bob"]
    assert len(gallery.search_index()) == 1


def test_a_server_that_dies_is_a_clear_error_and_found_again(tmp_path: Path) -> None:
    server = MilvusServer(tmp_path)
    server.start()
    try:
        with Gallery.open(server.url("staff"), CONTRACT) as gallery:
            gallery.add("Ana", [photo(1)])
            gallery.compact()
            server.kill()
            for call in (
                lambda: names(gallery, vector(1)),
                lambda: gallery.add("Bob", [photo(2)]),
                lambda: gallery.person("Ana"),  # who must not be taken for removed
            ):
                began = time.monotonic()
                with pytest.raises(GalleryServerError, match="no connection to the server"):
                    call()
                assert time.monotonic() - began < 30
            with pytest.raises(GalleryError, match="no connection to the server"):
                Gallery.open(server.url("staff"), CONTRACT)
            server.start()
            end = time.monotonic() + 30
            while True:
                try:
                    assert names(gallery, vector(1)) == ["Ana"]
                    break
                except GalleryError:
                    assert time.monotonic() < end, "it was not found again"
                    time.sleep(0.2)
            assert gallery.add("Bob", [photo(2)]) == 1
            assert gallery.verify() == []
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("milvus:///staff", "no host"),
        (Path("milvus://127.0.0.1/staff"), "no host"),
        ("milvus://127.0.0.1:19530", "collection"),
        ("milvus://127.0.0.1:19530/a/b", "collection"),
        ("milvus://127.0.0.1:19530/9a", "collection"),
        ("milvus://127.0.0.1:19530/staff__notes", "collection"),
        ("milvus://127.0.0.1:99999999/staff", "port"),
        ("milvus://secret@127.0.0.1/staff", "LRFACE_MILVUS_TOKEN"),
        ("milvus://root:se?cret@127.0.0.1/staff", "%3F"),
        ("milvus+tls://127.0.0.1:1/staff", "no connection"),
    ],
)
def test_urls_that_cannot_be_used(url: str | Path, match: str) -> None:
    with pytest.raises(GalleryError, match=match) as error:
        Gallery.open(url, CONTRACT)
    assert "cret" not in str(error.value)


def test_no_password_in_an_error(milvus: MilvusServer, monkeypatch: pytest.MonkeyPatch, caplog: object) -> None:
    with pytest.raises(GalleryError) as error:
        Gallery.open("milvus://root:sesame@127.0.0.1:1/staff", CONTRACT)
    monkeypatch.setenv("LRFACE_MILVUS_TOKEN", "sesame")
    with pytest.raises(GalleryError) as other:
        Gallery.open("milvus://127.0.0.1:1/staff", CONTRACT)
    with Gallery.open(milvus.url("staff"), CONTRACT) as gallery:
        shown = repr(gallery._store._connection.address)
    for text in (str(error.value), str(other.value), shown):
        assert "sesame" not in text


def test_collections_that_are_no_gallery(milvus: MilvusServer, url: str) -> None:
    with Gallery.open(url, CONTRACT) as gallery:
        gallery.add("Ana", [photo(1)])
    with pytest.raises(ContractError, match="another model"):
        Gallery.open(url, replace(CONTRACT, space="tiny-2"))
    with pytest.raises(GalleryError, match="cannot search what is encrypted"):
        Gallery.open(url, CONTRACT, key=bytes(32))
    for options in ({"create": False, "contract": CONTRACT}, {"contract": None}):
        with pytest.raises(GalleryError, match="no such collection"):
            Gallery.open(milvus.url("nobody"), **options)
    client = milvus.client()
    if not client.has_collection("other"):
        client.create_collection("other", dimension=8)
    with pytest.raises(GalleryError, match="not a gallery of lrface"):
        Gallery.open(milvus.url("other"), CONTRACT)
    before = client.list_collections()
    with Gallery.open(milvus.url("nobody"), CONTRACT) as empty:
        assert (len(empty), empty.people(), empty.fpir, empty.audit_log(), empty.verify()) == (0, [], None, [], [])
    assert client.list_collections() == before  # nothing was written, so nothing was made
    client.alter_collection_properties("staff", {"lrface.format": "2"})
    try:
        with pytest.raises(GalleryError, match="update lrface"):
            Gallery.open(url, CONTRACT)
    finally:
        client.alter_collection_properties("staff", {"lrface.format": "1"})


def test_a_collection_that_was_dropped_says_so(milvus: MilvusServer) -> None:
    """Whatever its name: "auth" is also in the message of a server that wants another password."""
    with Gallery.open(milvus.empty("authors"), CONTRACT) as gallery:
        gallery.add("Ana", [photo(1)])
        milvus.client().drop_collection("authors")
        with pytest.raises(GalleryError, match="not there any more"):
            gallery.add("Bob", [photo(2)])


def test_a_collection_that_other_models_made_anew(milvus: MilvusServer) -> None:
    """While a service has it open: its templates are not compared with the others, nor put among them."""
    url, client = milvus.empty("remade"), milvus.client()
    with Gallery.open(url, CONTRACT) as gallery:
        gallery.add("Ana", [photo(1)])
        assert names(gallery, vector(132)) == ["Ana"]
        for name in ("remade", "remade__notes"):
            client.drop_collection(name)
        with Gallery.open(url, replace(CONTRACT, space="tiny-2")) as other:
            other.add("Bob", [photo(2)])
            time.sleep(0.4)  # by then others' changes are seen
            for call in (lambda: names(gallery, vector(132)), lambda: gallery.add("Cem", [photo(3)])):
                with pytest.raises(ContractError, match="which was replaced"):
                    call()
            assert [person.name for person in other.people()] == ["Bob"]
    for name in ("remade", "remade__notes"):
        client.drop_collection(name)


def test_without_pymilvus_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(GalleryError, match=r"pip install 'lrface\[milvus\]'"):
        Gallery.open("milvus://127.0.0.1/staff", CONTRACT)


def test_a_name_that_may_be_none_is_not_shown(gallery: Gallery, milvus: MilvusServer) -> None:
    """Whoever may write to the collection may write anything."""
    gallery.add("Ana", [photo(1)])
    client = milvus.client()
    (row,) = client.query("staff", filter='name == "Ana"', output_fields=["*"])
    client.upsert("staff", [{**row, "name": "\x1b[31mAna"}])
    for call in (gallery.people, lambda: gallery.people(most=5), lambda: names(gallery, vector(1))):
        with pytest.raises(GalleryError, match=r"damaged.*U\+001B"):
            call()
    assert len(gallery.remove_damaged()) == 1
    assert gallery.people() == []


def test_what_a_server_cannot_do_says_so(gallery: Gallery, tmp_path: Path) -> None:
    gallery.add("Ana", [photo(1)])
    with pytest.raises(GalleryError, match="Milvus's own backup"):
        gallery.snapshot(tmp_path / "copy")
    assert not list(tmp_path.iterdir())


def test_the_command_line(milvus: MilvusServer, tmp_path: Path, portrait: Path) -> None:
    """With the bundled models."""
    place = milvus.url("seen")
    (tmp_path / "people" / "Eileen Collins").mkdir(parents=True)
    shutil.copy(portrait, tmp_path / "people" / "Eileen Collins" / "a.jpg")
    refused(lrface("identify", place, portrait), "no such collection", "seen on 127.0.0.1")
    done = lrface("enroll", place, tmp_path / "people", "--keep-crops")
    assert done.returncode == 0, done.stderr
    done = lrface("identify", place, portrait, "--json")
    assert json.loads(done.stdout)["faces"][0]["name"] == "Eileen Collins"
    refused(lrface("gallery", "upgrade", place), "new collection")
    assert "--data" in lrface("serve", "--gallery", place).stderr
    done = lrface("gallery", "remove", place, "Eileen Collins")
    assert done.stdout == "removed Eileen Collins (1 photos)\n"
    with Gallery.open(place) as gallery:
        assert [entry.action for entry in gallery.audit_log()][-1] == "person removed"
        assert len(gallery) == 0
