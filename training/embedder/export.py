"""Exports a trained student: float32 ONNX checked against torch, a smaller file measured against it, and its card."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import torch
from torch import Tensor, nn

from training.common.files import read_log, replacing
from training.common.manifest import add_model, sha256
from training.common.onnx_file import store_in_float16, strip
from training.data.faces import FaceSet
from training.data.pairs import Pairs
from training.data.views import student_view, to_input, view_at
from training.embedder.card import card
from training.embedder.distill import earlier_runs, load_student
from training.embedder.networks import deployable
from training.embedder.objective import quality
from training.embedder.quantize import quantize
from training.embedder.targets import project
from training.embedder.validate import score, validation_widths
from training.embedder.variant import Variant
from training.recipe import Recipe

OPSET = 18
PARITY = 1e-5
MAX_LOSS = 0.2
"""Points of validation accuracy, the mean of LR-LR and HR-LR at all widths, that a smaller file may lose."""

FLOAT32 = "float32"
"""Folder, in the models folder, of the float32 networks: for GPUs and for other runtimes."""

QUANTIZED = ("residual",)
"""Kinds of network that are tried in int8. A MobileFaceNet was 1.35 times as fast by it, and lost .5 points of its
cosine to the teachers at 112 px and .8 at 16 px (2.8 points of accuracy there without `equalize`)."""

HALVED = "weights in float16"
"""Precision of a file of half the size that computes as the float32 one does."""

SAMPLE = 512
"""Faces on which int8 ranges are measured."""


class _Deployed(nn.Module):
    """The exported graph: the student, the normalisation of its output and, if trained, its quality estimate."""

    def __init__(self, student: nn.Module, with_quality: bool, mirror: bool) -> None:
        super().__init__()
        self.student, self.with_quality, self.mirror = student, with_quality, mirror

    def forward(self, faces: Tensor) -> tuple[Tensor, ...]:
        if self.mirror:
            both = self.student(torch.cat([faces, faces.flip(3)]))
            features = both.unflatten(0, (2, -1)).mean(dim=0)
        else:
            features = self.student(faces)
        unit = nn.functional.normalize(features, dim=1)
        return (unit, quality(features).clamp(0, 1)) if self.with_quality else (unit,)


def to_onnx(student: nn.Module, target: Path, with_quality: bool = False, mirror: bool = False) -> float:
    """Write ``student`` as ONNX, opset 18.

    Input ``faces`` float32 ``[batch, 3, r, r]``; outputs ``embedding`` float32 ``[batch, dim]`` of unit length and,
    with ``with_quality``, ``quality`` float32 ``[batch]`` in 0..1, see ``training.embedder.objective.length_loss``.

    Args:
        student: of ``training.embedder.networks``, in evaluation mode.
        target: where to write.
        with_quality: whether its quality estimate was trained.
        mirror: see ``Recipe``.

    Returns:
        The largest difference to torch on random faces, alone and in a batch.

    Raises:
        ValueError: it exceeds ``PARITY``; nothing is left at ``target``.
    """
    model = _Deployed(deployable(student), with_quality, mirror).eval()
    level = int(student.level)  # type: ignore[arg-type]
    temporary = target.with_suffix(".part")
    names = ["embedding", "quality"] if with_quality else ["embedding"]
    torch.onnx.export(
        model, (torch.zeros(2, 3, level, level),), str(temporary), opset_version=OPSET,
        dynamo=True, external_data=False, verbose=False, input_names=["faces"], output_names=names,
        dynamic_shapes={"faces": {0: torch.export.Dim("batch")}},
    )  # fmt: skip
    strip(temporary)
    session = ort.InferenceSession(temporary.read_bytes(), providers=["CPUExecutionProvider"])
    faces = np.random.default_rng(0).uniform(-1, 1, (33, 3, level, level)).astype(np.float32)
    with torch.no_grad():
        expected = _Deployed(student, with_quality, mirror).eval()(torch.from_numpy(faces))
    batch = session.run(None, {"faces": faces})
    alone = [
        np.concatenate(parts) for parts in zip(*(session.run(None, {"faces": f[None]}) for f in faces), strict=True)
    ]
    worst = max(
        float(np.abs(found - wanted.numpy()).max())
        for way in (batch, alone)
        for found, wanted in zip(way, expected, strict=True)
    )
    if worst > PARITY:
        temporary.unlink()
        raise ValueError(f"{target.name}: ONNX differs from torch by {worst:.1e}, more than {PARITY:.0e}")
    temporary.replace(target)
    return worst


def choose(exact: Variant, small: Variant) -> Variant:
    """``small`` where it costs at most ``MAX_LOSS`` and, if it computes in int8, is faster; else ``exact``."""
    # The mean of several protocols: one accuracy alone has a standard error of about MAX_LOSS.
    lost = float(
        np.mean([exact.figures[w][k] - small.figures[w][k] for w in exact.figures for k in ("lr_lr", "hr_lr")])
    )
    faster = small.precision == HALVED or small.milliseconds < exact.milliseconds
    return small if lost <= MAX_LOSS and faster else exact


def export(run: Path, folder: Path, faces: FaceSet, embeddings: npt.NDArray[np.float32], pairs: Pairs) -> Path:
    """Export a run's student: float32 into ``folder/float32``, and into ``folder`` the variant that ``choose`` chooses.

    Both are measured on the validation pairs and on this machine. The smaller one of a network that is not in
    ``QUANTIZED`` computes in float32 from weights stored in float16.

    Args:
        run: folder of a run of ``training.embedder.distill``.
        folder: the models' folder.
        faces: crops; activations' ranges are measured on the ``train`` split.
        embeddings: the teachers' unit embeddings ``[len(faces), d]``.
        pairs: validation pairs.

    Returns:
        The ONNX file in ``folder``.
    """
    recipe, student, basis = load_student(run)
    (folder / FLOAT32).mkdir(parents=True, exist_ok=True)
    target, exact = folder / f"{recipe.name}.onnx", folder / FLOAT32 / f"{recipe.name}.onnx"
    worst = to_onnx(student, exact, recipe.quality > 0, recipe.mirror)
    rng = np.random.default_rng(recipe.seed)
    level, rows, widths = recipe.student.level, faces.rows("train"), validation_widths(recipe)
    targets = project(embeddings, basis)
    variants = [measure_file(exact, "float32", widths, level, faces, targets, pairs)]
    with tempfile.TemporaryDirectory() as scratch:
        if recipe.student.network in QUANTIZED:
            some = rng.choice(rows, min(SAMPLE, len(rows)), replace=False)
            views = np.stack([student_view(faces.crops[i], level, recipe.degradation, rng) for i in some])
            small = quantize(exact, Path(scratch) / target.name, np.ascontiguousarray(to_input(views)))
            variants.append(measure_file(small, "int8", widths, level, faces, targets, pairs))
        else:
            small = store_in_float16(exact, Path(scratch) / target.name)
            variants.append(measure_file(small, HALVED, widths, level, faces, targets, pairs))
        default = choose(variants[0], variants[-1])
        with replacing(target) as part:
            shutil.copyfile(default.path, part)
    for variant in variants:
        found = ", ".join(f"{width} px {figures['lr_lr']:.2f}" for width, figures in variant.figures.items())
        print(f"{recipe.name} {variant.precision}: LR-LR % of {found}; {variant.milliseconds:.3f} ms a face")
    _enter(recipe, target, f"{recipe.name}.md", folder)
    _enter(recipe, exact, f"../{recipe.name}.md", folder / FLOAT32)
    data = json.loads((run / "data.json").read_text())
    files = {default.precision: sha256(target), "float32": sha256(exact)}
    text = card(recipe, student, files, worst, data, read_log(run), variants, earlier_runs(run))
    (folder / f"{recipe.name}.md").write_text(text)
    return target


def _enter(recipe: Recipe, file: Path, card_name: str, folder: Path) -> None:
    level = recipe.student.level
    output = {"name": "embedding", "dim": recipe.student.dim, "normalized": True}
    add_model(
        {
            "name": recipe.name, "kind": "embedder", "level": level, "file": file.name, "sha256": sha256(file),
            "license": recipe.license,
            "card": card_name, "template": "arcface-112", "space": recipe.space or recipe.name,
            "input": {"name": "faces", "height": level, "width": level, "channels": "RGB",
                      "mean": 127.5, "scale": 0.0078125},
            "output": output | ({"quality": "quality"} if recipe.quality > 0 else {}),
        },
        folder,
    )  # fmt: skip


def measure_file(
    path: Path,
    precision: str,
    widths: Sequence[int],
    level: int,
    faces: FaceSet,
    targets: npt.NDArray[np.float32],
    pairs: Pairs,
) -> Variant:
    """Validation figures by width, and speed of an ONNX file, on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    rows = np.unique(np.concatenate([pairs.a, pairs.b]))
    figures, times = {}, []
    for width in widths:
        table = np.zeros_like(targets)
        for i in range(0, len(rows), 32):
            views = np.stack([view_at(crop, width, level) for crop in faces.crops[rows[i : i + 32]]])
            tensor = np.ascontiguousarray(to_input(views))
            start = time.perf_counter()
            table[rows[i : i + 32]] = session.run(["embedding"], {"faces": tensor})[0]
            times.append((time.perf_counter() - start) / len(views))
        figures[width] = score(table, targets, pairs)
    return Variant(path, precision, figures, 1e3 * float(np.median(times)))
