"""The service's own file: what is kept for how long, what is gone when it is deleted; files that are something else."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import uuid

import numpy as np
import pytest
from shell import ENVIRONMENT

from lrface.errors import LrfaceError
from lrface.gallery.ciphers import Aes
from lrface.serve.store import DAY_S, ServiceStore
from lrface.serve.trackrecords import Crop, pack_template, unpack_template
from lrface.tracks.template import View, fuse_views

START = 1_700_000_000.0


def template(seed=0, dim=64):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((3, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return fuse_views([View(vector, 0.5 + 0.1 * i, 30.0 + i, "net") for i, vector in enumerate(vectors)])


def event(track, person=None, name=None, kind="left"):
    return {"id": uuid.uuid4().hex, "event": kind, "camera": "door", "track": track, "person": person, "name": name}


class Clock:
    now = START

    def __call__(self):
        return self.now


def track_of(store, number, person=None, crop=b"jpeg"):
    """A track that has left, with its last event."""
    track = store.begin_track("door", number, store._clock(), store._clock())
    changes = {"open": False, "person": person, "name": person and f"Name of {person}"}
    store.update_track(track, changes, template(number), [Crop(crop, 0.5, 20.0, store._clock())])
    store.add_events([event(number, person, changes["name"])], {("door", number): track})
    return track


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    opened = ServiceStore(tmp_path / "service.db", clock)
    yield opened
    opened.close()


def test_a_template_is_read_as_it_was_written():
    written = template()
    read = unpack_template(pack_template(written))
    assert np.array_equal(read.vector, written.vector)
    assert (read.native_px, read.network, read.quality) == (written.native_px, written.network, written.quality)
    for same in (0.2, 0.9):
        assert read.effective_views(same) == pytest.approx(written.effective_views(same), rel=1e-5)


def test_strangers_are_kept_for_a_shorter_time_than_people_with_a_name(store, clock):
    stranger, ana = track_of(store, 1), track_of(store, 2, "ana")
    clock.now += 8 * DAY_S
    assert store.expire(known_days=30, unknown_days=7) == 1
    assert store.track(stranger) is None
    assert store.crop(stranger) is None
    assert store.track(ana).name == "Name of ana"
    assert len(store.events()) == 2
    clock.now += 23 * DAY_S
    assert store.expire(known_days=30, unknown_days=7) == 1
    assert store.events() == []


def test_a_track_in_view_is_not_deleted(store, clock):
    track = store.begin_track("door", 1, clock.now, clock.now)
    clock.now += 1
    assert store.expire(0, 0) == 0
    assert store.track(track).open


def test_of_somebody_who_was_removed_no_byte_is_left(tmp_path, clock):
    store = ServiceStore(tmp_path / "service.db", clock)
    secret = np.random.default_rng(5).bytes(20_000)
    track_of(store, 1, "ana", secret)
    kept = track_of(store, 2, "bob")
    store.forget_person("ana")
    assert [each.name for each in store.tracks()] == ["Name of bob"]
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    store.close()
    closed = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for data in (written, closed):
        assert b"Name of ana" not in data
        assert not any(secret[i : i + 32] in data for i in range(0, len(secret), 500))
        assert template(1).vector.tobytes() not in data
    assert template(2).vector.tobytes() in closed
    assert kept


def test_what_somebody_said_of_a_track_in_view_is_not_overwritten_by_the_camera(store, clock):
    track = store.begin_track("door", 1, clock.now, clock.now)
    store.set_name([track], "ana", "Ana")
    store.update_track(track, {"person": None, "name": None, "views": 3.0})
    assert (store.track(track).name, store.track(track).views) == ("Ana", 3.0)
    store.set_name([track], None, None, said=False)
    store.update_track(track, {"person": "bob", "name": "Bob"})
    assert store.track(track).name == "Bob"


def test_a_file_of_the_version_before_is_read(tmp_path, clock):
    path = tmp_path / "service.db"
    store = ServiceStore(path, clock)
    track_of(store, 1, "ana")
    store.close()
    with sqlite3.connect(path) as older:
        older.execute("DROP TABLE session")
        older.execute("PRAGMA user_version = 1")
    older.close()
    store = ServiceStore(path, clock)
    assert [track.name for track in store.tracks()] == ["Name of ana"]
    assert store.sessions() == []
    store.close()


def test_a_camera_that_has_not_seen_a_change_yet_does_not_undo_it(store, clock):
    track = store.begin_track("door", 1, clock.now, clock.now)
    old = {"person": "ana", "name": "Ana"}

    def seen():
        """What the camera decided before the change."""
        store.update_track(track, old)
        store.add_events([event(1, **old)], {("door", 1): track})
        (last,) = store.events(limit=1)
        assert (last.body["person"], last.body["name"]) == (store.track(track).person, store.track(track).name)
        return last.body["person"], last.body["name"]

    assert seen() == ("ana", "Ana")
    store.rename_person("ana", "Ana B.")
    assert seen() == ("ana", "Ana B.")
    store.move_person("ana", "bob", "Bob")
    store.rename_person("bob", "Bobby")
    assert seen() == ("bob", "Bobby")
    store.move_person("bob", None, None)
    assert seen() == (None, None)


def test_somebody_who_is_removed_while_in_view_leaves_nothing_and_stops_no_camera(store, clock):
    ana, other = (store.begin_track("door", number, clock.now, clock.now) for number in (1, 2))
    store.update_track(ana, {"person": "ana", "name": "Ana"})
    assert store.forget_person("ana") == 1
    crop = Crop(b"jpeg", 0.5, 20.0, clock.now)
    store.update_track(ana, {"person": "ana", "name": "Ana"}, template(), [crop])  # the camera does not know it yet
    store.update_track(other, {"views": 2.0}, crops=[crop], together=[ana])
    store.add_events([event(1, "ana", "Ana")], {("door", 1): ana})
    assert store.track(ana) is None
    assert store.crop(ana) is None
    assert store.crop(other).jpeg == b"jpeg"
    assert [(each.body["person"], each.body["name"]) for each in store.events()] == [(None, None)]


def test_undoing_does_not_bring_back_somebody_who_was_removed_meanwhile(store):
    track = track_of(store, 1, "ana")
    state = {"id": track, "person": "ana", "name": "Name of ana", "label": None}
    store.add_action("user admin", "named", {"person": "bob", "tracks": [state]})
    store.move_person("ana", "anais", "Anais")
    assert store.actions()[0].body["tracks"] == [{**state, "person": "anais", "name": "Anais"}]
    store.forget_person("anais")
    assert store.actions()[0].body == {"person": "bob", "tracks": [{**state, "person": None, "name": None}]}


def kept_bytes(folder):
    return b"".join(path.read_bytes() for path in folder.iterdir())


def test_what_is_kept_of_people_is_encrypted_where_the_gallery_is(tmp_path, clock):
    path, secret = tmp_path / "service.db", np.random.default_rng(6).bytes(5_000)
    words = (b"Name of ana", template(1).vector.tobytes()[:32], secret[:32])
    store = ServiceStore(path, clock)
    track_of(store, 1, "ana", secret)
    store.add_action("user admin", "named", {"person": "ana", "tracks": [{"id": 1, "name": "Name of ana"}]})
    store.close()
    assert all(word in kept_bytes(tmp_path) for word in words)

    for _ in range(2):  # the gallery has a key by now: what is there is encrypted, too
        store = ServiceStore(path, clock, Aes(bytes(32)))
        (ana,) = (each for each in store.tracks() if each.number == 1)
        assert ana.name == store.events(person="ana")[0].body["name"] == "Name of ana"
        assert store.crop(ana.id).jpeg == secret
        assert np.array_equal(store.template(ana.id).vector, template(1).vector)
        stranger = track_of(store, 2)
        assert [track for track, _ in store.unknown_templates()] == [stranger]
        store.set_name([stranger], "ana", "Name of ana")
        store.rename_person("ana", "Name of anais")
        store.rename_person("ana", "Name of ana")
        assert {each.body["name"] for each in store.events()} == {"Name of ana"}
        assert store.actions()[0].body["tracks"][0]["name"] == "Name of ana"
        assert not any(word in kept_bytes(tmp_path) for word in words)
        store.close()
        assert not any(word in kept_bytes(tmp_path) for word in words)

    store = ServiceStore(path, clock, Aes(bytes(32)))
    assert store.forget_person("ana")
    assert store.actions() == []
    store.close()
    for cipher in (None, Aes(bytes(31) + b"1")):
        with pytest.raises(LrfaceError, match="another --data folder"):
            ServiceStore(path, clock, cipher)


def test_a_new_name_and_a_merge_reach_the_past(store):
    track = track_of(store, 1, "ana")
    store.rename_person("ana", "Ana B.")
    assert store.track(track).name == store.events()[0].body["name"] == "Ana B."
    store.move_person("ana", "bob", "Bob")
    assert (store.track(track).person, store.events()[0].body["person"]) == ("bob", "bob")


def test_who_was_in_one_frame_is_known(store):
    a, b, c = (track_of(store, number) for number in (1, 2, 3))
    store.update_track(b, {}, together=[a, b])
    assert store.together() == {(a, b)}
    assert store.together([a, c]) == set()


def test_tracks_of_a_process_that_was_killed_are_over(tmp_path, clock):
    path = tmp_path / "service.db"
    program = f"""
import os
from pathlib import Path
from lrface.serve.store import ServiceStore
store = ServiceStore(Path({str(path)!r}))
store.begin_track("door", 1, 1.0, 2.0)
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, check=False)
    store = ServiceStore(path, clock)
    (track,) = store.tracks()
    assert not track.open
    store.close()


def test_two_processes_may_not_use_one_file(store, tmp_path):
    program = f"""
from pathlib import Path
from lrface.errors import LrfaceError
from lrface.gallery.ciphers import Aes
from lrface.serve.store import ServiceStore
try:
    ServiceStore(Path({str(store.path)!r}))
except LrfaceError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert "end the other process" in done.stdout


@pytest.mark.parametrize("content", [b"no database" * 100, None])
def test_another_file_is_refused_and_kept(tmp_path, content):
    path = tmp_path / "service.db"
    if content is None:
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE mine (x)")
        other.close()
        content = path.read_bytes()
    else:
        path.write_bytes(content)
    with pytest.raises(LrfaceError):
        ServiceStore(path)
    assert path.stat().st_size >= len(content)
    assert path.read_bytes()[100 : len(content)] == content[100:]
