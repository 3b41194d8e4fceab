"""What a recorded result says of the machine that it came from: no folder of it."""

from __future__ import annotations

import re
import sys

import pytest

from benchmarks.lib.results import RESULTS, ROOT, command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cache", "/srv/of/somebody/cache", "--limit", "3"], "--cache /path/to/cache --limit 3"),
        (["--out=/srv/of/somebody/out"], "--out=/path/to/out"),
        (["--images", "cars=/srv/of/somebody/cars"], "--images cars=/path/to/cars"),
        (["--models", str(ROOT / "models")], "--models models"),
        (["methods", "--share=0.5", "relative/faces"], "methods --share=0.5 relative/faces"),
    ],
)
def test_a_command_names_no_folder_of_this_machine(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(ROOT / "benchmarks" / "lfw.py"), *arguments])
    assert command() == f"python -m benchmarks.lfw {said}"


def test_no_recorded_result_names_a_folder_of_a_machine() -> None:
    results = sorted(RESULTS.glob("*.json"))
    assert results
    named = {path.name: re.findall(r"(?<![\w.:/])/(?!path/to/)\w+/[\w./-]+", path.read_text()) for path in results}
    assert {name: found for name, found in named.items() if found} == {}
