from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.training_hours import chain, curve, expected


def run(folder: Path, name: str, init: str, lines: list[tuple[int, float]], level: int = 112) -> None:
    (folder / name).mkdir(parents=True)
    recipe = {"name": name, "init": init, "student": {"level": level}, "schedule": {"batch": 100}}
    (folder / name / "recipe.json").write_text(json.dumps(recipe))
    log = [{"epoch": 1.0, "steps": steps, "seconds": 1800, "val_cosine_16": cosine} for steps, cosine in lines]
    (folder / name / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))


def test_runs_that_go_on_from_each_other_are_one_curve(tmp_path: Path) -> None:
    run(tmp_path, "first", "", [(5, 0.5), (10, 0.6)])
    run(tmp_path, "second", "first", [(30, 0.8)])
    run(tmp_path, "small", "second", [(7, 0.3)], level=64)
    rows = curve(chain("second", 112, tmp_path))
    assert [(row["run"], row["views"], row["hours"]) for row in rows] == [
        ("first", 500, 0.5), ("first", 1000, 1.0), ("second", 4000, 1.5),
    ]  # fmt: skip
    assert [row["views"] for row in curve(chain("small", 64, tmp_path))] == [700], "another level is another curve"


def test_what_more_training_may_bring_follows_the_last_two_runs(tmp_path: Path) -> None:
    run(tmp_path, "first", "", [(10, 0.6)])
    rows = curve(chain("first", 112, tmp_path))
    assert expected(rows, 16, 1e6) is None, "one run says nothing"
    run(tmp_path, "second", "first", [(30, 0.8)])
    rows = curve(chain("second", 112, tmp_path))
    # Four times the views halved what is missing to 1: so will the next four times.
    assert expected(rows, 16, 16000) == pytest.approx(0.9)
    assert expected(rows, 24, 16000) is None, "a width that was not measured"
