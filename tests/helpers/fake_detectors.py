"""Detectors without a network, and portraits for those with one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from lrface.detection.decode import decode_contract
from lrface.detection.input_tensor import InputSpec
from lrface.detection.onnx_detector import OnnxDetector
from lrface.types import Detections


class Nothing:
    """A detector that finds nothing."""

    def detect(self, image: np.ndarray) -> Detections:
        return Detections.empty()


class FakeSession:
    """A graph that finds the same faces in each working picture, and remembers what it was fed."""

    def __init__(self, boxes: list[list[float]], scores: list[float]) -> None:
        self.boxes, self.scores = np.array(boxes, np.float32), np.array(scores, np.float32)
        self.fed: list[np.ndarray] = []

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="image", shape=["batch", 3, "h", "w"])]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name=name) for name in ("boxes", "scores", "landmarks")]

    def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.fed.append(feed["image"])
        middle = (self.boxes[:, None, :2] + self.boxes[:, None, 2:]) / 2
        outputs = (self.boxes, self.scores, np.repeat(middle, 5, axis=1))
        return [np.repeat(output[None], len(feed["image"]), axis=0) for output in outputs]


def fake(boxes: list[list[float]], scores: list[float], spec: InputSpec | None = None, **options: Any) -> OnnxDetector:
    decode = decode_contract("boxes", "scores", "landmarks")
    return OnnxDetector(FakeSession(boxes, scores), decode, spec or InputSpec(), 0.5, **options)


def portraits() -> dict[str, tuple[np.ndarray, tuple[float, float, float, float]]]:
    """Public-domain portraits out of packages of the demo extra, with where their one face is."""
    data = pytest.importorskip("skimage.data")
    cbook = pytest.importorskip("matplotlib.cbook")
    astronaut = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    hopper = cv2.imread(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    return {"astronaut": (astronaut, (174, 68, 272, 196)), "hopper": (hopper, (180, 90, 340, 280))}
