"""A gallery's file that is replaced, locked, taken away or of wide rights while it is open."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_gallery import CONTRACT, names, photo, vector

from lrface.errors import ContractError, GalleryError, GalleryInUseError
from lrface.gallery import Gallery, following
from lrface.gallery.storefile import BUSY_S
from lrface.matcher import FaceMatcher

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such rights and pipes: run it on Linux")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "staff.gallery"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A gallery as large, with as many transactions, of somebody else."""
    made = tmp_path / "other.gallery"
    with Gallery.open(made, CONTRACT) as gallery:
        gallery.add("bob", [photo(1)])
    return made


def rsync(source: Path, target: Path) -> None:
    shutil.copy2(source, target.with_name(".staff.gallery.x1y2"))
    target.with_name(".staff.gallery.x1y2").replace(target)


REPLACE: dict[str, Callable[[Path, Path], object]] = {
    "cp": lambda source, target: target.write_bytes(source.read_bytes()),
    "cp with the old time": lambda source, target: (shutil.copyfile(source, target), shutil.copystat(source, target)),
    "mv": lambda source, target: source.replace(target),
    "rsync": rsync,
    "rm and cp": lambda source, target: (target.unlink(), shutil.copyfile(source, target)),
}


@pytest.mark.parametrize("how", REPLACE)
def test_who_is_not_in_the_new_file_is_not_named(path: Path, other: Path, how: str) -> None:
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
        assert names(gallery, vector(132)) == ["ana"]
        REPLACE[how](other, path)
        assert names(gallery, vector(132)) == ["bob"]
        assert [person.name for person in gallery.people()] == ["bob"]
        assert gallery.owner(photo(1).sha256) == "bob"
        gallery.add("cem", [photo(2)])
        assert gallery.verify() == []
    with Gallery.open(path, CONTRACT) as again:
        assert [person.name for person in again.people()] == ["bob", "cem"]


@pytest.mark.parametrize("how", REPLACE)
def test_a_writer_writes_into_the_new_file(path: Path, other: Path, how: str) -> None:
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
        REPLACE[how](other, path)
        gallery.add("cem", [photo(2)])
        with pytest.raises(GalleryError, match="nobody called"):
            gallery.remove("ana")
    with Gallery.open(path, CONTRACT) as again:
        assert [person.name for person in again.people()] == ["bob", "cem"]


def test_a_file_that_is_replaced_between_lock_and_commit_is_an_error(path: Path, other: Path) -> None:
    with Gallery.open(path, CONTRACT) as gallery:
        with pytest.raises(GalleryError, match=r"replaced.*repeat it"), gallery._store._transaction():
            other.replace(path)
        gallery.add("cem", [photo(2)])
        assert [person.name for person in gallery.people()] == ["bob", "cem"]


@pytest.mark.parametrize("call", ["owner", "verify", "fpir"])
@pytest.mark.parametrize("how", ["remove", *REPLACE])
def test_another_call_does_not_hide_the_change(path: Path, other: Path, how: str, call: str) -> None:
    """Each call follows the file; a search after it must notice what that call has followed."""
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
        assert names(gallery, vector(132)) == ["ana"]
        if how == "remove":
            with Gallery.open(path, CONTRACT) as elsewhere:
                elsewhere.remove("ana")
        else:
            REPLACE[how](other, path)
        {"owner": lambda: gallery.owner("b1"), "verify": gallery.verify, "fpir": lambda: gallery.fpir}[call]()
        assert names(gallery, vector(132)) == ([] if how == "remove" else ["bob"])


def test_a_gallery_of_other_models_takes_the_place(path: Path, tmp_path: Path) -> None:
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
        names(gallery, vector(132))
        with Gallery.open(tmp_path / "foreign", replace(CONTRACT, space="other")) as foreign:
            foreign.set_fpir(0.1)
        (tmp_path / "foreign").replace(path)
        for _ in range(2):
            with pytest.raises(ContractError, match="replaced"):
                names(gallery, vector(132))


