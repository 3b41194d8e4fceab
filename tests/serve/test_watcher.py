"""The cameras beside the service: what happens when they cannot be watched, and who receives events."""

from __future__ import annotations

import json

import anyio
import httpx
import pytest
import tiny_models
from camera_fakes import paced
from fakes import FakeCapture
from receivers import Receiver, until

from lrface.cameras.config import Camera, Settings, WebhookSettings
from lrface.errors import LrfaceError
from lrface.serve.access import Role
from lrface.serve.app import make_app
from lrface.serve.options import ServeOptions
from lrface.serve.people import remove_person
from lrface.serve.service import Service

CAMERA = Camera("door", "rtsp://door/", stall_s=5)


@pytest.fixture
def matcher(tmp_path, models):
    with tiny_models.open_matcher(tmp_path / "a.gallery", models) as opened:
        opened.enroll("Ada", tiny_models.portrait("Ada"))
        yield opened


def get(service, path, **headers):
    async def ask():
        transport = httpx.ASGITransport(make_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
            return await client.get(path)

    return anyio.run(ask)


def ready(service):
    return get(service, "/v1/ready")


def test_a_watcher_that_fails_is_seen_and_tries_again(matcher, tmp_path, monkeypatch):
    monkeypatch.setattr("lrface.serve.watcher._PAUSES_S", (0.05,))
    outbox = tmp_path / "outbox"
    outbox.write_text("this is no outbox")
    settings = Settings((CAMERA,), outbox, (WebhookSettings("http://127.0.0.1:9/"),))
    ada = tiny_models.scene(("Ada", 20, 20, 32))
    service = Service(
        matcher, settings, ServeOptions(tmp_path / "data"), open_capture=lambda _: FakeCapture(paced(ada, 1000))
    )
    service.start()
    try:
        until(lambda: service.watcher.state.error is not None)
        assert "outbox" in service.watcher.state.error
        assert ready(service).status_code == 503
        assert service.frames.state("door").message == "not watched at the moment"
        outbox.unlink()
        until(lambda: service.store.events())
        until(lambda: service.watcher.state.error is None)
        assert ready(service).status_code == 200
        service.watcher.stop()
        answer = ready(service)
        assert answer.status_code == 503
        assert answer.json()["faults"] == ["log in to see what"]
    finally:
        service.close()


def test_receivers_of_the_file_get_the_events_that_are_kept(matcher, tmp_path):
    ada = tiny_models.scene(("Ada", 20, 20, 32))
    with Receiver() as receiver:
        settings = Settings((CAMERA,), tmp_path / "outbox", (WebhookSettings(receiver.url),))
        service = Service(
            matcher, settings, ServeOptions(tmp_path / "data"), open_capture=lambda _: FakeCapture(paced(ada, 1000))
        )
        service.start()
        try:
            until(lambda: len(receiver.got) >= 2)
        finally:
            service.watcher.stop()
            kept = {event.body["id"] for event in service.store.events()}
            service.close()
    sent = {json.loads(body)["id"] for _, body in receiver.got}
    assert sent
    assert sent <= kept


def test_of_strangers_nothing_is_kept_if_nothing_may_be(matcher, tmp_path):
    eve = tiny_models.scene(("Eve", 20, 20, 32), ("Ada", 120, 60, 40))
    service = Service(
        matcher, Settings((CAMERA,), tmp_path / "outbox"), ServeOptions(tmp_path / "data"),
        open_capture=lambda _: FakeCapture(paced(eve, 1000)),
    )  # fmt: skip
    service.choose_retention(30, 0)
    service.start()
    try:
        until(lambda: {track.name for track in service.store.tracks()} == {None, "Ada"})
        until(lambda: any(track.crops for track in service.store.tracks()))
        service.watcher.stop()
        for track in service.store.tracks():
            assert (service.store.template(track.id) is None) == (track.name is None)
            assert (track.crops == 0) == (track.name is None)
        token = service.access.add_token("guard", Role.VIEWER)
        page = get(service, "/review", Authorization=f"Bearer {token}").text
        assert "Settings say that nothing of strangers is kept" in page
    finally:
        service.close()


def test_the_last_picture_of_somebody_who_was_removed_is_dropped_although_the_camera_is_dead(matcher, tmp_path):
    ada = tiny_models.scene(("Ada", 20, 20, 32))
    settings = Settings((Camera("door", "rtsp://door/", stall_s=0.3),), tmp_path / "outbox")
    captures = [FakeCapture(paced(ada, 30)), FakeCapture([], opened=False)]
    service = Service(
        matcher, settings, ServeOptions(tmp_path / "data"),
        open_capture=lambda _: captures.pop(0) if len(captures) > 1 else captures[0],
    )  # fmt: skip
    service.start()
    try:
        until(lambda: service.store.tracks() and service.store.tracks()[0].name == "Ada")
        until(lambda: not service.frames.state("door").answers)
        assert service.frames.state("door").faces == service.frames.state("door").ages == ()
        assert service.frames.jpeg("door") is not None
        (tmp_path / "outbox").write_text("this is no outbox")
        with pytest.raises(LrfaceError, match="cannot use the outbox"):  # whoever removes somebody is told
            remove_person(service, "Ada")
        assert service.frames.jpeg("door") is None
        assert service.frames.image("door") is None
        assert service.store.tracks() == service.store.events(kind="identified") == []
    finally:
        service.close()


def test_why_a_source_ended_is_told_without_its_path(matcher, tmp_path):
    camera = Camera("film", str(tmp_path / "missing.mp4"))
    service = Service(matcher, Settings((camera,), tmp_path / "outbox"), ServeOptions(tmp_path / "data"))
    service.start()
    try:
        until(lambda: "no such file" in service.frames.state("film").message)
        assert str(tmp_path) not in service.frames.state("film").message
    finally:
        service.close()


def test_a_camera_without_frames_is_not_shown_as_well_although_nothing_was_said_of_it(matcher, tmp_path, monkeypatch):
    """As of a film that has ended, while another camera goes on."""
    monkeypatch.setattr("lrface.serve.live._SILENT_S", 0.5)
    ada = tiny_models.scene(("Ada", 20, 20, 32))
    frames = {"film": paced(ada, 5), "door": paced(ada, 100_000)}
    (tmp_path / "film.mp4").write_bytes(b"x")
    cameras = Camera("film", str(tmp_path / "film.mp4")), Camera("door", "rtsp://door/", stall_s=5)
    service = Service(
        matcher, Settings(cameras, tmp_path / "outbox"), ServeOptions(tmp_path / "data"),
        open_capture=lambda source: FakeCapture(frames["film" if "film" in str(source) else "door"]),
    )  # fmt: skip
    service.start()
    try:
        until(lambda: service.frames.state("film").frames and "no frame for" in service.frames.state("film").message)
        assert not service.frames.state("film").answers
        assert service.frames.state("film").faces == ()
        until(lambda: service.frames.state("door").answers)
        assert service.frames.jpeg("film") is not None  # the last picture can be looked at still
    finally:
        service.close()
