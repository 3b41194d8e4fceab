"""Exports the landmark refinement network: ONNX, checked against torch, with manifest entry and card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch

from lrface.detection.landmark_refinement import CONTEXT, INPUT_SIDE, ITERATIONS
from training.common.files import replacing
from training.common.manifest import MEASURED, WEIGHTS_LICENSE, add_model, sha256
from training.common.onnx_file import strip
from training.landmarks.network import Deployed, Landmarker
from training.landmarks.samples import Sources
from training.landmarks.train import Recipe

OPSET = 18
PARITY = 1e-3  # pixels of the input, and eye distances
NAME = "lrface-landmarks"


def to_onnx(network: Landmarker, target: Path) -> float:
    """Write a network as ONNX with a dynamic batch.

    Returns:
        The largest difference to torch, alone and in a batch.

    Raises:
        ValueError: it is too large; nothing is left at ``target``.
    """
    model = Deployed(network).eval()
    with replacing(target) as part:
        torch.onnx.export(
            model, (torch.zeros(2, 3, INPUT_SIDE, INPUT_SIDE),), str(part), opset_version=OPSET, dynamo=True,
            external_data=False, verbose=False, input_names=["frames"], output_names=["landmarks", "error"],
            dynamic_shapes={"frames": {0: torch.export.Dim("batch")}},
        )  # fmt: skip
        strip(part)
        session = ort.InferenceSession(part.read_bytes(), providers=["CPUExecutionProvider"])
        frames = np.random.default_rng(0).uniform(0, 255, (9, 3, INPUT_SIDE, INPUT_SIDE)).astype(np.float32)
        with torch.no_grad():
            expected = [value.numpy() for value in model(torch.from_numpy(frames))]
        together = session.run(None, {"frames": frames})
        alone = [np.concatenate(v) for v in zip(*(session.run(None, {"frames": f[None]}) for f in frames), strict=True)]
        worst = max(float(np.abs(a - b).max()) for way in (together, alone) for a, b in zip(way, expected, strict=True))
        if worst > PARITY:
            raise ValueError(f"{target.name}: ONNX differs from torch by {worst:.1e}, more than {PARITY:.0e}")
    return worst


def add_to_manifest(target: Path) -> None:
    """Adds an exported file to the manifest beside it."""
    add_model({
        "name": NAME, "kind": "landmarker", "file": target.name, "sha256": sha256(target), "license": WEIGHTS_LICENSE,
        "card": f"{NAME}.md", "template": "arcface-112",
        "input": {
            "name": "frames", "height": INPUT_SIDE, "width": INPUT_SIDE, "channels": "BGR", "mean": 0, "scale": 1,
        },
        "output": {"landmarks": "landmarks", "error": "error"},
    }, target.parent)  # fmt: skip


def card(network: Landmarker, recipe: Recipe, steps: int, sources: Sources, digest: str, parity: float) -> str:
    """Markdown.

    Args:
        network: the exported one.
        recipe: how it was trained ...
        steps: ... and how far ...
        sources: ... and on what.
        digest: SHA-256 of the ONNX file.
        parity: largest difference between torch and ONNX.
    """
    plan = {name: value for name, value in vars(recipe).items() if name != "views"}
    lines = [
        f"# {NAME}",
        "",
        f"Refines the five landmarks of a face, from a crop around those that a detector found. SHA-256 `{digest}`.",
        "",
        "| | |",
        "|---|---|",
        f"| network | six 3x3 convolutions, one linear layer; {sum(p.numel() for p in network.parameters()):,}"
        " parameters |",
        f"| input | `frames` float32 `[batch, 3, {INPUT_SIDE}, {INPUT_SIDE}]`, BGR, 0..255: the canonical crop"
        f" by the landmarks found so far, and its surroundings, {CONTEXT} times as wide |",
        "| output | `landmarks [batch, 5, 2]` in pixels of the input; `error [batch]`: how far off they are expected to"
        " align the face, in eye distances (trained as the scale of the error's own likelihood) |",
        f"| use | {ITERATIONS} iterations, each from the landmarks of the one before; 1 for faces of a video that are"
        " only followed |",
        f"| parity | ONNX against torch: {parity:.0e} |",
        f"| data | {len(sources.pastes):,} aligned training faces, turned, sheared, blended into scenes and shrunk by"
        f" area, and {len(sources.large):,} large faces of scenes, shrunk. **Research only**: for no set do its sources"
        " clear the people shown |",
        "| teacher | landmarks by YuNet-n (libfacedetection, BSD/MIT) on the full-size crop, its mean bias against the"
        " ArcFace template removed, so that aligning by them gives the crop |",
        f"| recipe | {', '.join(f'{k} {v}' for k, v in plan.items())} |",
        f"| views | {', '.join(f'{k} {v}' for k, v in vars(recipe.views).items())} |",
        f"| trained | {steps} of {recipe.steps} steps, from scratch, one CPU thread; averaged weights |",
        "",
        "## Figures",
        *MEASURED,
        "",
        "At run time a face's quality falls with the expected error "
        "(`lrface.embedding.quality.alignment_adjusted_quality`).",
        "",
        "Made by `python -m training landmarks`.",
    ]
    return "\n".join(lines) + "\n"
