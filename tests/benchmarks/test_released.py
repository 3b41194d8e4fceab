"""``benchmarks/released.py`` from end to end, on tiny folders of each set's layout."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

from fake_detectors import Nothing
from released_sets import RELEASES
from tiny_models import write_models

from benchmarks import released


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the script on one set; gives its JSON. The tiny models' folder holds no detector."""

    def call(name: str) -> dict:
        models = write_models(tmp_path / "models")
        monkeypatch.setattr(released, "open_detector", lambda **_: Nothing())
        root = str(RELEASES[name](tmp_path / "root"))
        arguments = ["--set", name, "--root", root, "--models", str(models), "--out", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", ["benchmarks/released.py", *arguments])
        released.main()
        assert "| --- |" in capsys.readouterr().out
        return json.loads((tmp_path / "out" / f"released-{name}.json").read_text())

    return call


@pytest.mark.parametrize("name", sorted(RELEASES))
def test_each_set_runs_and_says_what_it_ran_with(name: str, run, tmp_path: Path) -> None:
    result = run(name)
    assert set(result["models"]) == {"tiny-16", "tiny-32"}
    assert result["machine"]["packages"]["lrface"]
    for entry in result["plots"]:
        assert (tmp_path / "out" / f"released-{name}-{entry['name']}.svg").is_file()


def test_patterns_are_told_apart_among_distractors(run) -> None:
    (row,) = run("tinyface")["rows"]
    assert (row["people"], row["mated"], row["strangers"], row["not_detected"]) == (7, 3, 0, 3)
    assert row["rank1_error"] == 0
    assert row["rank1_error_95"][1] == pytest.approx(56.15, abs=0.1), "three searches prove little"


def test_strangers_are_searched_and_counted(run) -> None:
    (row,) = run("survface")["rows"]
    assert (row["people"], row["mated"], row["strangers"]) == (2, 2, 10)
    assert row["fnir_at_fpir_0.1"] == 0
    assert row["threshold_at_fpir_0.01"] > row["threshold_at_fpir_0.3"]


def test_distances_are_rows(run) -> None:
    rows = run("scface")["rows"]
    assert [row["condition"] for row in rows] == ["4.2 m", "2.6 m", "1.0 m"]
    assert all(row["mated"] == 6 for row in rows)
    assert np.diff([row["median_native_px"] for row in rows]).min() > 0


@pytest.mark.parametrize(("name", "folds"), [("xqlfw", [100.0, 100.0]), ("survface-pairs", None)])
def test_verification_with_and_without_folds(name: str, folds: list[float] | None, run) -> None:
    (row,) = run(name)["rows"]
    assert row.get("folds") == folds
    assert row["tar_at_far_0.01"] == 100
