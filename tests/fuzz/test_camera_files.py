"""Damaged and hostile `cameras.toml`: each is read, or refused at once with an LrfaceError that tells no secret.

`LRFACE_FUZZ_CASES=10000 pytest tests/fuzz/test_camera_files.py --timeout 0` runs more cases than the 200 of every run.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

from lrface.cameras.config import load_settings
from lrface.errors import LrfaceError

CASES = int(os.environ.get("LRFACE_FUZZ_CASES", "200"))
SECRET = "hunter2hunter2hunter2"
WHOLE = """# the house
[[cameras]]
name = "door"
source = "rtsp://user:${PASSWORD}@10.0.0.5/live"
rotate = 90
aspect = "4:3"
stall_s = 20
min_face = 12
fpir = 0.001
[[cameras.zones]]
name = "path"
polygon = [[0, 0], [1, 0], [1, 1]]
min_face = 20
[[cameras.masks]]
polygon = [
  [0, 0],
  [0.5, 0],
  [0.5, 0.5],
]
[[cameras]]
name = "clip"
source = "clips/a.mp4"
every_frame = true
[events]
outbox = "waiting.sqlite"
[[events.webhooks]]
url = "https://example.org/hook?key=${PASSWORD}"
secret_env = "PASSWORD"
[events.mqtt]
host = "broker.lan"
tls = true
user = "u"
password_env = "PASSWORD"
topic = "house/lrface"
"""
VALUES = [
    "nan", "inf", "-1", "0", "1e400", "9" * 5000, "0x" + "f" * 5000, '""', '"\\u0000"', '"\\u200b"', '"\\u001b[2J"',
    "[]", "{}", "[[]]", "[[0, 0]]", "true", "1979-05-27", "'${NO}'", '"${PASSWORD}"', '"file:///dev/zero"', "'..'",
    '"/dev/full"', '"rtsp:/u:${PASSWORD}@h"', "'''" + "x\n" * 200 + "'''", "[" * 300 + "]" * 300,
    '"' + "x" * 5000 + '"', '"a/#"',
]  # fmt: skip


def damaged(rng: random.Random) -> bytes:
    """Lines removed, repeated or moved, other values, other bytes."""
    lines = WHOLE.splitlines()
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(lines))
        match rng.randrange(6):
            case 0:
                del lines[at]
            case 1:
                lines.insert(rng.randrange(len(lines)), lines[at])
            case 2:
                lines[at:at] = lines[at : at + 9] * rng.choice((1, 50))
            case 3:
                lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
            case _:
                lines[at] = lines[at].partition("=")[0] + "= " + rng.choice(VALUES)
    data = bytearray("\n".join(lines).encode())
    for _ in range(rng.choice((0, 0, 3))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def test_damaged_camera_files(tmp_path: Path) -> None:
    rng, ends, path = random.Random(0), Counter[str](), tmp_path / "cameras.toml"
    for case in range(CASES):
        path.write_bytes(damaged(rng))
        started = time.process_time()
        try:
            shown, end = repr(load_settings(path, {"PASSWORD": SECRET})), "read"
        except LrfaceError as error:
            shown, end = str(error), "refused"
        ends[end] += 1
        assert SECRET not in shown, case
        assert shown.isprintable(), case
        assert time.process_time() - started < 3, case
    assert ends["refused"] > CASES // 4, ends
    assert ends["read"], ends
