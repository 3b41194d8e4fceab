"""The Dockerfile and the systemd unit name files and options that exist; where there is a linter, it finds no fault."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lrface.cli.serving import serve

OPTIONS = {option for parameter in serve.params for option in parameter.opts}


def options_of(words: list[str]) -> set[str]:
    return {word for word in words if word.startswith("--")}


def test_the_dockerfile_copies_what_is_there_and_starts_the_service(root: Path) -> None:
    lines = (root / "deploy" / "Dockerfile").read_text("utf-8").replace("\\\n", " ").splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    assert copied
    missing = [name for names in copied for name in names if not (root / name).exists()]
    assert missing == []
    entry, command = (
        json.loads(next(line for line in lines if line.startswith(f"{kind} ["))[len(kind) :])
        for kind in ("ENTRYPOINT", "CMD")
    )
    assert entry == ["lrface", "serve"]
    assert options_of(command) <= OPTIONS
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users[-1:] == ["10001"], "the service must not run as root"
    extras = re.search(r'"\.\[([\w,]+)\]"', "\n".join(lines))
    assert extras
    assert "serve" in extras[1].split(",")


def test_the_dockerfile_has_no_fault_that_hadolint_finds(root: Path) -> None:
    hadolint = shutil.which("hadolint", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    if hadolint is None:
        pytest.skip("needs hadolint")
    done = subprocess.run([hadolint, str(root / "deploy" / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_unit_starts_the_service_and_systemd_understands_it(root: Path, tmp_path: Path) -> None:
    text = (root / "deploy" / "lrface.service").read_text("utf-8")
    command = next(line for line in text.splitlines() if line.startswith("ExecStart=")).split()
    assert command[:2] == ["ExecStart=/opt/lrface/bin/lrface", "serve"]
    assert options_of(command) <= OPTIONS
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze for the rest")
    unit = tmp_path / "lrface.service"
    unit.write_text(re.sub(r"^ExecStart=.*$", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "lrface.service" in line]
    assert said == []
