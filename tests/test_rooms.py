"""Rooms have an order: a module imports from its own room and from those before it, also inside functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

# Package -> the packages that it may import, and its rooms from the bottom up. (`lrface.metrics` comes last, so that no
# room of the runtime may import it. The scripts of benchmarks count as one room.)
HOUSE = {
    "lrface": (
        ["lrface"],
        "redaction errors types geometry alignment inputs models detection embedding decisions gallery enrolment "
        "verification matcher tracks measuring outputs watching cameras serve cli metrics",
    ),
    "training": (["lrface", "training"], "common recipe data losses embedder detector landmarks sweeps cli"),
    "benchmarks": (["lrface", "training", "benchmarks"], "lib scripts publish"),
}


def modules(root: Path, package: str) -> dict[str, Path]:
    """The modules of a package by their dotted names, without its own ``__init__`` and ``__main__``."""
    files = {file.relative_to(root).with_suffix(""): file for file in (root / package).rglob("*.py")}
    named = {".".join(path.parts).removesuffix(".__init__"): file for path, file in files.items()}
    return {name: file for name, file in named.items() if name not in (package, f"{package}.__main__")}


def imported(file: Path) -> Iterator[str]:
    """Dotted names of all that a file imports from this checkout."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.module, f"{file}: write imports in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name for name in names if name.split(".")[0] in HOUSE and name != "lrface.__version__")


@pytest.mark.parametrize("package", HOUSE)
def test_rooms_import_only_those_before_them(root: Path, package: str) -> None:
    may_import, order = HOUSE[package][0], HOUSE[package][1].split()

    def room(name: str) -> str:
        given = name.split(".")[1]
        return "scripts" if package == "benchmarks" and given not in order else given

    found = modules(root, package)
    assert {room(name) for name in found} == set(order)
    for name, file in found.items():
        for used in imported(file):
            assert used.split(".")[0] in may_import, f"{name} imports {used}"
            if used.startswith(f"{package}."):
                assert order.index(room(used)) <= order.index(room(name)), f"{name} imports {used}"


@pytest.mark.parametrize("package", HOUSE)
def test_no_modules_import_each_other(root: Path, package: str) -> None:
    found = modules(root, package)
    graph = {
        name: {used if used in found else used.rpartition(".")[0] for used in imported(file)}
        for name, file in found.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle
