"""`lrface serve` and `lrface access` as they are typed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from shell import ENVIRONMENT

pytest.importorskip("starlette", reason="needs the extra `serve`")
pytest.importorskip("uvicorn", reason="needs the extra `serve`")

from lrface.cli.app import run
from lrface.serve.client import Client


def test_the_demo_shows_a_person_and_a_stranger():
    """The real networks on the demo's clip: about ten seconds of one core."""
    pytest.importorskip("skimage")
    command = [sys.executable, "-m", "lrface", "serve", "--demo", "--port", "0", "--networks", "fast"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert process.stderr is not None
    token = url = ""
    try:
        for line in process.stderr:
            token = (re.findall(r"lrf_\w+_[\w-]+", line) or [token])[0]
            url = (re.findall(r"http://127\.\S+", line) or [""])[0]
            if url:
                break
        with Client(url, token) as client:
            names = set()
            for event in client.stream(after=0):
                names.add(event.event["name"])
                if event.event["event"] == "identified":
                    break
            assert "Eileen Collins" in names
            assert len(client.snapshot("lobby")) > 1000
            assert {track.camera for track in client.tracks().tracks} == {"lobby"}
    finally:
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 143
    assert "Traceback" not in said


def test_accounts_and_tokens_are_made_listed_and_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from lrface.serve.access import Access, Role

    data = tmp_path / "a.gallery.service"
    assert run(["access", "list", str(data)]) == 1
    assert "first start" in capsys.readouterr().err
    data.mkdir(mode=0o700)
    Access(data / "access.json").first_start()
    assert run(["access", "add", str(data), "ana", "--role", "operator"]) == 0
    password = capsys.readouterr().out.strip()
    assert Access(data / "access.json").by_password("ana", password) == Role.OPERATOR
    assert run(["access", "add", str(data), "nvr", "--token"]) == 0
    token = capsys.readouterr().out.strip()
    found = Access(data / "access.json").by_token(token)
    assert found is not None
    assert found.role == Role.VIEWER
    assert run(["access", "list", str(data)]) == 0
    assert "token\tnvr\tviewer" in capsys.readouterr().out.splitlines()
    assert run(["access", "remove", str(data), "ana"]) == 0
    assert Access(data / "access.json").by_password("ana", password) is None
    assert run(["access", "remove", str(data), "admin"]) == 1


@pytest.mark.parametrize("arguments", [[], ["--demo", "--gallery", "x.gallery"], ["x.toml"]])
def test_what_is_missing_or_too_much_is_wrong_usage(arguments: list[str]) -> None:
    assert run(["serve", *arguments]) == 2


def test_the_limit_of_pictures_ends_with_the_service(monkeypatch):
    from lrface.inputs.decoding import LIMIT_VARIABLE
    from lrface.serve.server import _picture_limit

    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    with _picture_limit(64_000_000):
        assert os.environ[LIMIT_VARIABLE] == "64.0"
    assert LIMIT_VARIABLE not in os.environ
    monkeypatch.setenv(LIMIT_VARIABLE, "12")
    with _picture_limit(64_000_000):
        assert os.environ[LIMIT_VARIABLE] == "12"
    assert os.environ[LIMIT_VARIABLE] == "12"
