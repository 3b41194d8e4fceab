"""`cameras.toml`: what it says, and that errors name line and field and tell no secret."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import Any

import pytest

from lrface.cameras.config import Camera, Settings, load_settings
from lrface.errors import LrfaceError
from lrface.outputs.webhook import signature

WHOLE = """
[[cameras]]
name = "door"
source = "rtsp://user:${DOOR_PASSWORD}@10.0.0.5/live"
rotate = 90
aspect = "4:3"
stall_s = 20
min_face = 12
fpir = 0.001

[[cameras.zones]]
name = "path"
polygon = [
  [0.1, 0.2], [0.5, 0.2],
  [0.5, 0.9],
]
min_face = 20

[[cameras.masks]]
polygon = [[0, 0], [1, 0], [1, 0.1]]

[[cameras]]
name = "Tür"
source = 0
detect_every = "auto"

[[cameras]]
name = "clip"
source = "clips/a.mp4"

[events]
outbox = "waiting.sqlite"

[[events.webhooks]]
url = "https://example.org/hook?key=${HOOK_KEY}"
secret_env = "HOOK_SECRET"

[events.mqtt]
host = "broker.lan"
user = "lrface"
password_file = "password"
tls = true
topic = "house/lrface"
home_assistant = false
"""
ENVIRONMENT = {"DOOR_PASSWORD": "p@ss/w", "HOOK_KEY": "k e y", "HOOK_SECRET": "0123456789abcdef"}


def load(folder, text, environment=ENVIRONMENT):
    (folder / "cameras.toml").write_text(text, "utf-8")
    return load_settings(folder / "cameras.toml", environment)


def test_a_whole_file(tmp_path):
    (tmp_path / "password").write_text("mqtt-s3cret\n")
    settings = load(tmp_path, WHOLE)
    door, second, clip = settings.cameras
    assert door.source == "rtsp://user:p%40ss%2Fw@10.0.0.5/live"
    assert (door.name, door.rotate, door.aspect, door.stall_s, door.min_face, door.fpir) == (
        "door", 90, "4:3", 20, 12, 0.001,
    )  # fmt: skip
    assert [(zone.name, len(zone.polygon), zone.min_face) for zone in (*door.zones, *door.masks)] == [
        ("path", 3, 20), ("", 3, 0),
    ]  # fmt: skip
    assert (second.name, second.source, clip.source) == ("Tür", 0, str(tmp_path / "clips" / "a.mp4"))
    assert [camera.detect_every for camera in settings.cameras] == [1, "auto", 1]
    assert settings.outbox == tmp_path / "waiting.sqlite"
    assert [(hook.url, hook.secret) for hook in settings.webhooks] == [
        ("https://example.org/hook?key=k%20e%20y", b"0123456789abcdef")
    ]
    assert settings.mqtt is not None
    broker = settings.mqtt.broker
    assert (broker.host, broker.port, broker.password, broker.tls) == ("broker.lan", 8883, "mqtt-s3cret", True)
    assert (settings.mqtt.topic, settings.mqtt.home_assistant) == ("house/lrface", None)
    for secret in ("mqtt-s3cret", "0123456789abcdef", "p%40ss", "k%20e"):
        assert secret not in repr(settings)


def test_defaults(tmp_path):
    settings = load(tmp_path, '[[cameras]]\nname = "a"\nsource = "/clips/a.mp4"\n')
    (camera,) = settings.cameras
    assert (camera.source, camera.rotate, camera.zones, camera.fpir) == ("/clips/a.mp4", 0, (), None)
    assert (settings.outbox, settings.webhooks, settings.mqtt) == (tmp_path / "cameras.outbox", (), None)


def documented(root, language):
    return re.findall(rf"```{language}\n(.*?)```", (root / "docs" / "several-cameras.md").read_text("utf-8"), re.DOTALL)


def test_the_documented_file(root, tmp_path):
    (tmp_path / "mqtt-password").write_text("mqtt-s3cret\n")
    (text,) = documented(root, "toml")
    settings = load(tmp_path, text, {"DOOR_PASSWORD": "a", "WEBHOOK_SECRET": "0123456789abcdef"})
    assert [camera.name for camera in settings.cameras] == ["door", "yard"]
    fields = {field.name for kind in (Camera, Settings) for field in dataclasses.fields(kind)} - {"cameras"}
    told = (root / "docs" / "several-cameras.md").read_text("utf-8")
    assert [name for name in fields if f"| `{name}` |" not in told] == []


def test_the_documented_check_of_a_signature(root):
    (code,) = documented(root, "python")
    names: dict[str, Any] = {}
    exec(code, names)
    body = '{"name": "Zoë"}'
    headers = {"webhook-id": "a", "webhook-timestamp": "1700000000"}
    headers["webhook-signature"] = signature(b"secret", "a", 1700000000, body)
    assert names["is_genuine"](b"secret", headers, body.encode())
    assert not names["is_genuine"](b"other", headers, body.encode())


CAMERA = '[[cameras]]\nname = "a"\nsource = 0\n'
ZONE = "[[cameras.zones]]\n"
MQTT = '[events.mqtt]\nhost = "h"\n'


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, ["there is no camera"]),
        ('[[cameras]]\nname = "a"\n', 1, ["cameras[1]", "`source`"]),
        ("[[cameras]]\nsource = 0\n", 1, ["cameras[1]", "`name`"]),
        ('[[cameras]]\nname = ""\nsource = 0', 2, ["cameras[1].name", "empty"]),
        (CAMERA + '\n[[cameras]]\nsource = 1\nname = "a"', 7, ["cameras[2].name", "another"]),
        (CAMERA + "rotate = 45", 4, ["cameras[1].rotate", "0, 90, 180, 270"]),
        (CAMERA + "rotate = true", 4, ["cameras[1].rotate"]),
        (CAMERA + "detect_every = 0", 4, ["cameras[1].detect_every", "1 to 25"]),
        (CAMERA + 'detect_every = "often"', 4, ["cameras[1].detect_every", '1 to 25 or "auto"']),
        (CAMERA + 'aspect = "wide"', 4, ["cameras[1].aspect", "4:3"]),
        (CAMERA + "min_face = -1", 4, ["cameras[1].min_face"]),
        (CAMERA + "min_face = nan", 4, ["cameras[1].min_face"]),
        (CAMERA + "fpir = 2", 4, ["cameras[1].fpir"]),
        (CAMERA + "stall_s = '10'", 4, ["cameras[1].stall_s", "a number"]),
        (CAMERA + "# a comment\n\nminface = 10", 6, ["cameras[1].minface", "`min_face`"]),
        ('[[cameras]]\nname = "a"\nsource = 1.5', 3, ["cameras[1].source"]),
        ('[[cameras]]\nname = "a"\nsource = "rtsp://u:${NO}@h/"', 3, ["cameras[1].source", "NO is not set"]),
        ('cameras = ["a"]', 1, ["cameras[1]", "[[cameras]]"]),
        ("[cameras]\nname = 'a'", 1, ["cameras", "[[cameras]]"]),
        (CAMERA + ZONE, 4, ["cameras[1].zones[1]", "polygon"]),
        (CAMERA + ZONE + "polygon = [[0, 0], [1, 1]]", 5, ["polygon", "three or more"]),
        (CAMERA + ZONE + "polygon = [\n[0, 0],\n[1, 1],\n[1, 2]]", 5, ["polygon", "corner 3"]),
        (CAMERA + ZONE + "polygon = [[0, 0], [0.5, 0.5], [1, 1]]", 5, ["polygon", "line"]),
        (CAMERA + ZONE + "polygon = [[0, 0], [0, nan], [1, 1]]", 5, ["polygon", "corner 2"]),
        (CAMERA + "[[cameras.masks]]\npolygon = [[0,0],[1,0],[1,1]]\nmin_face = 9", 6, ["masks[1].min_face"]),
        (CAMERA + "[event]", 4, ["event", "`events`"]),
        (CAMERA + "[events]\nwebhooks = 3", 5, ["events.webhooks", "[[webhooks]]"]),
        (CAMERA + '[[events.webhooks]]\nurl = "hook"', 4, ["events.webhooks[1]", "http://"]),
        (CAMERA + '[[events.webhooks]]\nurl = "http://h"\nsecret = "S3CRET"', 6, ["secret_env"]),
        (CAMERA + '[[events.webhooks]]\nurl = "http://h"\nsecret_env = "NO"', 6, ["NO is not set"]),
        (CAMERA + '[[events.webhooks]]\nurl = "http://h"\nsecret_env = "SHORT"', 4, ["16 bytes"]),
        (CAMERA + '[[events.webhooks]]\nurl = "http://h"\n' * 2, 7, ["events.webhooks[2].url", "another"]),
        (CAMERA + MQTT + 'password = "S3CRET"', 6, ["events.mqtt.password", "password_file"]),
        (CAMERA + MQTT + 'password_file = "gone"', 6, ["events.mqtt.password_file", "cannot read"]),
        (CAMERA + MQTT + 'password_env = "SHORT"', 4, ["events.mqtt", "`user`"]),
        (CAMERA + MQTT + "port = 70000", 6, ["events.mqtt.port", "65535"]),
        (CAMERA + MQTT + 'topic = "a/#"', 6, ["events.mqtt.topic"]),
        (CAMERA + '[events.mqtt]\nhost = "mqtt://h"', 5, ["events.mqtt.host"]),
        (CAMERA + MQTT + 'ca_file = "gone"', 6, ["events.mqtt.ca_file"]),
        (CAMERA + "min_face = 0x" + "f" * 5000, 4, ["cameras[1].min_face", "such a long number"]),
        ('[[cameras]]\nname = "a\\u200b"\nsource = 0', 2, ["cameras[1].name", "not drawn"]),
        (CAMERA + ZONE + 'polygon = [[0, 0], [1, 0], [1, 1]]\nname = "\\u001b[2J"', 6, ["zones[1].name", "not drawn"]),
        (CAMERA + MQTT + 'password_file = "a\\u0000b"', 6, ["events.mqtt.password_file", "cannot read"]),
        ("".join(f'[[cameras]]\nname = "{i}"\nsource = {i}\n' for i in range(900)) + "rotate = 7", 2701, ["rotate"]),
    ],
)
def test_errors_name_line_and_field_and_no_secret(tmp_path, text, line, words):
    with pytest.raises(LrfaceError) as caught:
        load(tmp_path, text, {"SHORT": "S3CRET"})
    message = str(caught.value)
    assert f"cameras.toml, line {line}: " in message
    assert all(word in message for word in words), message
    assert "S3CRET" not in message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[[cameras]\n", "line 1"),
        (b"a = 1\na = 2\n", "line 2"),
        (b"\xff\xfe", "no TOML"),
        (b"#" * 2**21, "more than"),
        (b"a = " + b"9" * 5000, "no TOML"),
    ],
)
def test_what_is_no_toml(tmp_path, data, message):
    (tmp_path / "cameras.toml").write_bytes(data)
    with pytest.raises(LrfaceError, match=message):
        load_settings(tmp_path / "cameras.toml")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_no_file_of_cameras_and_holds_no_secret(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LrfaceError, match="regular file"):
        load_settings(tmp_path / "pipe")
    with pytest.raises(LrfaceError, match="password_file"):
        load(tmp_path, CAMERA + MQTT + 'user = "u"\npassword_file = "pipe"')


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(LrfaceError, match="check the path"):
        load_settings(tmp_path / "cameras.toml")
