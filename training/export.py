"""A trained student to ONNX: checked against torch, entered into the manifest, with its card."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

from training.distill import load_student
from training.manifest import add_model, sha256
from training.onnx_file import strip
from training.recipe import Recipe
from training.students import Student, count_macs

OPSET = 18
PARITY = 1e-5


class _Deployed(nn.Module):
    """What ships: the student and the normalisation of its output."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, faces: Tensor) -> Tensor:
        return nn.functional.normalize(self.student(faces), dim=1)


def to_onnx(student: Student, target: Path) -> float:
    """Write ``student`` as ONNX, input ``faces [batch, 3, r, r]``, output ``embedding [batch, dim]``, unit length.

    Returns:
        The largest difference to torch on random faces, alone and in a batch.

    Raises:
        ValueError: it exceeds ``PARITY``; nothing is left at ``target``.
    """
    model = _Deployed(student).eval()
    level = student.level
    temporary = target.with_suffix(".part")
    torch.onnx.export(
        model, (torch.zeros(2, 3, level, level),), str(temporary), opset_version=OPSET,
        dynamo=True, external_data=False, verbose=False, input_names=["faces"], output_names=["embedding"],
        dynamic_shapes={"faces": {0: torch.export.Dim("batch")}},
    )  # fmt: skip
    strip(temporary)
    session = ort.InferenceSession(temporary.read_bytes(), providers=["CPUExecutionProvider"])
    faces = np.random.default_rng(0).uniform(-1, 1, (33, 3, level, level)).astype(np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(faces)).numpy()
    batch = session.run(None, {"faces": faces})[0]
    alone = np.concatenate([session.run(None, {"faces": face[None]})[0] for face in faces])
    worst = float(max(np.abs(batch - expected).max(), np.abs(alone - expected).max()))
    if worst > PARITY:
        temporary.unlink()
        raise ValueError(f"{target.name}: ONNX differs from torch by {worst:.1e}, more than {PARITY:.0e}")
    temporary.replace(target)
    return worst


def export(run: Path, folder: Path, results: Path) -> Path:
    """Export a run's student into ``folder`` with manifest entry and card.

    Args:
        run: folder of a run of ``training.distill``.
        folder: the models' folder.
        results: folder of the benchmarks' JSON; figures of this very file (by SHA-256) go into the card.

    Returns:
        The ONNX file.
    """
    recipe, student, _ = load_student(run)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{recipe.name}.onnx"
    worst = to_onnx(student, target)
    digest = sha256(target)
    level = recipe.student.level
    add_model(
        {
            "name": recipe.name, "kind": "embedder", "level": level, "file": target.name, "sha256": digest,
            "license": recipe.license,
            "card": f"{recipe.name}.md", "template": "arcface-112", "space": recipe.space or recipe.name,
            "input": {"name": "faces", "height": level, "width": level, "channels": "RGB",
                      "mean": 127.5, "scale": 0.0078125},
            "output": {"name": "embedding", "dim": recipe.student.dim, "normalized": True},
        },
        folder,
    )  # fmt: skip
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    data = json.loads((run / "data.json").read_text())
    figures = _lfw_figures(results, digest)
    (folder / f"{recipe.name}.md").write_text(_card(recipe, student, digest, worst, data, log, figures))
    return target


def _lfw_figures(results: Path, digest: str) -> list[str]:
    path = results / "lfw.json"
    if not path.exists():
        return []
    rows = json.loads(path.read_text())["rows"]
    return [
        f"| LFW, {row['protocol']} {row['size']}x{row['size']} | {row['accuracy']:.2f} +- {row['std']:.2f} |"
        f" {row['tar_1e-2']:.1f} / {row['tar_1e-3']:.1f} |"
        for row in rows
        if row.get("sha256") == digest
    ]


def _card(
    recipe: Recipe,
    student: Student,
    digest: str,
    worst: float,
    data: dict[str, Any],
    log: list[dict[str, Any]],
    figures: list[str],
) -> str:
    last = log[-1]
    plan = asdict(recipe)
    teachers = ", ".join(t if isinstance(t, str) else t.file for t in recipe.teachers)
    sources = ", ".join(f"{name} {count:,}" for name, count in data["sources"].items())
    losses = " + ".join(f"{loss.weight:g} {loss.name}{loss.arguments or ''}" for loss in recipe.losses)
    lines = [
        f"# {recipe.name}",
        "",
        f"Embeds faces of {recipe.student.level}x{recipe.student.level} pixels into {recipe.student.dim} numbers of"
        f" unit length (space `{recipe.space or recipe.name}`). SHA-256 `{digest}`.",
        "",
        "| | |",
        "|---|---|",
        f"| network | residual trunk, widths {recipe.student.widths}, depths {recipe.student.depths};"
        f" {sum(p.numel() for p in student.parameters()) / 1e6:.2f} M parameters,"
        f" {count_macs(student) / 1e6:.0f} M multiply-accumulates a face |",
        "| input | `faces` float32 `[batch, 3, r, r]`, RGB, `(x - 127.5) * 0.0078125`; the ArcFace-aligned 112x112 crop"
        " shrunk by area |",
        f"| output | `embedding` float32 `[batch, {recipe.student.dim}]`, unit length; parity with torch {worst:.0e} |",
        f"| teachers | {teachers}, concatenated, projected to {recipe.student.dim} dimensions |",
        f"| data | {data['faces']:,} aligned faces: {sources} |",
        f"| terms | {recipe.terms} |",
        f"| losses | {losses} |",
        f"| degradation | {plan['degradation']} |",
        f"| schedule | {plan['schedule']} |",
        f"| seed | {recipe.seed} |",
        f"| training time | {sum(line['seconds'] for line in log) / 60:.0f} minutes, {last['epoch']} epochs |",
        "",
        "## Figures",
        "10-fold accuracy in % and TAR in % at FAR 1e-2 / 1e-3, no mirroring. Validation pairs: people not"
        " in the training split, the average of weights after the last epoch. LFW, a test set only:"
        " `python benchmarks/lfw.py`; HR: the photo by the largest network of the space.",
        "",
        "| set and protocol | accuracy | TAR |",
        "|---|---|---|",
        f"| validation, LR-LR aligned | {last['val_lr_lr']:.2f} | {last['val_tar_1e-2']:.1f} / - |",
        f"| validation, HR (teachers) - LR aligned | {last['val_hr_lr']:.2f} | - |",
        *figures,
        "",
        "## Use",
        "Finding known people in pictures where faces are small, with a threshold for a stated false-positive rate."
        " Not for deciding about a person without a human look. Accuracy differs between groups of people as it"
        " does in the training data; it has not been measured by group.",
        "",
        f"Made by `python -m training distill training/recipes/{recipe.name}.toml` and `python -m training export`.",
    ]
    return "\n".join(lines) + "\n"