def test_while_the_file_is_missing_or_half_copied_the_last_people_are_used(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1000.0]
    monkeypatch.setattr(following.time, "monotonic", lambda: now[0])
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
        assert names(gallery, vector(132)) == ["ana"]
        whole = path.read_bytes()
        path.unlink()
        assert names(gallery, vector(132)) == ["ana"]
        path.write_bytes(whole[:9000])
        now[0] += 2.0
        assert names(gallery, vector(132)) == ["ana"]
        assert "as last read" in caplog.text
        path.write_bytes(whole)
        assert names(gallery, vector(132)) == ["ana"]
        assert "can be read again" in caplog.text
        path.unlink()
        assert names(gallery, vector(132)) == ["ana"]
        now[0] += following.GRACE_S + 1
        with pytest.raises(GalleryError, match="moved or deleted"):
            names(gallery, vector(132))
        assert not path.exists(), "nobody asked for a new gallery"


def test_a_lock_does_not_end_a_search(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However long it lasts; who has no people yet is told after a while."""
    now = [1000.0]
    monkeypatch.setattr(following.time, "monotonic", lambda: now[0])
    monkeypatch.setattr("lrface.gallery.storefile.BUSY_S", 0.05)
    with Gallery.open(path, CONTRACT) as gallery, Gallery.open(path, CONTRACT) as fresh:
        gallery.add("ana", [photo(1)])
        assert names(gallery, vector(132)) == ["ana"]
        writer = sqlite3.connect(path, isolation_level=None)
        writer.execute("BEGIN EXCLUSIVE")
        for _ in range(3):
            assert names(gallery, vector(132)) == ["ana"]
            assert gallery.fpir is None
            now[0] += 3600.0
        with pytest.raises(GalleryInUseError, match="reading or writing"):
            names(fresh, vector(132))
        writer.execute("ROLLBACK")
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert names(gallery, vector(132)) == ["ana"]
        fresh.remove("ana")
        assert names(gallery, vector(132)) == []
        writer.close()


def test_a_reader_that_does_not_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrface.gallery.storefile.BUSY_S", 0.05)
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM people").fetchall()
        with pytest.raises(GalleryInUseError, match="reading or writing"):
            gallery.add("bob", [photo(2)])
        assert [person.name for person in gallery.people()] == ["ana"]
        reader.execute("ROLLBACK")
        assert gallery.add("bob", [photo(2)]) == 1
        reader.close()


def test_a_writer_comes_in_while_a_large_gallery_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """People are read in slices; what changes meanwhile is in the result, of one moment."""
    monkeypatch.setattr("lrface.gallery.reading.SLICE", 2)
    monkeypatch.setattr("lrface.gallery.storefile.BUSY_S", 0.05)
    with Gallery.open(path, CONTRACT) as reading, Gallery.open(path, CONTRACT) as writing:
        for seed in range(9):
            writing.add(f"p{seed}", [photo(seed)])
        made = []

        def make(person: object) -> object:
            made.append(person)
            if len(made) == 3:  # under a lock: a slice is short
                with pytest.raises(GalleryInUseError):
                    writing.remove("p0")
            return person

        reading._store.read(make)
        assert len(made) == 9
        made.clear()
        steps = iter(["p1", "p2"])
        monkeypatch.setattr("lrface.gallery.reading.one_moment", between(writing, steps))
        snapshot = reading._store.read(make)
        assert [person.name for person in snapshot.people.values()] == [f"p{i}" for i in (0, *range(3, 9))]
        assert (snapshot.state.people, snapshot.state.photos) == (7, 7)
        steps = iter(["p5", "p6"])
        monkeypatch.setattr("lrface.gallery.reading.one_moment", between(writing, steps))
        snapshot = reading._store.read(make, in_shelves=True)
        found = [name for shelf in snapshot.shelves for name in shelf.entries.names]
        assert sorted(found) == ["p0", "p3", "p4", "p7", "p8"]
        assert (snapshot.state.people, snapshot.people) == (5, {})


def between(writing: Gallery, steps: object) -> Callable[..., object]:
    """`one_moment`, before which somebody is removed as long as there are names."""
    from lrface.gallery.transactions import one_moment

    def moment(connection: sqlite3.Connection) -> object:
        name = next(steps, None)  # type: ignore[call-overload]
        if name is not None:
            writing.remove(name)
        return one_moment(connection)

    return moment


def test_only_who_has_changed_is_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    make = following.PersonTemplates.of
    monkeypatch.setattr(following.PersonTemplates, "of", lambda person: (read.append(person.name), make(person))[1])
    with Gallery.open(path, CONTRACT) as gallery, Gallery.open(path, CONTRACT) as elsewhere:
        for seed in range(5):
            elsewhere.add(f"p{seed}", [photo(seed)])
        assert len(gallery) == 5
        elsewhere.add("p3", [photo(30)])
        elsewhere.remove("p1")
        gallery.add("new", [photo(40)])
        assert {person.name: person.photos for person in gallery.people()} == {
            "p0": 1,
            "p2": 1,
            "p3": 2,
            "p4": 1,
            "new": 1,
        }
        assert sorted(read) == ["new", "p3"]


@POSIX
def test_only_the_owner_may_read_it(path: Path) -> None:
    umask = os.umask(0)
    try:
        with Gallery.open(path, CONTRACT) as gallery:
            with gallery._store._transaction():
                gallery._store._connection.execute("UPDATE state SET id = id")
                files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
            assert files == {path.name: 0o600, f"{path.name}-journal": 0o600}
            gallery.add("ana", [photo(1)])
            gallery.compact()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)  # the owner's decision
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("bob", [photo(2)])
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@POSIX
@pytest.mark.parametrize("suffix", ["", "-journal", "-wal", "-shm"])
@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_pipes_and_links_beside_it(path: Path, tmp_path: Path, suffix: str, kind: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    odd = path.with_name(path.name + suffix)
    if suffix:
        with Gallery.open(path, CONTRACT) as made:
            made.set_fpir(0.1)
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to(victim)
    with pytest.raises(GalleryError, match=r"regular file|not a gallery"):
        Gallery.open(path, CONTRACT)
    assert victim.read_bytes() == b"mine"


@POSIX
def test_a_link_to_a_gallery_is_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(path)
    with Gallery.open(tmp_path / "link", CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
    assert not path.is_symlink()
    with Gallery.open(path) as gallery:
        assert names(gallery, vector(132)) == ["ana"]


@POSIX
def test_a_link_that_leads_elsewhere_is_noticed(path: Path, other: Path, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(path)
    with Gallery.open(link, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
        assert names(gallery, vector(132)) == ["ana"]
        link.unlink()
        link.symlink_to(other)
        assert names(gallery, vector(132)) == ["bob"]
        gallery.add("cem", [photo(2)])
    assert link.is_symlink()
    assert not path.with_name("current-journal").exists()
    with Gallery.open(path) as first, Gallery.open(other) as second:
        assert [[p.name for p in gallery.people()] for gallery in (first, second)] == [["ana"], ["bob", "cem"]]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows allows no colon in a file name: run it on Linux")
@pytest.mark.parametrize("name", ["file:x", "file:x?mode=memory", "file::memory:", "file:x?mode=ro", " :memory:"])
def test_a_name_is_a_file_and_no_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with Gallery.open(name, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_the_working_folder_may_change(tmp_path: Path, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Gallery.open("staff.gallery", CONTRACT) as gallery:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        gallery.add("ana", [photo(1)])
        assert names(gallery, vector(132)) == ["ana"]
        rsync(other, tmp_path / "staff.gallery")
        assert names(gallery, vector(132)) == ["bob"]
    assert (tmp_path / "staff.gallery").stat().st_size > 0


def test_a_gallery_with_a_write_ahead_log_becomes_one_without(path: Path) -> None:
    with Gallery.open(path, CONTRACT) as gallery:
        gallery.add("ana", [photo(1)])
    other = sqlite3.connect(path)
    other.execute("PRAGMA journal_mode = WAL")
    other.close()
    with Gallery.open(path, CONTRACT) as gallery:
        assert names(gallery, vector(132)) == ["ana"]
        gallery.remove("ana")
        assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_identifying_goes_on_while_the_gallery_is_locked(path: Path, enrolled: Path, portrait: Path) -> None:
    """Nothing in the way of a frame waits for the file."""
    shutil.copy(enrolled, path)
    with FaceMatcher.open(path) as matcher:
        assert [face.name for face in matcher.identify(portrait)] == ["Eileen Collins"]
        writer = sqlite3.connect(path, isolation_level=None)
        writer.execute("BEGIN EXCLUSIVE")
        start = time.monotonic()
        assert [face.name for face in matcher.identify(portrait)] == ["Eileen Collins"]
        assert time.monotonic() - start < BUSY_S / 2
        writer.execute("ROLLBACK")
        writer.close()
        with Gallery.open(path) as elsewhere:
            elsewhere.remove("Eileen Collins")
        assert [face.name for face in matcher.identify(portrait)] == [None]
