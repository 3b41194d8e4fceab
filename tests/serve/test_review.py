"""What is said of tracks while others change them, or use the gallery; the first picture of a live stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import numpy as np
import pytest
import tiny_models

from lrface.cameras.config import Camera, Settings
from lrface.errors import GalleryError, GalleryInUseError
from lrface.serve.api import cameras
from lrface.serve.console.review import check_unknown
from lrface.serve.options import ServeOptions
from lrface.serve.problems import Problem
from lrface.serve.review import name_tracks, undo
from lrface.serve.service import Service
from lrface.serve.trackrecords import Crop


@pytest.fixture
def service(tmp_path: Path, models: Path) -> Iterator[Service]:
    """One that watches nothing."""
    settings = Settings((Camera("door", "rtsp://door/"),), tmp_path / "outbox")
    with tiny_models.open_matcher(tmp_path / "a.gallery", models) as matcher:
        opened = Service(matcher, settings, ServeOptions(tmp_path / "data"))
        yield opened
        opened.close()


def seen(service: Service, name: str) -> int:
    track = service.store.begin_track("door", 1, 1.0, 2.0)
    crop = Crop(tiny_models.png(tiny_models.portrait(name)), 0.9, 40.0, 1.0)
    service.store.update_track(track, {"open": 0}, crops=[crop])
    return track


@pytest.mark.parametrize("error", [GalleryInUseError, GalleryError])
def test_undoing_is_refused_while_the_gallery_cannot_be_read_and_works_later(
    service: Service, monkeypatch: pytest.MonkeyPatch, error: type[GalleryError]
) -> None:
    done = name_tracks(service, [seen(service, "Ada")], "Ada")

    def in_use(who: str) -> None:
        raise error("it cannot be read now")

    with monkeypatch.context() as busy:
        busy.setattr(service.matcher.gallery, "photos", in_use)
        with pytest.raises(error):
            undo(service, done.action.id)
    assert len(service.matcher.gallery) == 1
    undo(service, done.action.id)
    assert len(service.matcher.gallery) == 0  # what was learnt is taken out, too


def test_a_track_that_was_named_meanwhile_is_neither_renamed_nor_ignored(service: Service) -> None:
    named, unknown = seen(service, "Ada"), seen(service, "Eve")
    person = name_tracks(service, [named], "Ada B").person
    for who in ("Ada B", "Ada  B", person.id):
        check_unknown(service, [unknown, named], who)
    check_unknown(service, [unknown])
    for other in ("Eve", None):
        with pytest.raises(Problem, match="was named Ada B meanwhile"):
            check_unknown(service, [unknown, named], other)


def test_a_live_stream_that_begins_before_the_camera_shows_its_first_picture(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sent twice, since browsers show a picture when the next one comes."""
    monkeypatch.setattr(cameras, "_STILL_S", 1e6)
    call: Any = SimpleNamespace(service=service, query=cameras.PictureQuery(), path=lambda _: "door")

    async def sent() -> bytes:
        answer: Any = await cameras.live(call)
        got = list[bytes]()
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(put)
                async for part in answer.body_iterator:
                    got.append(part)
                    if b"".join(got).count(b"--frame") == 2:
                        break
        return b"".join(got)

    async def put() -> None:
        await anyio.sleep(0.3)
        service.frames.put("door", np.zeros((48, 64, 3), np.uint8), (), (), 0.1)

    assert anyio.run(sent).count(b"image/jpeg") == 2
