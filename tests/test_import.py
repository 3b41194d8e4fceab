"""Invariant 1: no torch, no network, no file access at import; and importing is quick."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lrface

WATCHED = """
import sys, time
seen = []
def hook(event, args):
    if event.startswith(("socket.", "subprocess.", "urllib.")) or event in ("os.system", "os.mkdir", "os.remove"):
        seen.append((event, str(args)))
    if event == "open" and not str(args[0]).endswith((".py", ".pyc")):
        seen.append((event, str(args[0])))
sys.addaudithook(hook)
start = time.process_time()  # of this process alone: other work on the machine does not count
import lrface
took = time.process_time() - start
dir(lrface)
print(took)
print(sorted({"torch", "numpy", "cv2", "onnxruntime", "faiss", "PIL", "click", "tqdm", "sqlite3"} & set(sys.modules)))
print(seen)
"""


def fresh(code: str, root: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_importing_lrface_is_quick_and_touches_nothing(root: Path) -> None:
    runs = [fresh(WATCHED, root) for _ in range(3)]
    assert min(float(took) for took, _, _ in runs) < 0.5
    assert {loaded for _, loaded, _ in runs} == {"[]"}
    assert {seen for _, _, seen in runs} == {"[]"}


def test_nothing_in_lrface_names_torch(root: Path) -> None:
    files = list((root / "lrface").rglob("*.py"))
    assert len(files) > 10
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            bad = [n for n in names if n.split(".")[0] in ("torch", "torchvision", "onnx", "training", "pickle")]
            assert not bad, f"{file} imports {bad}"


def test_no_module_of_lrface_loads_torch(root: Path) -> None:
    code = """
import importlib, pkgutil, sys
import lrface
for module in pkgutil.walk_packages(lrface.__path__, "lrface."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(len([m for m in sys.modules if m.startswith("lrface")]) > 10, "torch" in sys.modules)
"""
    assert fresh(code, root) == ["True False"]


@pytest.mark.parametrize("name", lrface.__all__)
def test_every_exported_name_is_there(name: str) -> None:
    assert getattr(lrface, name) is not None
    assert name in dir(lrface)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Recogniser'"):
        _ = lrface.Recogniser  # type: ignore[attr-defined]


def test_watch_is_the_function_whatever_is_imported_first(root: Path) -> None:
    """A module of the same name would take the function's place."""
    modules = {path.stem for path in (root / "lrface").iterdir()}
    assert not modules & set(lrface.__all__)
    assert fresh("import lrface, lrface.cli.identifying, lrface.watching; print(callable(lrface.watch))", root) == [
        "True"
    ]
