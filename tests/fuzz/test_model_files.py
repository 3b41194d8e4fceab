"""Damaged and hostile manifests and calibrations: each is read, or refused at once with an LrfaceError.

`LRFACE_FUZZ_CASES=10000 pytest tests/fuzz/test_model_files.py --timeout 0` runs more cases than the 200 of every run.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from mutations import mutated
from tiny_models import write_models

from lrface.decisions.calibration import Calibration
from lrface.errors import LrfaceError
from lrface.models.manifest import Manifest

CASES = int(os.environ.get("LRFACE_FUZZ_CASES", "200"))


@pytest.mark.parametrize("name", ["manifest.json", "calibration.json"])
def test_damaged_files(name: str, tmp_path: Path) -> None:
    folder = write_models(tmp_path / "models")
    text, rng, ends = (folder / name).read_text(), random.Random(0), Counter[str]()
    for case in range(CASES):
        (folder / name).write_bytes(mutated(text, rng))
        started = time.process_time()
        try:
            manifest = Manifest.load(folder)
            if name == "calibration.json":
                Calibration.of(manifest)
            ends["read"] += 1
        except LrfaceError:
            ends["refused"] += 1
        assert time.process_time() - started < 2, case
    assert ends["refused"] > CASES // 4
