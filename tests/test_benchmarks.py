"""Every benchmark runs, small, and leaves a table and a JSON that says how it came about; figures are not judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

SMALL = {
    "lfw": ["--limit", "2"],
    "levels": ["--limit", "60", "--sizes", "12", "24"],
    "people": ["--limit", "2", "--widths", "24"],
    "detection": ["--limit", "4"],
    "landmarks": ["--pictures", "4", "--sizes", "32", "16"],
    "clips": ["--frames", "2"],
    "open_set": ["--limit", "44", "--people", "20", "--searches", "100"],
    "quality": ["--limit", "4"],
    "uccs": ["--photos", "5", "--seeds", "0", "--sizes", "16"],
}


def test_no_benchmark_is_forgotten(root: Path) -> None:
    scripts = {path.stem for path in (root / "benchmarks").glob("*.py") if "write_result(" in path.read_text()}
    assert scripts - {"common"} == {*SMALL, "released"}  # the released sets are not here: see test_released.py


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_benchmark_runs(name: str, root: Path, shared: Path, tmp_path: Path) -> None:
    command = [sys.executable, f"benchmarks/{name}.py", *SMALL[name], "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "| --- |" in done.stdout
    result = json.loads((tmp_path / f"{name}.json").read_text())
    assert result["rows"]
    assert f"benchmarks/{name}.py" in result["command"]
    assert result["machine"]["packages"]["numpy"]
    for entry in result.get("plots", []):
        assert (tmp_path / f"{name}-{entry['name']}.svg").is_file()


def test_results_belong_to_the_shipped_models(root: Path) -> None:
    """A figure of a model that no longer ships is not a figure of this project."""
    shipped = {
        model["name"]: model["sha256"] for model in json.loads((root / "models/manifest.json").read_text())["models"]
    }
    seen = set()
    for path in sorted((root / "benchmarks" / "results").glob("*.json")):
        result = json.loads(path.read_text())
        named = dict(result.get("models", {}))
        named |= {row["model"]: row["sha256"] for row in result["rows"] if "sha256" in row and row["model"] in shipped}
        for name, sha256 in named.items():
            assert shipped.get(name) == sha256, f"{path.name}: {name} was measured before it was trained again"
            seen.add(name)
    assert seen == set(shipped)


def test_readme_says_what_the_results_say(root: Path) -> None:
    from benchmarks.common import RESULTS
    from benchmarks.readme import filled

    readme = (root / "README.md").read_text()
    assert filled(readme, RESULTS) == readme, "run python benchmarks/readme.py"
