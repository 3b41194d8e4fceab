"""The table of `lrface watch --show`, drawn by rich, and in a terminal of a real process."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from clips import clip
from shell import ENVIRONMENT, lrface, refused

from lrface.cli.terminal_view import TerminalView
from lrface.errors import LrfaceError
from lrface.inputs.video import Frame
from lrface.types import Identification, Reason

rich_console = pytest.importorskip("rich.console")


def terminal(**options):
    return rich_console.Console(file=io.StringIO(), force_terminal=True, width=120, **options)


def face(track, name, similarity):
    return Identification((0, 0, 9, 9), 0.9, np.zeros((5, 2), np.float32), 24.4, 112, np.zeros(4, np.float32),
                          name, similarity, 0.3, Reason.MATCH, track=track, views=2.5)  # fmt: skip


def test_the_table_says_rate_latency_and_who_is_in_view():
    times = iter([10.0, 10.1, 10.2])
    console = terminal()
    view = TerminalView("rtsp://camera/1", console=console, clock=lambda: next(times))
    for i in range(3):
        shown = [face(1, "[bold]Ada\x1b", 0.61), face(2, None, 0.12)] if i < 2 else [face(1, "[bold]Ada\x1b", 0.61)]
        view.add(Frame(i, 0.1 * i, np.zeros((1, 1, 3), np.uint8), 10.0 + 0.1 * i - 0.05), shown)
    console.print(view.table())
    text = console.file.getvalue()
    for part in (
        "3 frames",
        "10.0 frames/s",
        "p50 50 ms",
        "1 faces in view",
        "[bold]Ada\\x1b",
        "0.61",
        "24 px",
        "0.2 s",
    ):
        assert part in text, text
    assert "unknown" not in text


def test_it_needs_a_terminal():
    with pytest.raises(LrfaceError, match="terminal"):
        TerminalView("0", console=rich_console.Console(file=io.StringIO()))


def test_watch_draws_it_on_stderr_and_keeps_stdout_for_lines(tmp_path, enrolled, portrait):
    video = clip(tmp_path / "clip.avi", portrait, 20)
    arguments = ["watch", str(enrolled), str(video), "--show", "--networks", "fast"]
    screen, inside = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "lrface", *arguments],
        stdout=subprocess.PIPE, stderr=inside, text=True, env={**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "120"},
    ) as running:  # fmt: skip
        os.close(inside)
        drawn = b""
        while True:
            try:
                part = os.read(screen, 65536)
            except OSError:  # the process has ended
                break
            if not part:
                break
            drawn += part
        out = running.stdout.read()
    os.close(screen)
    assert running.returncode == 0, drawn
    assert "Eileen Collins" in out
    assert "\x1b" not in out
    for part in ("20 frames", "frames/s", "p50", "Eileen Collins"):
        assert part in drawn.decode("utf-8", "replace"), drawn
    refused(lrface(*arguments), "terminal")
