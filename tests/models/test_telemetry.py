"""Nothing leaves the machine: telemetry of onnxruntime and OpenVINO is off, whoever of this checkout imports them."""

from __future__ import annotations

import ast
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from network_watch import isolated, outside, wanted, without_route

EMBED = """
import numpy as np, os, time
from lrface.embedding.embedders import open_embedders
from lrface.models.manifest import Manifest
for embedder in open_embedders(Manifest.load(), DEVICE).values():
    embedder.embed(np.full((1, 112, 112, 3), 127, np.uint8))
time.sleep(1)  # telemetry has its own thread
files = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")]
print("sockets", [file for file in files if file.startswith("socket:")])
"""


def run(code: str, home: Path, root: Path, *before: str) -> subprocess.CompletedProcess[str]:
    home.mkdir(exist_ok=True)
    # OpenVINO's telemetry is off where a variable says that this is CI: the test must find it on
    left_out = ("ORT_", "XDG_", "CI", "TF_BUILD", "JENKINS_URL")
    env = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    env |= {"HOME": str(home), "PYTHONPATH": str(root)}
    return subprocess.run(
        [*before, sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120, cwd=root
    )


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_embedding_leaves_no_file_at_home_and_opens_no_socket(device: str, tmp_path: Path, root: Path) -> None:
    trace, home = tmp_path / "trace", tmp_path / "home"
    strace = ["strace", "-f", "-e", "trace=socket,connect,sendto", "-o", str(trace)] if shutil.which("strace") else []
    done = run(EMBED.replace("DEVICE", repr(device)), home, root, *strace)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "sockets []\n"
    assert list(home.rglob("*")) == []
    assert not trace.exists() or "AF_INET" not in trace.read_text()


@pytest.mark.parametrize("package", ["training", "benchmarks"])
def test_the_other_packages_switch_it_off_when_they_are_imported(package: str, tmp_path: Path, root: Path) -> None:
    done = run(f"import {package}, onnxruntime; onnxruntime.get_available_providers()", tmp_path / "home", root)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "home").rglob("*")) == []


@pytest.mark.parametrize(
    ("package", "folders", "only"),
    [
        ("onnxruntime", ["lrface"], {"lrface/models/runtime.py"}),
        ("openvino", ["lrface", "training", "benchmarks"], set()),
    ],
)
def test_they_are_imported_in_one_place(package: str, folders: list[str], only: set[str], root: Path) -> None:
    """OpenVINO by `import_openvino` alone, which is no import statement."""
    found = set()
    for file in (file for folder in folders for file in (root / folder).rglob("*.py")):
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
            if id(node) not in typing_only and any(name.split(".")[0] == package for name in names):
                found.add(file.relative_to(root).as_posix())
    assert found == only


def test_doctor_says_if_the_app_came_first(tmp_path: Path, root: Path) -> None:
    code = "{}from lrface.cli.doctor import check_telemetry; print(*check_telemetry())"
    late = run(code.format("import onnxruntime; "), tmp_path / "home", root).stdout
    assert "PROBLEM" in late
    assert "ORT_DISABLE_TELEMETRY=1" in late
    assert run(code.format(""), tmp_path / "home", root).stdout.count("ok") == 2
    late = run(code.format("import openvino_telemetry; "), tmp_path / "home", root).stdout
    assert "PROBLEM  telemetry: the app imported OpenVINO" in late


def test_openvino_is_imported_without_its_telemetry(tmp_path: Path, root: Path) -> None:
    code = """
import sys
from lrface.models.runtime import import_openvino
import_openvino().Core()
stand_in = [name for name in sys.modules if "telemetry_stub" in name]
print(sys.modules["openvino_telemetry"], stand_in, "torch" in sys.modules)
"""
    done = run(code, tmp_path / "home", root)
    assert done.stdout == "None ['openvino.tools.ovc.telemetry_stub'] False\n", done.stderr
    assert list((tmp_path / "home").rglob("*")) == []


@pytest.mark.parametrize("host", ["192.0.2.1", "example.invalid"])
def test_these_tests_cannot_leave_the_machine(host: str) -> None:
    with pytest.raises(OSError, match="may not leave this machine"):
        socket.create_connection((host, 9), timeout=0.1)
    assert [host in line for line in outside] == [True]
    outside.clear()  # or this test would fail, as it should


@pytest.mark.skipif(not isolated, reason="the kernel gives this run no network of its own")
@pytest.mark.parametrize("kind", ["STREAM", "DGRAM"])
def test_other_processes_of_these_tests_are_watched_too(kind: str) -> None:
    code = f"from socket import *\ntry: socket(AF_INET, SOCK_{kind}).connect(('192.0.2.1', 9))\nexcept OSError: pass"
    before = without_route()
    subprocess.run([sys.executable, "-c", code], check=True)
    wanted.append(without_route() - before)
    assert wanted == [1]
