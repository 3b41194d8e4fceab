"""A models folder, a detector and people that need no weights and no photo: for tests of the runtime's core.

The embedders are one random projection of the face at 8x8 pixels, so that all share a space; a "person" is a coarse
random pattern in the frame of the ArcFace template, and the detector reads where the patterns were pasted from the
picture's first row of pixels.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lrface.alignment import TEMPLATE
from lrface.decisions.curves import OWN_SHARES
from lrface.matcher import FaceMatcher
from lrface.types import Detections

DIM = 128
MAGIC = 77


def embedder_bytes(level: int, seed: int = 0, dim: int = DIM, quality: bool = False) -> bytes:
    """With `quality`, a second output: the face's contrast (four times the standard deviation of the input)."""
    weights = np.random.default_rng(seed).standard_normal((3 * 8 * 8, dim)).astype(np.float32)
    shrink = level // 8
    nodes = [
        helper.make_node("AveragePool", ["faces"], ["small"], kernel_shape=[shrink] * 2, strides=[shrink] * 2),
        helper.make_node("Flatten", ["small"], ["pooled"], axis=1),
        helper.make_node("Flatten", ["faces"], ["flat"], axis=1),
        helper.make_node("MatMul", ["pooled", "weights"], ["raw"]),
        helper.make_node("LpNormalization", ["raw"], ["embedding"], axis=1, p=2),
    ]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", dim])]
    if quality:
        nodes += [
            helper.make_node("ReduceMean", ["flat"], ["mean"], axes=[1], keepdims=1),
            helper.make_node("Sub", ["flat", "mean"], ["centred"]),
            helper.make_node("ReduceL2", ["centred"], ["spread"], axes=[1], keepdims=0),
            helper.make_node("Mul", ["spread", "scale"], ["quality"]),
        ]
        outputs.append(helper.make_tensor_value_info("quality", TensorProto.FLOAT, ["batch"]))
    constants = [numpy_helper.from_array(weights, "weights")]
    constants.append(numpy_helper.from_array(np.array(4 / np.sqrt(3 * level * level), np.float32), "scale"))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("faces", TensorProto.FLOAT, ["batch", 3, level, level])],
        outputs,
        constants if quality else constants[:1],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def embedder_entry(level: int, data: bytes, dim: int = DIM, quality: bool = False) -> dict[str, Any]:
    return {
        "name": f"tiny-{level}",
        "kind": "embedder",
        "level": level,
        "file": f"tiny-{level}.onnx",
        "sha256": hashlib.sha256(data).hexdigest(),
        "license": "Apache-2.0",
        "card": f"tiny-{level}.md",
        "template": "arcface-112",
        "space": "tiny",
        "input": {
            "name": "faces",
            "height": level,
            "width": level,
            "channels": "RGB",
            "mean": 127.5,
            "scale": 0.0078125,
        },
        "output": {"name": "embedding", "dim": dim, "normalized": True, **({"quality": "quality"} if quality else {})},
    }


