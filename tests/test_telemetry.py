"""Nothing leaves the machine: onnxruntime's telemetry is off before it is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from shell import ENVIRONMENT

SESSION = """
import onnxruntime
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
"""
OURS = """
import lrface
matcher = lrface.FaceMatcher.open(":memory:")
"""
TRAINING = f"import training.embedder.teachers{SESSION}"


@pytest.mark.parametrize(
    ("code", "module"),
    [(OURS, None), (f"import lrface{SESSION}", None), (TRAINING, "torch")],
    ids=["a matcher", "a session of the user's", "training"],
)
def test_no_device_id_and_no_queue_is_left_behind(code: str, module: str | None, root: Path, tmp_path: Path) -> None:
    if module is not None:
        pytest.importorskip(module)
    environment = {name: value for name, value in ENVIRONMENT.items() if not name.startswith(("ORT_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}", str(root / "models" / "lrface-8.onnx")],
        env={**environment, "HOME": str(tmp_path)}, cwd=root, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [path for path in tmp_path.rglob("*") if "onnxruntime" in str(path) or "Microsoft" in str(path)] == []
