"""The rooms of the house have an order: a module imports its own room and those before it, also inside functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

# From the bottom up. Nothing stands behind `metrics`, so that the runtime cannot import it.
ORDER = {
    "lrface": "errors types geometry alignment inputs models detection embedding decisions gallery enrolment matcher "
    "outputs watch cli metrics",
}
MAY_USE = {"lrface": ["lrface"]}


def imported(file: Path) -> Iterator[tuple[str, str]]:
    """Package and room of everything that a file imports from this checkout; the room is "" for the package itself."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.module, f"{file}: write imports in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            package, room = [*name.split("."), ""][:2]
            if package in ("lrface", "training", "benchmarks"):
                yield package, room


@pytest.mark.parametrize("package", ORDER)
def test_rooms_import_only_those_before_them(root: Path, package: str) -> None:
    order = ORDER[package].split()
    files = [file for file in (root / package).rglob("*.py") if file.parent != root / package or file.stem in order]
    rooms = {file: file.relative_to(root / package).parts[0].removesuffix(".py") for file in files}
    assert set(rooms.values()) == set(order)
    for file, room in rooms.items():
        for other, used in imported(file):
            assert other in MAY_USE[package], f"{file} imports {other}"
            if other == package and used not in ("", "__version__"):
                assert order.index(used) <= order.index(room), f"{file} imports {package}.{used}"
