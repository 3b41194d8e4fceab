"""Whoever is removed from the gallery is removed from what the service keeps, by whatever command, at whatever time."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import pytest
import tiny_models
from receivers import event, free_port
from shell import lrface, refused
from tiny_gallery import CONTRACT, photo
from tiny_service import running

from lrface.cameras.config import Camera, Settings
from lrface.cameras.erasing import RemovedErased
from lrface.errors import GalleryError, GalleryInUseError, GalleryServerError, LrfaceError
from lrface.gallery import Gallery, Person
from lrface.outputs.event_sinks import EventSinks
from lrface.outputs.outbox import Outbox
from lrface.outputs.webhook import Webhook
from lrface.serve.instep import FILE, InStep, erase_removed
from lrface.serve.options import ServeOptions
from lrface.serve.people import remove_person
from lrface.serve.service import Service
from lrface.serve.store import ServiceStore


def see(folder: Path, gallery: Gallery, *names: str) -> None:
    """A service that does not run any more has kept a track and an event of each."""
    store = ServiceStore(folder / FILE, cipher=gallery.cipher)
    InStep(store, gallery).follow()
    for number, name in enumerate(names):
        person = gallery.person(name).id
        track = store.begin_track("door", number, 1.0, 2.0)
        store.update_track(track, {"person": person, "name": name})
        record = {"id": f"event {number}", "event": "left", "camera": "door", "track": number}
        store.add_events([{**record, "person": person, "name": name}], {("door", number): track})
    store.close()


def kept(folder: Path, gallery: Gallery) -> dict[str, int]:
    """How many tracks each name has, as a service that starts finds them."""
    store = ServiceStore(folder / FILE, cipher=gallery.cipher)
    InStep(store, gallery).follow()
    names = [track.name or "unknown" for track in store.tracks()]
    assert sorted(names) == sorted(event.body["name"] for event in store.events())
    store.close()
    return {name: names.count(name) for name in names}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Gallery.open(tmp_path / "staff.gallery", CONTRACT) as gallery:
        for seed, name in enumerate(("Ana", "Bob", "Cleo")):
            gallery.add(name, [photo(seed)])
        (tmp_path / "staff.gallery.service").mkdir()
        see(tmp_path / "staff.gallery.service", gallery, "Ana", "Bob", "Cleo", "Ana")
    return tmp_path / "staff.gallery"


def test_gallery_remove_and_expire_reach_a_service_that_does_not_run(path: Path) -> None:
    folder = Path(f"{path}.service")
    done = lrface("gallery", "remove", path, "Ana")
    assert (done.returncode, done.stdout) == (0, "removed Ana (1 photos)\n")
    assert f"4 tracks and events deleted in {folder}" in done.stderr
    assert b"Ana" not in b"".join(file.read_bytes() for file in folder.iterdir())
    with Gallery.open(path) as gallery:
        gallery.set_retention("Bob", str(dt.date.today() - dt.timedelta(days=1)))
    assert "2 tracks and events deleted" in lrface("gallery", "expire", path).stderr
    with Gallery.open(path) as gallery:
        assert kept(folder, gallery) == {"Cleo": 1}


def test_the_folder_of_the_service_can_be_elsewhere(path: Path, tmp_path: Path) -> None:
    shutil.move(f"{path}.service", tmp_path / "kept")
    assert "deleted in" not in lrface("gallery", "remove", path, "Ana").stderr
    refused(lrface("gallery", "remove", path, "Bob", "--data", tmp_path / "nothing"), "give the folder of the service")
    done = lrface("gallery", "remove", path, "Cleo", "--data", tmp_path / "kept")
    assert "8 tracks and events deleted" in done.stderr  # also of those who were removed without saying where it is


def test_what_was_changed_while_no_service_ran_is_followed_when_it_starts(path: Path, tmp_path: Path) -> None:
    folder = Path(f"{path}.service")
    shutil.copy(path, tmp_path / "older.gallery")
    with Gallery.open(path) as gallery:
        gallery.rename("Ana", "Anais")
        gallery.merge("Cleo", "Bob")
        assert kept(folder, gallery) == {"Anais": 2, "Bob": 2}
        gallery.merge("Bob", "Anais")
        gallery.rename("Anais", "Ana B.")
        assert kept(folder, gallery) == {"Ana B.": 4}
    with Gallery.open(tmp_path / "older.gallery") as gallery:  # a copy was put back: nothing is deleted by it
        assert kept(folder, gallery) == {"Ana B.": 4}
        gallery.remove("Ana")
        assert kept(folder, gallery) == {}


@pytest.mark.parametrize("error", [GalleryInUseError, GalleryServerError])
def test_a_change_is_not_lost_while_the_gallery_cannot_be_read(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: type[GalleryInUseError]
) -> None:
    folder = Path(f"{path}.service")
    with Gallery.open(path) as gallery:
        gallery.rename("Ana", "Anais")
        gallery.merge("Cleo", "Bob")

        def in_use(who: str) -> Person:
            raise error("not now")

        store = ServiceStore(folder / FILE)
        with monkeypatch.context() as busy:
            busy.setattr(gallery, "person", in_use)
            with pytest.raises(GalleryInUseError):
                InStep(store, gallery).follow()
        store.close()
        assert kept(folder, gallery) == {"Anais": 2, "Bob": 2}


def test_a_damaged_entry_does_not_keep_others_from_being_erased(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(f"{path}.service")
    with Gallery.open(path) as gallery:
        gallery.rename("Ana", "Anais")
        gallery.remove("Bob")

        def damaged(who: str) -> Person:
            raise GalleryError("the checksum of the person is wrong")

        store = ServiceStore(folder / FILE)
        with monkeypatch.context() as broken:
            broken.setattr(gallery, "person", damaged)
            InStep(store, gallery).follow()
        store.close()
        assert "Bob" not in kept(folder, gallery)


def test_with_the_key_of_an_encrypted_gallery_all_of_it_works_and_nothing_is_readable(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LRFACE_GALLERY_KEY", "5a" * 32)
    folder = tmp_path / "data"

    def readable() -> bool:
        return b"Ana" in b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())

    with tiny_models.open_matcher(tmp_path / "staff.gallery", models) as matcher:
        matcher.enroll("Ana", tiny_models.png(tiny_models.portrait("Ana")))
        service = Service(matcher, None, ServeOptions(folder))
        service.close()
        see(folder, matcher.gallery, "Ana", "Ana")
        assert kept(folder, matcher.gallery) == {"Ana": 2}
        assert not readable()
        matcher.gallery.rename("Ana", "Ana B.")
        assert kept(folder, matcher.gallery) == {"Ana B.": 2}
        matcher.remove("Ana B.")
        assert erase_removed(matcher.gallery, folder) == 4
        assert not readable()
    monkeypatch.setenv("LRFACE_GALLERY_KEY", "5b" * 32)
    another_key = pytest.raises(LrfaceError, match="encrypted with another key than this gallery")
    with tiny_models.open_matcher(tmp_path / "other.gallery", models) as matcher, another_key:
        Service(matcher, None, ServeOptions(folder))


def test_gallery_remove_reaches_a_service_that_runs(tmp_path: Path, models: Path) -> None:
    with running(tmp_path, models, cameras={"door": [["Ana", 40, 60, 64]]}) as server:
        assert server.enrol("Ana", tiny_models.png(tiny_models.portrait("Ana"))).status_code == 201
        server.wait_for("/v1/tracks", lambda found: any(each["name"] == "Ana" for each in found["tracks"]), 120)
        done = lrface("gallery", "remove", tmp_path / "staff.gallery", "Ana", "--data", tmp_path / "data")
        assert "the service that runs deletes" in done.stderr
        for path, of in (("/v1/tracks?limit=500", "tracks"), ("/v1/events?limit=500", "events")):
            server.wait_for(path, lambda found, of=of: not any("Ana" in str(each) for each in found[of]))
        # she is in view again and again: she stays unknown, and the camera goes on
        server.wait_for("/v1/tracks", lambda found: any(each["name"] is None for each in found["tracks"]), 120)
        assert server.http.get("/v1/ready").status_code == 200
    assert "FOREIGN KEY" not in (tmp_path / "log.txt").read_text()


def outbox_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.glob("outbox*"))


def test_what_waits_for_receivers_is_erased_too(tmp_path: Path, models: Path) -> None:
    away = f"http://127.0.0.1:{free_port()}/"
    for name in ("Ana", "Bob"):
        with running(tmp_path, models, cameras={"door": [[name, 40, 60, 64]]}, webhook=away) as server:
            assert server.enrol(name, tiny_models.png(tiny_models.portrait(name))).status_code == 201
            server.wait_for("/v1/events?kind=left", lambda found, name=name: name in str(found), 120)
            if name == "Ana":
                assert name.encode() in outbox_bytes(tmp_path)
                assert server.http.delete("/v1/people/Ana").status_code == 204
                assert name.encode() not in outbox_bytes(tmp_path)
                last = server.http.get("/v1/events?limit=1").json()["events"][0]["seq"]
                # she is in view again and again
                server.wait_for(f"/v1/events?kind=left&after={last}", lambda found: found["events"], 120)
                assert "Ana" not in server.http.get("/v1/cameras").text
    # no service runs: the command does it, since the service has kept where its events wait
    assert b"Ana" not in outbox_bytes(tmp_path)
    assert b"Bob" in outbox_bytes(tmp_path)
    lrface("gallery", "remove", tmp_path / "staff.gallery", "Bob", "--data", tmp_path / "data")
    assert b"Bob" not in outbox_bytes(tmp_path)


def test_what_waits_from_a_run_with_cameras_is_erased_by_a_service_without(tmp_path: Path, models: Path) -> None:
    with tiny_models.open_matcher(tmp_path / "staff.gallery", models) as matcher:
        matcher.enroll("Ana", tiny_models.png(tiny_models.portrait("Ana")))
        settings = Settings((Camera("door", "rtsp://door/"),), tmp_path / "outbox")
        Service(matcher, settings, ServeOptions(tmp_path / "data")).close()
        with Outbox(tmp_path / "outbox") as outbox:
            outbox.put(["away"], [event(1, person=matcher.gallery.person("Ana").id, name="Ana")])
        service = Service(matcher, None, ServeOptions(tmp_path / "data"))
        try:
            remove_person(service, "Ana")
        finally:
            service.close()
    assert b"Ana" not in outbox_bytes(tmp_path)


def test_whoever_is_removed_during_the_first_look_is_found_at_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Gallery.open(tmp_path / "staff.gallery", CONTRACT) as gallery, Outbox(tmp_path / "outbox") as outbox:
        gallery.add("Ana", [photo(1)])
        outbox.put(["away"], [event(1, person=gallery.person("Ana").id, name="Ana")])
    sinks = EventSinks(outbox=tmp_path / "outbox", transports=[Webhook(f"http://127.0.0.1:{free_port()}/")])
    with sinks, Gallery.open(tmp_path / "staff.gallery") as gallery, Gallery.open(tmp_path / "staff.gallery") as other:
        person = gallery.person

        def removed_after(who: str) -> Person:
            found = person(who)
            other.remove(who)
            other.add("Bob", [photo(2)])
            return found

        erased = RemovedErased(gallery, sinks)
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(gallery, "person", removed_after)
            erased.follow()
        assert b"Ana" in outbox_bytes(tmp_path)
        erased.follow()
        assert b"Ana" not in outbox_bytes(tmp_path)


def test_what_waited_is_erased_when_a_run_begins_and_while_it_lasts(tmp_path: Path) -> None:
    """As of `lrface watch`, which no service follows."""
    with Gallery.open(tmp_path / "staff.gallery", CONTRACT) as gallery, Outbox(tmp_path / "outbox") as outbox:
        for seed, name in enumerate(("Ana", "Bob", "Cleo")):
            gallery.add(name, [photo(seed)])
            record = event(seed, person=gallery.person(name).id, name=name)
            outbox.put(["away"], [record])
        gallery.remove("Ana")
        gallery.merge("Cleo", "Bob")  # nobody was removed by it
        outbox.put(["away"], [event(9, person="of another gallery", name="Dan")])
    sinks = EventSinks(outbox=tmp_path / "outbox", transports=[Webhook(f"http://127.0.0.1:{free_port()}/")])
    with sinks, Gallery.open(tmp_path / "staff.gallery") as gallery, Gallery.open(tmp_path / "staff.gallery") as other:
        erased = RemovedErased(gallery, sinks)
        erased.follow()
        assert [name in outbox_bytes(tmp_path) for name in (b"Ana", b"Bob", b"Cleo", b"Dan")] == [
            False,
            True,
            True,
            True,
        ]
        other.remove("Bob")
        erased.follow()
        assert [name in outbox_bytes(tmp_path) for name in (b"Bob", b"Cleo", b"Dan")] == [False, True, True]
