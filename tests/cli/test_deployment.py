"""The Dockerfile and the systemd unit name files and options that exist; where there is a linter, it finds no fault."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
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
    assert {"serve", "milvus", "encrypted"} <= set(extras[1].split(","))  # whatever `--gallery` may name
    known = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert set(extras[1].split(",")) <= set(known)


def test_the_dockerfile_has_no_fault_that_hadolint_finds(root: Path) -> None:
    hadolint = shutil.which("hadolint", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    if hadolint is None:
        pytest.skip("needs hadolint")
    done = subprocess.run([hadolint, str(root / "deploy" / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_it_runs_as_the_container_does(root: Path, tmp_path: Path) -> None:
    """As an ordinary user, with a file system that cannot be written but for /data and /tmp; then its health check."""
    bwrap = shutil.which("bwrap")
    lines = (root / "deploy" / "Dockerfile").read_text("utf-8").splitlines()
    (health,), (command,) = ([line for line in lines if line.startswith(kind)] for kind in ("HEALTHCHECK", "CMD ["))
    data, empty = tmp_path / "data", tmp_path / "empty"
    data.mkdir()
    empty.mkdir()
    (data / "cameras.toml").write_text('[[cameras]]\nname = "door"\nsource = "no such clip.avi"\n')
    pem = ["-keyout", str(data / "key.pem"), "-out", str(data / "cert.pem"), "-subj", "/CN=localhost"]
    certificate = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *pem]
    contained = [
        str(bwrap), "--unshare-user", "--uid", "10001", "--gid", "10001", "--unshare-pid", "--cap-drop", "ALL",
        "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--bind", str(data), str(data),
        "--bind", str(empty), "/var/tmp", "--chdir", str(data), "--clearenv", "--setenv", "PYTHONPATH", str(root),
        "--setenv", "TMPDIR", "/var/tmp", "--setenv", "PYTHONUNBUFFERED", "1", sys.executable,
    ]  # fmt: skip
    if bwrap is None or subprocess.run([*contained, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip("needs bubblewrap, and the right to use it: apt-get install bubblewrap")
    subprocess.run(certificate, capture_output=True, check=True)
    refused = subprocess.run([*contained, "-c", "open('../x', 'w')"], capture_output=True, text=True, check=False)
    assert "Read-only file system" in refused.stderr
    # another port: the usual one may be in use here
    words = [*json.loads(command[4:]), "--port", "0"]
    with (tmp_path / "log.txt").open("w") as log:
        service = subprocess.Popen([*contained, "-m", "lrface", "serve", *words], stdout=log, stderr=log)
    try:
        end = time.monotonic() + 120
        while not (found := re.search(r"lrface: https://0\.0\.0\.0:(\d+)", (tmp_path / "log.txt").read_text())):
            assert service.poll() is None, (tmp_path / "log.txt").read_text()
            assert time.monotonic() < end
            time.sleep(0.1)
        check = json.loads(health[health.index("[") :])
        assert check[:2] == ["python", "-c"]
        text = check[2].replace(":8480/", f":{found[1]}/")
        done = subprocess.run([*contained, "-c", text], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert subprocess.run([*contained, "-c", check[2].replace(":8480/", ":9/")], check=False,
                              capture_output=True).returncode  # fmt: skip
    finally:
        service.terminate()
        service.wait(60)


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
