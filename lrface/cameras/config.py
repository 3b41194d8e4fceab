"""What `cameras.toml` says: cameras with their zones, and who receives the events."""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lrface.cameras.toml_tables import Table, TomlFile
from lrface.cameras.zones import Zone
from lrface.errors import LrfaceError
from lrface.inputs.capture import is_url
from lrface.inputs.correction import ROTATIONS, parse_aspect
from lrface.models.safe_files import read_regular
from lrface.outputs.mqtt import Broker
from lrface.outputs.webhook import check_webhook_url, secret_bytes
from lrface.redaction import escape
from lrface.tracks.detection_pace import MOST, DetectEvery

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MAX_SECRET = 4096  # bytes of a file that holds a secret
_TOPIC = re.compile(r"[^\x00-\x1f#+$/][^\x00-\x1f#+]*")


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera, file or stream.

    Attributes:
        name: Unique; in events.
        source: Path, number of a camera, or URL.
        rotate: Degrees clockwise: 0, 90, 180, 270.
        aspect: Width / height of the picture as it should be seen, or None.
        every_frame: Every frame of a URL that ends (a video file on a server), rather than the newest.
        stall_s: Seconds without a frame after which the camera counts as hung.
        min_face: Height in pixels of the smallest face that counts.
        fpir: Share of strangers (tracks) that may be named; None: as for the others.
        detect_every: Faces are searched for in every n-th frame, and at least four times a second; "auto": of a live
            source as often as leaves a fifth of the time free.
        zones: Where faces count; empty: everywhere.
        masks: Where none does.
    """

    name: str
    source: str | int = field(repr=False)
    rotate: int = 0
    aspect: str | float | None = None
    every_frame: bool = False
    stall_s: float = 10.0
    min_face: float = 0.0
    fpir: float | None = None
    detect_every: DetectEvery = 1
    zones: tuple[Zone, ...] = ()
    masks: tuple[Zone, ...] = ()

    @property
    def live(self) -> bool:
        """Whether only its newest frame matters: of a camera, and of a URL without `every_frame`."""
        number = isinstance(self.source, int) or re.fullmatch(r"\d{1,3}", self.source) is not None
        return number or (is_url(self.source) and not self.every_frame)


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """One receiver of events by HTTP POST: its URL, and the key of the signature or None."""

    url: str = field(repr=False)
    secret: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """The broker, the first part of lrface's topics, Home Assistant's discovery topic or None."""

    broker: Broker
    topic: str = "lrface"
    home_assistant: str | None = "homeassistant"


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole file.

    Attributes:
        cameras: At least one.
        outbox: Where events wait for receivers.
        webhooks: Receivers by HTTP POST.
        mqtt: The broker, or None.
    """

    cameras: tuple[Camera, ...]
    outbox: Path
    webhooks: tuple[WebhookSettings, ...] = ()
    mqtt: MqttSettings | None = None


