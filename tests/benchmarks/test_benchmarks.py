"""Every benchmark runs, small, and leaves a table and a JSON that says how it came about; figures are not judged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks.lib.image_runs import write_digits

TRAINED = [
    *("--high", "8", "--widths", "4", "--no-mirror", "--methods", "HORKD, two stages", "CRRCD"),
    *("--teacher-epochs", "1", "--assistant-epochs", "1", "--epochs", "1"),
]
SMALL = {
    "lfw": ["--limit", "1", "--sizes", "112", "16", "--scene", "16"],
    "training_hours": [],
    "levels": ["--limit", "60", "--sizes", "12", "24"],
    "end_to_end": ["--limit", "2", "--widths", "24"],
    "detection": ["--limit", "2"],
    "landmarks": ["--pictures", "4", "--sizes", "32", "16"],
    "clips": ["--frames", "2"],
    "detect_every": ["--frames", "3"],
    "detector_pyramid": ["--every", "500", "--every-face", "500"],
    "open_set": [
        *("--limit", "44", "--people", "5", "--searches", "100", "--sizes", "16", "--widths", "24", "--probes", "40"),
    ],
    "quality": ["--limit", "4"],
    "devices": ["--batches", "1", "--turns", "1", "--more"],
    "identity_switches": ["--limit", "3"],
    "landmark_refinement": ["--pairs", "20", "--widths", "24"],
    "service": ["--clients", "2", "--seconds", "2", "--networks", "fast"],
    "soak": ["--frames", "800"],
    "strangers": ["--people", "3", "--limit", "3", "--draws", "1", "--widths", "24"],
    "tracks": ["--limit", "4", "--widths", "24", "--draws", "1"],
    "video": ["--frames", "2", "--threads", "1", "--clips", "street, 1280x720 of it", "stage, 640x360"],
    "versions": ["before=.", "now=.,networks=fast", "--frames", "1", "--turns", "1"],
    "objects": TRAINED,
    "metric_learning": TRAINED,
    "uccs": ["--limit", "12", "--photos", "5", "--seeds", "0", "--sizes", "16"],
}


def test_no_benchmark_is_forgotten(root: Path) -> None:
    scripts = {path.stem for path in (root / "benchmarks").glob("*.py") if "write_result(" in path.read_text()}
    # these have files of their own: the released sets are not here, sweeps train
    assert scripts == {*SMALL, "enrolment", "gallery", "released", "sweeps"}
    assert all((Path(__file__).parent / f"test_{name}.py").is_file() for name in scripts - set(SMALL))


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_benchmark_runs(name: str, root: Path, shared: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", f"benchmarks.{name}", *SMALL[name], "--out", str(tmp_path)]
    env = {**os.environ, "LRFACE_CACHE": str(tmp_path / "kept")}  # nothing of an earlier run, and none of the user's
    if SMALL[name] is TRAINED:
        digits = write_digits(tmp_path / "digits", 300)
        command += ["--images", f"digits={digits}", "--cache", str(tmp_path / "cache")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "| --- |" in done.stdout
    result = json.loads((tmp_path / f"{name}.json").read_text())
    assert result["rows"]
    assert result["command"].startswith(f"python -m benchmarks.{name} ")
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


def test_readme_and_docs_say_what_the_results_say(root: Path) -> None:
    from benchmarks.lib.results import RESULTS
    from benchmarks.publish.readme import filled

    for path, contents in filled(root / "README.md", root / "docs", RESULTS).items():
        written = path.read_bytes() if isinstance(contents, bytes) else path.read_text()
        assert contents == written, f"{path}: run python -m benchmarks.publish.readme"


def test_cards_say_what_the_results_say(root: Path) -> None:
    from benchmarks.lib.results import RESULTS
    from benchmarks.publish.cards import filled

    cards = filled(root / "models", RESULTS)
    assert {path.stem for path in cards} == {path.stem for path in (root / "models").glob("*.md")}
    for path, text in cards.items():
        assert text == path.read_text(), "run python -m benchmarks.publish.cards"
        assert "| --- |" in text, f"nothing was measured with the file of {path}"


def test_a_card_has_no_figures_of_another_file(root: Path, tmp_path: Path) -> None:
    from benchmarks.lib.results import RESULTS
    from benchmarks.publish.cards import filled

    shutil.copytree(root / "models", tmp_path / "models")
    for manifest in (tmp_path / "models" / "manifest.json", tmp_path / "models" / "float32" / "manifest.json"):
        listed = json.loads(manifest.read_text())
        for entry in listed["models"]:
            entry["sha256"] = "0" * 64
        manifest.write_text(json.dumps(listed))
    for text in filled(tmp_path / "models", RESULTS).values():
        assert "benchmarks/publish/cards.py -->\n<!-- end of figures -->" in text
