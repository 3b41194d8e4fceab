"""Exports the trained detector to ONNX, decoding in the graph, checks it against torch, quantises it, enters it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch

from lrface.models.manifest import Manifest
from training.common.manifest import WEIGHTS_LICENSE, add_model, sha256
from training.common.onnx_file import strip
from training.detector.card import card
from training.detector.cells import cell_centres, decode, flatten
from training.detector.decoding import with_decoding
from training.detector.folding import folded
from training.detector.network import STRIDES, Detector
from training.detector.quantize import drawn, quantize, training_scenes, views_of
from training.detector.scenes import SceneSet
from training.detector.train import Trainer
from training.detector.validate import operating_point, predict, validate

NAME = "lrface-detector"
FLOAT32 = "float32"
"""Folder in the models' folder of what is trained further, and quantised; the runtime does not open it."""
OPSET = 18
MULTIPLE = 32
PARITY_PX = 1e-2  # of coordinates, which reach thousands of pixels
PARITY_SCORE = 1e-4
PYRAMID = {
    "largest_face": 224,
    "coarsest_side": 192,
    "early_exit": {"score": 0.02, "height": 96, "side": 1024},
}
"""See ``lrface.models.manifest.PyramidSettings``. The network sees about 300 px around a cell: of a larger face it
gives a part. The early exit misses no true face in the 2,589 training scenes and saves 44 of 100 second levels
(benchmarks/detector_pyramid.py); of a face of 1,500 px the network sees only skin, which is why it has a largest side.
"""


def to_onnx(detector: Detector, target: Path) -> dict[str, float]:
    """Write ``detector`` as ONNX with a dynamic batch, height and width.

    Returns:
        The largest differences to torch: ``pixels`` (boxes and landmarks) and ``score``, over several sizes, alone and
        in a batch.

    Raises:
        ValueError: they are too large; nothing is left at ``target``.
    """
    maps = [f"cells{stride}" for stride in STRIDES]
    temporary = target.with_suffix(".part")
    rows, columns = torch.export.Dim("rows", min=1, max=1024), torch.export.Dim("columns", min=1, max=1024)
    torch.onnx.export(
        folded(detector), (torch.zeros(2, 3, 192, 256),), str(temporary), opset_version=OPSET, dynamo=True,
        external_data=False, verbose=False, input_names=["image"], output_names=maps,
        dynamic_shapes={"image": {0: torch.export.Dim("batch"), 2: MULTIPLE * rows, 3: MULTIPLE * columns}},
    )  # fmt: skip
    onnx.save(with_decoding(onnx.load(temporary), maps), temporary)
    strip(temporary)
    session = ort.InferenceSession(temporary.read_bytes(), providers=["CPUExecutionProvider"])
    worst = {"pixels": 0.0, "score": 0.0}
    random = np.random.default_rng(0)
    for batch, height, width in ((1, 32, 32), (3, 96, 160), (1, 352, 640)):
        image = random.uniform(0, 255, (batch, 3, height, width)).astype(np.float32)
        with torch.no_grad():
            values = flatten(detector.eval()(torch.from_numpy(image)))
            boxes, logits, points = decode(values, *cell_centres(height, width))
        expected = [value.numpy() for value in (boxes, logits.sigmoid(), points)]
        together = session.run(None, {"image": image})
        alone = [
            np.concatenate(v) for v in zip(*(session.run(None, {"image": one[None]}) for one in image), strict=True)
        ]
        for found in (together, alone):
            gaps = [float(np.abs(a - b).max()) for a, b in zip(expected, found, strict=True)]
            worst = {"pixels": max(worst["pixels"], gaps[0], gaps[2]), "score": max(worst["score"], gaps[1])}
    if worst["pixels"] > PARITY_PX or worst["score"] > PARITY_SCORE:
        temporary.unlink()
        raise ValueError(f"{target.name}: ONNX differs from torch by {worst}")
    temporary.replace(target)
    return worst


def manifest_entry(digest: str, score_threshold: float) -> dict[str, Any]:
    """The detector's entry in ``models/manifest.json``."""
    return {
        "name": NAME, "kind": "detector", "file": f"{NAME}.onnx", "sha256": digest,
        "license": WEIGHTS_LICENSE, "card": f"{NAME}.md",
        "input": {"name": "image", "channels": "BGR", "mean": 0, "scale": 1, "multiple": MULTIPLE},
        "output": {"boxes": "boxes", "scores": "scores", "landmarks": "landmarks"},
        "score_threshold": score_threshold, "pyramid": PYRAMID,
    }  # fmt: skip


def export(checkpoint: Path, scenes: SceneSet, folder: Path, note: str = "") -> Path:
    """Export a checkpoint's averaged weights with manifest entry and card: int8, and float32 in ``folder/float32``.

    Args:
        checkpoint: of ``training.detector.train``.
        scenes: the threshold is chosen on its held-out part, landmarks without the teacher's bias, as in training.
        folder: the models' folder.
        note: a sentence about this run for the card.

    Returns:
        The ONNX file in ``folder``.
    """
    trainer = Trainer.resume(checkpoint)
    network = trainer.averaged.eval()
    exact, target = folder / FLOAT32 / f"{NAME}.onnx", folder / f"{NAME}.onnx"
    exact.parent.mkdir(parents=True, exist_ok=True)
    point = operating_point(predict(network, scenes)[0])
    validation = validate(network, scenes)
    network.eval()
    worst = to_onnx(network, exact)
    seen = np.unique(scenes.train)
    quantize(exact, target, views_of([scenes.image(int(i)) for i in seen[drawn(len(seen))]]))
    digest = sha256(target)
    add_model(manifest_entry(digest, point.threshold), folder)
    files = {"int8": digest, "float32": sha256(exact)}
    text = card(network, trainer.recipe, trainer.step, files, worst, validation, point, scenes, note)
    (folder / f"{NAME}.md").write_text(text)
    return target


def quantize_shipped(scenes: Path, folder: Path) -> Path:
    """Quantise the float32 file of an earlier export anew, on the scenes on which ``export`` does.

    Args:
        scenes: folder of ``scenes.zip``.
        folder: the models' folder; the new hash goes into its manifest. The card is left to be edited.

    Returns:
        The ONNX file in ``folder``.
    """
    target = quantize(folder / FLOAT32 / f"{NAME}.onnx", folder / f"{NAME}.onnx", views_of(training_scenes(scenes)))
    before = Manifest.load(folder).detector
    add_model(manifest_entry(sha256(target), before.score_threshold), folder)
    return target
