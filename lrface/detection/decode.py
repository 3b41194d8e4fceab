"""From the raw outputs of three families of detectors to boxes, scores and landmarks in input pixels, before NMS."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from lrface.errors import ModelError
from lrface.types import Array, FloatArray

STRIDES = (8, 16, 32)

Decoded: TypeAlias = tuple[FloatArray, FloatArray, FloatArray]
"""Boxes float32 [n, 4] (x1, y1, x2, y2), scores float32 [n] (0..1), landmarks float32 [n, 5, 2]; input pixels."""

Decoder: TypeAlias = Callable[[Mapping[str, Array], int, int], Decoded]
"""From a session's outputs for one picture, by name, and the input's height and width in pixels.

Raises ModelError where the outputs do not have the shapes of the family.
"""


def grid(height: int, width: int, stride: int, repeat: int = 1) -> FloatArray:
    """The upper left corners of a grid's cells, row by row.

    Returns:
        float32 [height / stride * width / stride * repeat, 2], x, y in pixels; each cell `repeat` times in a row.
    """
    ys, xs = np.mgrid[0 : height // stride, 0 : width // stride]
    corners = np.stack([xs, ys], axis=-1).reshape(-1, 2) * stride
    return np.repeat(corners, repeat, axis=0).astype(np.float32)


def decode_yunet(outputs: Mapping[str, Array], height: int, width: int) -> Decoded:
    """YuNet (libfacedetection): outputs cls_s, obj_s, bbox_s, kps_s for s = 8, 16, 32; score = sqrt(cls * obj)."""
    boxes, scores, landmarks = [], [], []
    for stride in STRIDES:
        corner = grid(height, width, stride)
        cls, obj, box, points = (
            _shaped(outputs[f"{name}_{stride}"], f"{name}_{stride}", len(corner), *shape)
            for name, shape in (("cls", ()), ("obj", ()), ("bbox", (4,)), ("kps", (5, 2)))
        )
        score, box, points = cls * obj, box * np.float32(stride), points * np.float32(stride)
        centre = corner + box[:, :2]
        half = np.exp(np.minimum(box[:, 2:] / stride, 8.0)) * (stride / 2)
        boxes.append(np.concatenate([centre - half, centre + half], axis=1))
        scores.append(np.sqrt(np.clip(score, 0.0, 1.0)))
        landmarks.append(corner[:, None] + points)
    return _joined(boxes, scores, landmarks)


def decode_scrfd(outputs: Mapping[str, Array], height: int, width: int) -> Decoded:
    """SCRFD with landmarks (InsightFace): per stride [n, 1] scores, [n, 4] distances, [n, 10] landmarks.

    The outputs have arbitrary names: they are told apart by their last axis, the strides by their length.
    """
    by_width: dict[int, list[Array]] = {1: [], 4: [], 10: []}
    for value in outputs.values():
        by_width.setdefault(value.shape[-1], []).append(value.reshape(-1, value.shape[-1]))
    if [len(by_width[width]) for width in (1, 4, 10)] != [len(STRIDES)] * 3:
        shapes = [value.shape for value in outputs.values()]
        raise ModelError(f"the detector gave outputs {shapes}, not those of SCRFD with landmarks: use another model")
    for values in by_width.values():
        values.sort(key=len, reverse=True)
    boxes, scores, landmarks = [], [], []
    for stride, score, distance, points in zip(STRIDES, by_width[1], by_width[4], by_width[10], strict=True):
        anchors = len(score) // ((height // stride) * (width // stride))
        corner = grid(height, width, stride, anchors)
        score = _shaped(score, "score", len(corner))
        distance = _shaped(distance, "bbox", len(corner), 4) * np.float32(stride)
        points = _shaped(points, "kps", len(corner), 5, 2) * np.float32(stride)
        boxes.append(np.concatenate([corner - distance[:, :2], corner + distance[:, 2:]], axis=1))
        scores.append(score)
        landmarks.append(corner[:, None] + points)
    return _joined(boxes, scores, landmarks)


def decode_contract(boxes: str, scores: str, landmarks: str) -> Decoder:
    """The contract of `models/manifest.json`: the graph has decoded; the arguments name its outputs."""

    def decode(outputs: Mapping[str, Array], height: int, width: int) -> Decoded:
        count = outputs[scores].size
        return (
            _shaped(outputs[boxes], boxes, count, 4),
            _shaped(outputs[scores], scores, count),
            _shaped(outputs[landmarks], landmarks, count, 5, 2),
        )

    return decode


def _shaped(value: Array, name: str, *shape: int) -> Array:
    """An output in the shape that its family has; ModelError where it holds another number of values."""
    if value.size != math.prod(shape):
        raise ModelError(f"the detector's output {name} is {value.shape}, expected {shape}: use another model")
    return value.reshape(shape)


def _joined(boxes: list[Array], scores: list[Array], landmarks: list[Array]) -> Decoded:
    return (
        np.concatenate(boxes).astype(np.float32, copy=False),
        np.concatenate(scores).astype(np.float32, copy=False),
        np.concatenate(landmarks).astype(np.float32, copy=False),
    )
