"""The real command line, as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HELPERS = Path(__file__).resolve().parent
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join((str(ROOT), str(HELPERS), os.environ.get("PYTHONPATH", ""))),
    "PYTHONIOENCODING": "utf-8",
}


def lrface(*arguments: object, before: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lrface", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=180,
        env=ENVIRONMENT,
        preexec_fn=before,
    )


_MEASURED = """import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)"""


def lrface_with_peak(*arguments: object) -> tuple[subprocess.CompletedProcess[str], float]:
    """The same, and its peak memory in MiB; by way of a small process, as a child inherits the peak of its parent."""
    command = [sys.executable, "-c", _MEASURED, sys.executable, "-m", "lrface", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=180, env=ENVIRONMENT)
    done.stderr, _, peak = done.stderr.rstrip().rpartition("\n")
    return done, int(peak) / 1024


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 1, a clear last line on stderr with all the words, and no traceback."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("lrface: "), done.stderr
    for word in words:
        assert word in done.stderr, (word, done.stderr)


def start(*arguments: object, ignored: int | None = None) -> subprocess.Popen[str]:
    """Starts `lrface`; `ignored` is a signal that it ignores from the beginning."""
    return subprocess.Popen(
        [sys.executable, "-m", "lrface", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        preexec_fn=None if ignored is None else lambda: signal.signal(ignored, signal.SIG_IGN),
    )  # fmt: skip


def wait_for_bytes(path: Path, size: int) -> None:
    """Waits until a file has grown to a size."""
    for _ in range(1200):
        if path.exists() and path.stat().st_size >= size:
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} did not grow to {size} bytes in a minute")
