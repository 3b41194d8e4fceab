"""URLs with secrets, well-formed and misspelt, in messages and in every place of the command line.

`LRFACE_FUZZ_CASES=10000 pytest tests/fuzz/test_urls.py` runs more cases than the 200 of every test run.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import string

import pytest
from commands import COMMANDS

from lrface.cli import app
from lrface.errors import LrfaceError
from lrface.redaction import redact, shown

CASES = int(os.environ.get("LRFACE_FUZZ_CASES", "200"))
SCHEMES = ["rtsp", "rtsps", "RTSP", "rtmp", "http", "https", "srt", "udp", "rstp", "rtps", "hhtp", "ws", "my-cam+1"]
KNOWN = {"rtsp", "rtsps", "rtmp", "http", "https", "srt", "udp", "ws"}
MISSPELT = [":/", ":///", "//", ":", ";//", ":\\\\", ": //", ":/ /", ""]
HOSTS = ["10.0.0.5", "cam.local", "localhost", "[::1]", "nvr", "127.0.0.1:9", "10.0.0.5:554"]
ODD = "@/?#:%&=+!$~,;.-_*()[]{}|^é山"
MESSAGES = [
    "{}",
    "there is no picture {}: check the path",
    "no gallery at {}: check the path, or make it with `lrface enroll {} people/`",
    "Invalid value for '--stride': '{}' is not a valid integer.",
    "Got unexpected extra argument ({})",
    "unknown device {!r}: give cpu or cuda:N",
    'cannot write {} (No space left on device): free some space; "{}" stays',
    "/home/me/{}: is not a video that can be read",
    "{}\n{}",
]


def secret(rng: random.Random, odd: str) -> tuple[str, list[str]]:
    """A password with odd characters in it, and the runs of letters that no message may hold."""
    runs = ["".join(rng.choices(string.ascii_letters + string.digits, k=rng.randint(6, 12))) for _ in range(3)]
    runs = runs[: rng.randint(1, 3)]
    return "".join(
        run + (rng.choice(odd) * rng.randint(1, 2) if i + 1 < len(runs) else "") for i, run in enumerate(runs)
    ), runs


def url(rng: random.Random) -> tuple[str, list[str]]:
    scheme, host = rng.choice(SCHEMES), rng.choice(HOSTS)
    after = rng.choice(["", "/", "/live", "/Streaming/Channels/101", "/cam/realmonitor?channel=1"])
    kind = rng.choice(["password", "password", "token", "query", "path", "fragment"])
    if kind == "password":
        separator = rng.choice(["://", *MISSPELT])
        word, runs = secret(rng, ODD if separator == "://" or scheme.lower() not in KNOWN else ODD + " ")
        if separator != "://" and (separator == "" or scheme.lower() not in KNOWN):
            word = word.replace(" ", "")
        start = scheme + separator if separator else ""
        return f"{start}{rng.choice(['admin', 'root', 'u', 'a.b', 'me%40x'])}:{word}@{host}{after}", runs
    if kind == "token":
        word, runs = secret(rng, ODD)
        return f"{scheme}://{word}@{host}{after}", runs
    word, runs = secret(rng, "/-_=&+%.")
    if kind == "query":
        return f"{scheme}://{host}/a.cgi?user=admin&pwd={word}&x=1", runs
    if kind == "fragment":
        return f"{scheme}://{host}/live#{word}", runs
    return f"{scheme}://{host}/live/{word}", runs


def leaks(text: str, runs: list[str]) -> list[str]:
    return [run for run in runs if run in text]


@pytest.mark.parametrize("part", range(8))
def test_no_message_holds_a_secret(part):
    rng = random.Random(part)
    for _ in range(-(-CASES // 8)):
        text, runs = url(rng)
        message = rng.choice(MESSAGES)
        written = message.format(*[text] * message.count("{"))
        for safe in (shown(written), redact(text), str(LrfaceError(written))):
            assert not leaks(safe, runs), (text, written, safe)
        assert shown(shown(written)) == shown(written), written


def test_no_message_steers_a_terminal():
    rng = random.Random(8)
    for _ in range(CASES):
        text = "".join(
            chr(rng.choice([rng.randrange(0x20), rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)]))
            for _ in range(40)
        )
        assert re.search(r"[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]", shown(text)) is None
        assert "\n" not in str(LrfaceError(text))


def test_no_command_prints_a_secret(tmp_path, monkeypatch, capfd, enrolled):
    rng = random.Random(9)
    monkeypatch.chdir(tmp_path)
    gallery = tmp_path / "staff.gallery"
    # A URL that is well-formed and in its place is opened, which may take 10 s: test_messages.py does that once.
    commands = [
        command for command in COMMANDS if command != "watch GALLERY URL" and not command.startswith("identify")
    ]
    for _ in range(CASES):
        shutil.copy(enrolled, gallery)
        text, runs = url(rng)
        command = rng.choice(commands)
        words = [word.replace("GALLERY", str(gallery)).replace("URL", text) for word in command.split()]
        code = app.run(words)
        out, err = capfd.readouterr()
        assert not leaks(out + err, runs), (words, out, err)
        assert "Traceback" not in err
        assert code in (1, 2) or "URL" not in command, (words, err)
