"""What every benchmark shares: where the test data lies, and JSON results that say how they came about."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lrface
from benchmarks.lib.plots import draw_plot
from lrface.models.manifest import ModelEntry

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
SHARED = ROOT.parent / "shared" / "data"


def machine() -> dict[str, Any]:
    """Processor, Python and the versions that decide speed and results."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line), cpu)
    packages = {"lrface": lrface.__version__}
    for name in ("numpy", "opencv-python-headless", "onnxruntime-gpu", "onnxruntime", "faiss-cpu"):
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"cpu": cpu, "python": platform.python_version(), "packages": packages}


def command() -> str:
    """The command line, as one may type it in the checkout; folders outside of it are `/path/to/<name>`."""
    script = Path(sys.argv[0]).resolve()
    if script.is_relative_to(ROOT / "benchmarks"):
        module = ".".join(script.relative_to(ROOT).with_suffix("").parts)
        return " ".join(["python -m", module, *map(_without_machine, sys.argv[1:])])
    return " ".join(["python", *map(_without_machine, sys.argv)])


def _without_machine(argument: str) -> str:
    """An absolute path, also one after ``NAME=``, without the folders of this machine.

    It becomes relative to the checkout, or keeps its last name only.
    """
    option, equals, value = ("", "", argument) if argument.startswith("/") else argument.partition("=")
    path = Path(value)
    if not path.is_absolute():
        return argument
    inside = path.is_relative_to(ROOT)
    return f"{option}{equals}{path.relative_to(ROOT) if inside else Path('/path/to') / path.name}"


def write_result(name: str, result: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Write ``<folder>/<name>.json`` with the command line and the machine beside the result, and draw its plots.

    Args:
        name: of the benchmark.
        result: ``protocol``, ``rows``, ``models`` (SHA-256 by name), ``seed`` or ``seeds`` where chance plays a part,
            and ``plots``, a list of ``benchmarks.lib.plots.plot`` entries, drawn to ``<folder>/<name>-<plot>.svg``.
        folder: where to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"command": command(), "machine": machine(), **result}, indent=1) + "\n")
    for entry in result.get("plots", []):
        draw_plot(entry, folder / f"{name}-{entry['name']}.svg")
    return path


def hashes(entries: Iterable[ModelEntry]) -> dict[str, str]:
    """The SHA-256 of models by their names, for ``models`` of a result."""
    return {entry.name: entry.sha256 for entry in entries}


def read_result(name: str, folder: Path = RESULTS) -> dict[str, Any]:
    """What ``write_result`` wrote; {} if it did not."""
    path = folder / f"{name}.json"
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def between(file: Path, begin: str, end: str, text: str) -> str:
    """A file's text with other lines between two marking ones.

    Raises:
        SystemExit: it has no such section.
    """
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(whole := file.read_text()):
        raise SystemExit(f"{file} has no section between {begin!r} and {end!r}")
    return pattern.sub(lambda _: "\n".join([begin, *([text] if text else []), end]), whole)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
