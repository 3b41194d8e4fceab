"""Nothing leaves the machine: onnxruntime's telemetry is off, whoever of this checkout imports it."""

from __future__ import annotations

import ast
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from network_watch import outside

EMBED = """
import numpy as np, os, time
from lrface.embedding.embedders import open_embedders
from lrface.models.manifest import Manifest
for embedder in open_embedders(Manifest.load()).values():
    embedder.embed(np.full((1, 112, 112, 3), 127, np.uint8))
time.sleep(1)  # telemetry has its own thread
files = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")]
print("sockets", [file for file in files if file.startswith("socket:")])
"""


def run(code: str, home: Path, root: Path, *before: str) -> subprocess.CompletedProcess[str]:
    home.mkdir(exist_ok=True)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    env |= {"HOME": str(home), "PYTHONPATH": str(root)}
    return subprocess.run(
        [*before, sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120, cwd=root
    )


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_embedding_leaves_no_file_at_home_and_opens_no_socket(tmp_path: Path, root: Path) -> None:
    trace, home = tmp_path / "trace", tmp_path / "home"
    strace = ["strace", "-f", "-e", "trace=socket,connect,sendto", "-o", str(trace)] if shutil.which("strace") else []
    done = run(EMBED, home, root, *strace)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "sockets []\n"
    assert list(home.rglob("*")) == []
    assert not trace.exists() or "AF_INET" not in trace.read_text()


@pytest.mark.parametrize("package", ["training", "benchmarks"])
def test_the_other_packages_switch_it_off_when_they_are_imported(package: str, tmp_path: Path, root: Path) -> None:
    done = run(f"import {package}, onnxruntime; onnxruntime.get_available_providers()", tmp_path / "home", root)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "home").rglob("*")) == []


def test_lrface_imports_onnxruntime_in_one_place(root: Path) -> None:
    found = set()
    for file in (root / "lrface").rglob("*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        typing_only = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in node.body
        }
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if id(node) not in typing_only and any(name.split(".")[0] == "onnxruntime" for name in names):
                found.add(file.relative_to(root).as_posix())
    assert found == {"lrface/models/runtime.py"}


def test_doctor_says_if_the_app_came_first(tmp_path: Path, root: Path) -> None:
    code = "{}from lrface.cli.doctor import check_telemetry; print(*check_telemetry())"
    late = run(code.format("import onnxruntime; "), tmp_path / "home", root).stdout
    assert "PROBLEM" in late
    assert "ORT_DISABLE_TELEMETRY=1" in late
    assert run(code.format(""), tmp_path / "home", root).stdout.startswith("ok")


@pytest.mark.parametrize("host", ["192.0.2.1", "example.invalid"])
def test_these_tests_cannot_leave_the_machine(host: str) -> None:
    with pytest.raises(OSError, match="may not leave this machine"):
        socket.create_connection((host, 9), timeout=0.1)
    assert [host in line for line in outside] == [True]
    outside.clear()  # or this test would fail, as it should
