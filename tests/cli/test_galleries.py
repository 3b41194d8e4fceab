"""The commands about galleries, as a user runs them: who is there, who goes, what is damaged."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import sys
from pathlib import Path

import pytest
from shell import lrface, refused
from tiny_gallery import CONTRACT, Gallery, photo


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    path = tmp_path / "staff.gallery"
    with Gallery.open(path, CONTRACT) as opened:
        for seed in range(40):
            opened.add(f"p{seed:02d}", [photo(seed), photo(seed + 100)])
    return path


def limit(size: int) -> None:
    """No file of the child grows above a size: a disk that is nearly full."""
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on the size of files: run it on Linux or macOS")
def test_remove_on_a_nearly_full_disk_says_what_was_done(gallery: Path) -> None:
    with Gallery.open(gallery, CONTRACT) as opened:  # compacting needs a little more than the size of so many pages
        opened.add("crowd", [photo(seed) for seed in range(1000, 5000)])
        opened.compact()
    size = gallery.stat().st_size
    done = lrface("gallery", "remove", gallery, "p07", before=lambda: limit(size))
    refused(done, "stays removed", "lrface gallery compact")
    assert done.stdout == "removed p07 (2 photos)\n"
    assert "nothing" not in done.stderr
    listed = lrface("gallery", "list", gallery).stdout
    assert "p07" not in listed
    assert len(listed.splitlines()) == 40
    assert lrface("gallery", "compact", gallery).returncode == 0

    done = lrface("gallery", "remove", gallery, "p08", before=lambda: limit(100))
    refused(done, "nothing of this call was stored")
    assert "p08" in lrface("gallery", "list", gallery).stdout


def test_verify_lists_the_damaged_and_removes_them(gallery: Path) -> None:
    assert lrface("gallery", "verify", gallery).returncode == 0
    with sqlite3.connect(gallery) as connection:
        connection.execute("UPDATE people SET name = 'p99' || char(27) || '[2J' WHERE name = 'p03'")
        connection.execute("UPDATE photos SET native_px = 7.0 WHERE person_id = 6")
    connection.close()
    refused(lrface("gallery", "list", gallery), "p05", "lrface gallery verify", "enrol these people again")
    done = lrface("gallery", "verify", gallery)
    refused(done, "2 damaged entries", "--remove-damaged")
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["p99\\x1b[2J", "p05"]
    done = lrface("gallery", "verify", gallery, "--remove-damaged")
    assert done.returncode == 0, done.stderr
    assert "2 damaged entries removed" in done.stderr
    assert len(lrface("gallery", "list", gallery).stdout.splitlines()) == 38
    assert lrface("gallery", "verify", gallery).stdout == ""


def test_list_tells_the_ids(gallery: Path) -> None:
    lines = [json.loads(line) for line in lrface("gallery", "list", gallery, "--json").stdout.splitlines()]
    assert len({line["id"] for line in lines}) == 40


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes of this kind: run it on Linux")
def test_a_named_pipe_is_no_gallery(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gallery")
    for command in ("list", "compact", "verify"):
        refused(lrface("gallery", command, tmp_path / "pipe.gallery"), "not a regular file")
    assert stat.S_ISFIFO((tmp_path / "pipe.gallery").stat().st_mode)


@pytest.mark.parametrize(
    "command",
    ["identify G x.jpg", "watch G x.mp4", "thresholds G", "thresholds G --fpir 0.1", "gallery list G",
     "gallery remove G Ada", "gallery compact G", "gallery verify G"],
)  # fmt: skip
def test_a_mistyped_name_makes_no_gallery(tmp_path: Path, command: str) -> None:
    from click.testing import CliRunner

    from lrface.cli.app import cli

    path = tmp_path / "stuff.gallery"
    done = CliRunner().invoke(cli, [str(path) if word == "G" else word for word in command.split()])
    assert done.exit_code
    assert "no gallery at" in f"{done.output}{done.exception}"
    assert not list(tmp_path.iterdir())


def test_a_person_from_first_to_last(gallery: Path, tmp_path: Path) -> None:
    def done(*arguments: object) -> str:
        ran = lrface("gallery", arguments[0], gallery, *arguments[1:])
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    done("rename", "p01", "Ana María")
    done("group", "staff", "--fpir", "0.05", "--until", "2999-12-31")
    done("edit", "Ana María", "--tag", "night shift", "--group", "staff", "--until", "2999-01-01")
    assert "3 photos" not in done("merge", "p02", "Ana María")
    shown = json.loads(done("show", "Ana María", "--json"))
    assert (shown["tags"], shown["groups"], shown["retain_until"]) == (["night shift"], ["staff"], "2999-01-01")
    assert len(shown["photos"]) == 4
    done("remove-photo", shown["id"], shown["photos"][0]["sha256"])
    text = done("show", "Ana María")
    assert text.count("photo\t") == 3
    done("edit", "p03", "--until", "2020-01-01")
    assert done("expire").strip()
    done("snapshot", tmp_path / "copy.gallery")
    done("remove", "Ana María")
    log = done("log")
    assert "person removed: retention ended" in log
    assert "Ana" not in log
    assert len(done("list").splitlines()) == 37
    assert len(lrface("gallery", "list", tmp_path / "copy.gallery").stdout.splitlines()) == 38
    refused(lrface("gallery", "show", gallery, "p01"), "nobody called")
