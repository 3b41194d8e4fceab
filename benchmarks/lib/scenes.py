"""The scenes that the detector's training does not see."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np

from lrface.types import ImageArray
from training.detector.scenes import held_out, is_empty_set


def held_out_scenes(folder: Path, empty: bool = False) -> list[ImageArray]:
    """The scenes that the detector's training does not see, uint8 [h, w, 3]; on request only those without people."""
    peopled = {line.partition(",")[0] for line in (folder / "boxes.csv").read_text().splitlines()}
    with zipfile.ZipFile(folder / "scenes.zip") as pack:
        names = [name for name in sorted(pack.namelist()) if name.endswith(".webp") and held_out(name)]
        return [
            np.asarray(cv2.imdecode(np.frombuffer(pack.read(name), np.uint8), cv2.IMREAD_COLOR), np.uint8)
            for name in names
            if not empty or (is_empty_set(name) and name not in peopled)
        ]