def write_models(
    folder: Path, levels: tuple[int, ...] = (16, 32), seed: int = 0, gate: float | None = None, tracks: bool = False
) -> Path:
    """Writes manifest.json, embedders and calibration.json.

    With a `gate`, models that give a quality; with `tracks`, thresholds for tracks of any number of views.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for level in levels:
        data = embedder_bytes(level, seed, quality=gate is not None)
        (folder / f"tiny-{level}.onnx").write_bytes(data)
        entries.append(embedder_entry(level, data, quality=gate is not None))
    made = calibration(entries)
    if gate is not None:
        for band in made["probes"]:
            band["min_quality"] = gate
    if tracks:
        made["tracks"] = [
            {**band, "same_person": 0.0, "repeats": 3.0, "between": band["curves"][:1]} for band in made["probes"]
        ]
    (folder / "manifest.json").write_text(json.dumps({"schema": 1, "models": entries}))
    (folder / "calibration.json").write_text(json.dumps(made))
    return folder


def calibration(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "schema": 3,
        "space": "tiny",
        "people": 100,
        "models": {entry["name"]: entry["sha256"] for entry in entries},
        "enrolment": max(entries, key=lambda entry: entry["level"])["name"],
        "impostor_mean": 0.0,
        "alignment_penalty": {"usual_error": 0.05, "rate": 6.0},
        "probes": [
            {
                "network": entry["name"],
                "widths": [0, None],
                "min_quality": None,
                "curves": [
                    {
                        "photos": photos,
                        "comparisons": 1_000_000,
                        "fmr": [0.1, 0.01, 0.001, 0.0001, 0.00001],
                        "similarity": [0.3, 0.45, 0.55, 0.6, 0.64],
                        "tail": {"scale": 0.02, "shape": 0.0},
                        # a share s of a person's own faces is less like the template than s
                        "own": {"comparisons": 1000, "similarity": list(OWN_SHARES)},
                    }
                    for photos in (1, 5)
                ],
            }
            for entry in entries
        ],
    }


def face(name: str, photo: int = 0) -> np.ndarray:
    """A "face", uint8 [112, 112, 3]: the person's coarse pattern, and the photo's own changes of it and noise."""
    pattern = np.random.default_rng(zlib.crc32(name.encode())).integers(0, 256, (6, 6, 3)).astype(np.float32)
    if photo:  # else all photos of a person would be copies of one
        pattern += np.random.default_rng([photo, zlib.crc32(name.encode())]).normal(0, 45, pattern.shape)
    noise = np.random.default_rng([zlib.crc32(name.encode()), photo]).normal(0, 8, (112, 112, 3))
    large = cv2.resize(pattern, (112, 112), interpolation=cv2.INTER_CUBIC)
    return np.clip(large + noise, 0, 255).astype(np.uint8)


def scene(*faces: tuple[str, int, int, int], photo: int = 0, size: tuple[int, int] = (240, 320)) -> np.ndarray:
    """A grey BGR picture with faces (name, x, y, width) pasted in, x, y, width in multiples of two."""
    picture = np.full((*size, 3), 128, np.uint8)
    picture[0, 0] = (MAGIC, len(faces), MAGIC)
    for i, (name, x, y, width) in enumerate(faces):
        small = cv2.resize(face(name, photo), (width, width), interpolation=cv2.INTER_AREA)
        picture[y : y + width, x : x + width] = small
        picture[0, 1 + i] = (x // 2, y // 2, width // 2)
    return picture


def portrait(name: str, photo: int = 0, width: int = 112) -> np.ndarray:
    return scene((name, 20, 20, width), photo=photo)


def png(picture: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", picture)[1])


def write_people(folder: Path, people: dict[str, int]) -> Path:
    """people/<name>/<photo>.png"""
    for name, photos in people.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for photo in range(photos):
            (folder / name / f"{photo}.png").write_bytes(png(portrait(name, photo)))
    return folder


class TinyDetector:
    """Finds what `scene` pasted."""

    def detect(self, image: np.ndarray) -> Detections:
        if not (image[0, 0, 0] == image[0, 0, 2] == MAGIC):
            return Detections.empty()
        boxes = []
        for i in range(int(image[0, 0, 1])):
            x, y, width = (2.0 * int(v) for v in image[0, 1 + i])
            boxes.append([x, y, x + width, y + width])
        corners = np.array(boxes, np.float32).reshape(-1, 4)
        widths = (corners[:, 2] - corners[:, 0])[:, None, None]
        # pixel centres: resizing maps the crop's u to (u + 0.5) * width / 112 - 0.5
        landmarks = (TEMPLATE[None] + 0.5) * widths / 112 - 0.5 + corners[:, None, :2]
        return Detections.from_arrays(corners, np.linspace(0.9, 0.8, len(boxes)), landmarks)


def open_matcher(gallery: str | Path, models: Path, **options: Any) -> FaceMatcher:
    return FaceMatcher.open(gallery, models=models, detector=TinyDetector(), **options)


def external_data_model(folder: Path) -> Path:
    """An ONNX file that keeps its weights in another one."""
    model = onnx.load_from_string(embedder_bytes(16))
    path = folder / "external.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path
