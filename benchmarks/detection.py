"""Detectors side by side: AP by face height on WIDER FACE pictures, speed on one thread, alarms where no face is.

    python -m benchmarks.detection --data ../shared/data

prints a table and writes ``benchmarks/results/detection.json``.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from tqdm import tqdm

from lrface.detection import FaceDetector, open_detector
from lrface.metrics.average_precision import PictureResult, average_precision
from lrface.models import Manifest
from lrface.types import ImageArray

LONG_SIDE = 640
LEAST = 0.02  # score from which candidates count for AP
HEIGHTS = {"8-16": (8.0, 16.0), "16-32": (16.0, 32.0), "32-64": (32.0, 64.0), ">64": (64.0, np.inf)}
PEERS = ("yunet_n_dynamic", "yunet_s_dynamic", "scrfd_500m")
USUAL = {"yunet_n_dynamic": 0.65, "yunet_s_dynamic": 0.65, "scrfd_500m": 0.4}


def pictures(folder: Path, limit: int | None) -> list[tuple[ImageArray, np.ndarray, np.ndarray]]:
    """WIDER FACE pictures with their original aspect and a long side of 640 px, boxes [n, 4] likewise, invalid [n]."""
    truth = json.loads((folder / "gt.json").read_text())
    found = []
    for name, entry in list(truth.items())[:limit]:
        image = cv2.imread(str(folder / "images" / name))
        width, height = entry["orig_wh"]
        scale = LONG_SIDE / max(width, height)
        image = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_LINEAR)
        boxes = np.array(entry["boxes_xywh_orig"], np.float32).reshape(-1, 4) * scale
        boxes[:, 2:] += boxes[:, :2]
        found.append((image, boxes, np.array(entry["invalid"], bool)))
    return found


def precision(detector: FaceDetector, data: list[tuple[ImageArray, np.ndarray, np.ndarray]], name: str) -> dict[str, float]:
    """AP at IoU 0.5 by face height in pixels of the 640-px picture."""
    results = []
    for image, boxes, invalid in tqdm(data, desc=name, unit="picture", leave=False):
        found = detector.detect(image)
        results.append(PictureResult(found.boxes, found.scores, boxes, invalid))
    return {label: round(average_precision(results, limits), 4) for label, limits in HEIGHTS.items()}
