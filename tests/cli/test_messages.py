"""What the command line prints and how it exits, with hostile names, full devices and URLs in the wrong place."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import click
import cv2
import numpy as np
import pytest
from commands import COMMANDS
from shell import ENVIRONMENT, lrface, refused

from lrface.cli import app
from lrface.cli.identifying import clock

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "00:00:00.000"),
        (59.9996, "00:01:00.000"),
        (59.9994, "00:00:59.999"),
        (3599.9999, "01:00:00.000"),
        (366_061.5, "101:41:01.500"),
    ],
)
def test_clock(seconds, shown):
    assert clock(seconds) == shown


# -- devices that take nothing ----------------------------------------------------------------------------------------

full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")


def run_into(device: str, *arguments: object, stream: str = "stdout") -> subprocess.CompletedProcess[str]:
    with open(device, "w") as target:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: target}
        command = [sys.executable, "-m", "lrface", *map(str, arguments)]
        return subprocess.run(command, text=True, env=ENVIRONMENT, timeout=120, **streams)


@full
@pytest.mark.parametrize(
    "arguments",
    [["models", "list"], ["models", "verify"], ["--version"], ["--help"], ["watch", "--help"], ["doctor"], ["gallery"]],
)
def test_full_stdout(arguments):
    done = run_into("/dev/full", *arguments)
    if arguments == ["gallery"]:  # its help goes to stderr
        assert done.returncode == 2
        return
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("lrface: cannot write the output (No space left on device)")
    assert "Traceback" not in done.stderr


@full
def test_full_stdout_of_a_long_work(enrolled, portrait):
    done = run_into("/dev/full", "identify", enrolled, portrait, "--json")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "cannot write the output" in done.stderr


@full
@pytest.mark.parametrize(
    ("arguments", "code"), [(["models", "list"], 0), (["nonsense"], 2), ([], 2), (["gallery", "list", "x"], 1)]
)
def test_full_stderr_changes_no_exit_code(arguments, code):
    assert run_into("/dev/full", *arguments, stream="stderr").returncode == code


@pytest.mark.parametrize("close", [1, 2])
def test_closed_streams(close):
    done = lrface("models", "list", before=lambda: os.close(close))
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


# -- hostile text -----------------------------------------------------------------------------------------------------

HOSTILE = "\x1b[2J\nforged.png: Eileen Collins\x9b1m\u202e.png"


def assert_harmless(done: subprocess.CompletedProcess[str]) -> None:
    for text in (done.stdout, done.stderr):
        assert not any(letter in text for letter in "\x1b\x9b\u202e")
        assert not any(line.startswith("forged") for line in text.splitlines())


def test_hostile_file_names(tmp_path, enrolled, portrait):
    picture, broken = tmp_path / HOSTILE, tmp_path / f"broken{HOSTILE}"
    shutil.copy(portrait, picture)
    broken.write_bytes(b"x")
    said = lrface("identify", enrolled, picture, broken, "--out", tmp_path / f"out{HOSTILE}")
    refused(said, "1 of 2 pictures")
    assert_harmless(said)
    assert "\\x1b[2J\\nforged" in said.stdout
    as_json = lrface("identify", enrolled, picture, "--json")
    assert_harmless(as_json)
    assert json.loads(as_json.stdout)["source"] == str(picture)
    for command in ("watch", "enroll"):
        done = lrface(command, enrolled, broken)
        assert done.returncode == 1
        assert_harmless(done)


def test_hostile_names_of_people(tmp_path, portrait):
    photo = tmp_path / "people" / f"Ada{HOSTILE}" / f"a{HOSTILE}"
    photo.parent.mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((300, 300, 3), 127, np.uint8))
    shutil.copy(tmp_path / "wall.png", photo)
    (tmp_path / "people" / "Bob").mkdir()
    shutil.copy(portrait, tmp_path / "people" / "Bob" / f"b{HOSTILE}")
    (tmp_path / "people" / "Bob" / f"c{HOSTILE}").write_bytes(b"x")
    for options in ((), ("--json",)):
        done = lrface("enroll", tmp_path / "new.gallery", tmp_path / "people", *options)
        assert "Bob" in done.stdout
        assert_harmless(done)


@pytest.mark.parametrize(
    "command",
    ["identify GALLERY NAME", "watch GALLERY NAME", "enroll NAME.gallery NAME", "identify GALLERY PICTURE --out NAME",
     "gallery list NAME", "models list --models NAME", "identify GALLERY PICTURE --detector NAME"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["x" * 300, "iVBORw0KGgo/" * 2000], ids=["long name", "base64"])
def test_a_name_that_no_file_can_have(capfd, enrolled, portrait, command, name):
    words = {"GALLERY": str(enrolled), "PICTURE": str(portrait), "NAME": name, "NAME.gallery": f"{name}.gallery"}
    assert app.run([words.get(word, word) for word in command.split()]) == 1
    said = capfd.readouterr().err
    assert said.startswith("lrface: ")
    assert len(said) < 1500


# -- secrets ----------------------------------------------------------------------------------------------------------

URLS = [
    f"rtsp://admin:{SECRET}@127.0.0.1:9/live",
    f"rtsp:/admin:{SECRET}@127.0.0.1:9/live",
    f"rtsp//admin:{SECRET}@127.0.0.1:9",
    f"admin:{SECRET}@127.0.0.1",
    f"rtmp://127.0.0.1:9/live/{SECRET}",
    f"http://127.0.0.1:9/a.cgi?pwd={SECRET}",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_prints_a_secret(tmp_path, monkeypatch, capfd, enrolled, command):
    monkeypatch.chdir(tmp_path)
    for url in URLS:
        gallery = shutil.copy(enrolled, tmp_path / "staff.gallery")
        words = [word.replace("GALLERY", str(gallery)).replace("URL", url) for word in command.split()]
        code = app.run(words)
        out, err = capfd.readouterr()
        assert SECRET not in out + err
        assert "Traceback" not in err
        assert (code, bool(err)) in ((1, True), (2, True)), (url, code, err)


def commands(group: click.Group, *before: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)
        else:
            yield (*before, name), command


def places() -> Iterator[list[str]]:
    """A call of each command with a URL as each of its arguments and options."""
    for words, command in commands(app.cli):
        needed = [p.name for p in command.params if isinstance(p, click.Argument)]
        given = ["GALLERY" if name == "gallery" else "nothing" for name in needed]
        for place in range(len(needed)):
            yield [*words, *given[:place], "URL", *given[place + 1 :]]
        for option in command.params:
            if isinstance(option, click.Option) and not option.is_flag:
                yield [*words, *given, option.opts[-1], "URL"]


@pytest.mark.parametrize("words", list(places()), ids=" ".join)
def test_no_place_for_a_url_prints_its_secret(tmp_path, monkeypatch, capfd, enrolled, words):
    monkeypatch.chdir(tmp_path)
    gallery = shutil.copy(enrolled, tmp_path / "staff.gallery")
    app.run([word.replace("GALLERY", str(gallery)).replace("URL", URLS[0]) for word in words])
    out, err = capfd.readouterr()
    assert SECRET not in out + err
    assert "Traceback" not in err
    assert not [path for path in tmp_path.rglob("*") if SECRET in path.name]


@pytest.mark.parametrize("command", COMMANDS[:4])
def test_no_process_prints_a_secret(command):
    done = lrface(*command.replace("URL", URLS[0]).split())
    assert done.returncode in (1, 2)
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["demo --out URL", "identify GALLERY PICTURE --out URL"])
def test_no_folder_is_named_by_a_url(tmp_path, monkeypatch, capfd, enrolled, portrait, command):
    monkeypatch.chdir(tmp_path)
    words = {"URL": URLS[0], "GALLERY": str(enrolled), "PICTURE": str(portrait)}
    assert app.run([words.get(word, word) for word in command.split()]) == 1
    out, err = capfd.readouterr()
    assert "name a folder" in err
    assert SECRET not in out + err
    assert list(tmp_path.iterdir()) == []


def test_a_stream_where_the_gallery_belongs_is_explained(enrolled):
    refused(lrface("watch", f"rtsp://u:{SECRET}@h/live", enrolled), "the gallery comes first")