def load_settings(path: str | os.PathLike[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Reads a `cameras.toml`. Relative paths in it are relative to its folder.

    Args:
        path: The file.
        environment: Where secrets come from.

    Raises:
        LrfaceError: The file cannot be used; the message names line and field.
    """
    file = TomlFile(Path(path))
    folder = file.path.parent
    cameras = [_camera(table, folder, environment) for table in file.root.tables("cameras")]
    if not cameras:
        raise file.error((), "there is no camera: add [[cameras]] with `name` and `source`")
    for i, camera in enumerate(cameras):
        if camera.name in [other.name for other in cameras[:i]]:
            raise file.error(("cameras", i, "name"), f"another camera is called {camera.name!r}: choose another name")
    events = file.root.table("events") or Table(file, ("events",), {})
    outbox = folder / events.text("outbox", "a path", f"{file.path.stem}.outbox")
    webhooks: list[WebhookSettings] = []
    for table in events.tables("webhooks"):
        webhook = _webhook(table, folder, environment)
        if webhook.url in [other.url for other in webhooks]:
            raise table.error("url", "another webhook has the same one: leave one out")
        webhooks.append(webhook)
    mqtt = events.table("mqtt")
    settings = Settings(
        tuple(cameras), outbox, tuple(webhooks), None if mqtt is None else _mqtt(mqtt, folder, environment)
    )
    events.end()
    file.root.end()
    return settings


def _camera(table: Table, folder: Path, environment: Mapping[str, str]) -> Camera:
    source: Any = table.value("source", (str, int), "a path, a URL, or the number of a camera", ...)
    if source == "" or (isinstance(source, int) and not 0 <= source < 1000):
        raise table.error("source", "give a path, a URL, or the number of a camera")
    if isinstance(source, str):
        source = _filled_in(table, "source", source, environment)
        if not is_url(source) and not re.fullmatch(r"\d{1,3}", source):
            source = str(folder / source)
    aspect: Any = table.value("aspect", (str, int, float), 'a ratio such as "4:3"', None)
    try:
        parse_aspect(aspect)
    except LrfaceError as error:
        raise table.error("aspect", str(error)) from error
    camera = Camera(
        _name(table),
        source,
        table.whole("rotate", ROTATIONS, 0),
        aspect,
        table.flag("every_frame", False),
        table.number("stall_s", 1, 3600, 10.0),
        table.number("min_face", 0, 10_000, 0.0),
        table.number("fpir", 1e-6, 0.5, None),
        table.whole("detect_every", range(1, MOST + 1), 1, words=("auto",)),
        tuple(_zone(zone, with_size=True) for zone in table.tables("zones")),
        tuple(_zone(mask, with_size=False) for mask in table.tables("masks")),
    )
    table.end()
    return camera


def _zone(table: Table, with_size: bool) -> Zone:
    expected = "three or more corners [x, y], each from 0 to 1"
    corners = table.array("polygon", expected)
    if len(corners) < 3:
        raise table.error("polygon", f"give {expected}, not {len(corners)}")
    for number, corner in enumerate(corners, 1):
        two = isinstance(corner, list) and len(corner) == 2
        if not two or not all(type(v) in (int, float) and 0 <= v <= 1 for v in corner):
            raise table.error("polygon", f"corner {number} is {str(corner)[:40]}: give {expected}")
    polygon = tuple((float(x), float(y)) for x, y in corners)
    if np.linalg.matrix_rank(np.subtract(polygon, polygon[0])) < 2:
        raise table.error("polygon", "the corners lie in one place or line: no face can be inside")
    zone = Zone(_name(table, ""), polygon, table.number("min_face", 0, 10_000, 0.0) if with_size else 0.0)
    table.end()
    return zone


def _name(table: Table, default: Any = ...) -> str:
    name: str = table.text("name", default=default)
    if escape(name) != name:
        raise table.error("name", f"{name!a} holds a character that is not drawn: take it out")
    return name


def _webhook(table: Table, folder: Path, environment: Mapping[str, str]) -> WebhookSettings:
    written = table.text("url", "an http:// or https:// URL")
    url = _filled_in(table, "url", written, environment)
    secret = _secret(table, "secret", folder, environment)
    try:
        check_webhook_url(url)
        key = None if secret is None else secret_bytes(secret)
    except LrfaceError as error:  # it may tell the URL, in which a secret may be that does not look like one
        raise table.error(None, str(error).replace(url, written)) from None
    table.end()
    return WebhookSettings(url, key)


def _mqtt(table: Table, folder: Path, environment: Mapping[str, str]) -> MqttSettings:
    host = table.text("host", "the broker's name or address")
    if not re.fullmatch(r"[\w.:-]+", host):
        raise table.error("host", "give the broker's name or address alone; the port is `port`")
    tls = table.flag("tls", False)
    ca_file = table.text("ca_file", "a path", None)
    broker = Broker(
        host,
        table.whole("port", range(1, 65536), 8883 if tls else 1883),
        table.text("user", default=None),
        _secret(table, "password", folder, environment),
        tls,
        None if ca_file is None else folder / ca_file,
        table.text("client_id", default="lrface"),
    )
    if broker.password is not None and broker.user is None:
        raise table.error(None, "has a password but no `user`: add the user")
    if broker.ca_file is not None and not broker.ca_file.is_file():
        raise table.error("ca_file", f"there is no file {broker.ca_file}")
    topics = {}
    for key, default in (("topic", "lrface"), ("home_assistant_topic", "homeassistant")):
        topics[key] = table.text(key, default=default)
        if not _TOPIC.fullmatch(topics[key]) or topics[key].endswith("/"):
            raise table.error(key, "a topic holds no #, + or control character, and no / or $ at its ends")
    discovery = topics["home_assistant_topic"] if table.flag("home_assistant", True) else None
    table.end()
    return MqttSettings(broker, topics["topic"], discovery)


def _secret(table: Table, name: str, folder: Path, environment: Mapping[str, str]) -> str | None:
    """A secret out of the environment (`name_env`) or a file (`name_file`); None where neither is given."""
    if name in table:
        raise table.error(name, f"a secret does not belong into this file: use `{name}_env` or `{name}_file`")
    variable = table.text(f"{name}_env", "the name of an environment variable", None)
    given = table.text(f"{name}_file", "the path of a file", None)
    if variable is not None and given is not None:
        raise table.error(f"{name}_file", f"there is `{name}_env`, too: leave one out")
    if variable is not None:
        if not environment.get(variable):
            raise table.error(f"{name}_env", f"the environment variable {variable} is not set")
        return environment[variable]
    if given is None:
        return None
    try:
        secret = read_regular(folder / given, _MAX_SECRET).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise table.error(f"{name}_file", f"cannot read {folder / given}: check the path") from error
    if not secret or not secret.isprintable():
        raise table.error(f"{name}_file", f"{folder / given} must hold the secret, one line, and nothing else")
    return secret


def _filled_in(table: Table, key: str, text: str, environment: Mapping[str, str]) -> str:
    """The text with `${NAME}` replaced by an environment variable, percent-encoded in a URL."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in environment:
            raise table.error(key, f"the environment variable {found[1]} is not set")
        return urllib.parse.quote(environment[found[1]], safe="") if is_url(text) else environment[found[1]]

    return _VARIABLE.sub(value, text)
