from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from benchmarks.lib.plots import plot
from benchmarks.lib.results import write_result
from benchmarks.publish.report import page


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.cells: list[str] = []
        self.tables = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href")]
        self.tables += tag == "table"
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data)


RESULT = {
    "protocol": "pairs & <folds>", "command": "python -m benchmarks.some", "seeds": [1, 2],
    "models": {"lrface-16": "ab12"},
    "machine": {"cpu": "a cpu", "python": "3.11", "packages": {"numpy": "2.4"}},
    "rows": [
        {"model": "lrface-16", "accuracy": 93.66666, "ap": {"8-16": 0.5}, "sha256": "ab12", "interval": [92.5, 94.5]},
        {"model": "<other>", "accuracy": 90.0, "right": 3},
    ],
    "plots": [plot("roc", {"lrface-16": [[0.01, 1.0], [0.5, 1.0]]}, "ROC <16>")],
}  # fmt: skip


def test_a_page_shows_figures_and_plots_and_loads_nothing() -> None:
    text = page({"some": RESULT, "plain": {**RESULT, "plots": [], "rows": [{"test": "a"}, {"test": "b"}]}})
    seen = Page(text)
    assert seen.open == [], "every tag is closed"
    assert seen.tables == 3, "two tests in one result are two tables"
    for cell in ("93.67", "<other>", "ap 8-16", "92.5 94.5", "3"):
        assert cell in seen.cells
    assert "sha256" not in seen.cells
    assert "lrface-16 ab12" in text, "the models' hashes stand below"
    assert "pairs &amp; &lt;folds&gt;" in text
    outside = [address for address in seen.addresses if not address.startswith(("#", "data:image/svg+xml;base64,"))]
    assert outside == []
    (picture,) = re.findall(r"base64,([^\"]+)", text)
    assert ET.fromstring(base64.b64decode(picture)).tag.endswith("svg")


def test_data_that_stand_in_for_others_are_marked() -> None:
    assert 'class="warn">Data: a stand-in' in page({"uccs": {**RESULT, "data": "a stand-in", "standin": {"seed": 0}}})
    assert 'class="data">Data: UCCS' in page({"uccs": {**RESULT, "data": "UCCS", "standin": None}})


def test_the_script_makes_a_page_of_a_folder(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.publish.report", "--results", str(tmp_path)]
    nothing = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert nothing.returncode == 1
    assert "run a benchmark first" in nothing.stderr
    write_result("some", {"rows": RESULT["rows"], "plots": RESULT["plots"]}, tmp_path)
    subprocess.run(command, cwd=root, check=True, capture_output=True, timeout=300)
    assert "93.67" in (tmp_path / "report.html").read_text()


def test_the_results_of_this_checkout_make_a_page(root: Path) -> None:
    results = {path.stem: json.loads(path.read_text()) for path in (root / "benchmarks" / "results").glob("*.json")}
    assert Page(page(results)).tables >= len(results)
