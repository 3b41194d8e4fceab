"""Fine-tunes a teacher on up-scaled low-resolution faces, so that it can label synthetic mixtures.

The teachers' embedding of a sharp face depends on detail that its 16x16 version has lost; a student can only memorise
that part. The embedding that a teacher computes from the small face itself can be learnt, and exists for any picture,
mixtures included. The fine-tuned weights are a training aid and never ship. All of this runs on the CPU.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import time
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from training.common.averaging import Ema, learning_rate
from training.common.files import log_line, save_state
from training.common.precision import mixed_precision
from training.data.bank import Bank, bank_folder, fill_bank
from training.data.faces import FaceSet
from training.data.pairs import Pairs
from training.data.views import aligned_view, student_view
from training.embedder.recipes import build, read_toml
from training.embedder.run_folder import bind_run_folder
from training.embedder.targets import project, projection
from training.embedder.teachers import KNOWN_TEACHERS, Preprocessing
from training.embedder.validate import score
from training.losses import FirstOrder, RelationalKL
from training.recipe import Degradation, Recipe

BATCH = 128  # EdgeFace's positional encoding is folded for one batch size
EVERY = 240
"""Steps between checkpoints; every third is validated."""


@dataclass(frozen=True)
class Adaptation:
    """How a teacher is fine-tuned.

    Attributes:
        name: of the run.
        teacher: ONNX file of the teacher that is fine-tuned, one that ``training.embedder.teachers`` knows by name.
        teachers: ONNX files of the teachers whose embeddings of the sharp faces it learns.
        degradation: how small faces are made.
        levels: sides of the small faces, in pixels; each batch has one of them.
        epochs: passes over the training faces, above 0, also fractions.
        rate: peak learning rate of AdamW.
        dim: length of the embedding that it learns.
        seed: of order and views.

    Raises:
        ValueError: a teacher that cannot be fine-tuned, or a value out of range.
    """

    name: str
    teacher: str
    teachers: tuple[str, ...]
    levels: tuple[int, ...]
    epochs: float
    degradation: Degradation = field(default_factory=Degradation)
    rate: float = 3e-4
    dim: int = 256
    seed: int = 1

    def __post_init__(self) -> None:
        if self.teacher not in self.teachers:
            raise ValueError(f"teacher {self.teacher!r} is not one of teachers {self.teachers}: add it")
        if Path(self.teacher).stem not in KNOWN_TEACHERS:
            raise ValueError(f"{self.teacher}: unknown teacher; one of {sorted(KNOWN_TEACHERS)}")
        if not self.levels or not all(4 <= level <= 112 for level in self.levels):
            raise ValueError(f"levels {self.levels}: give sides of 4 to 112 pixels")
        if self.epochs <= 0 or self.rate <= 0:
            raise ValueError(f"epochs {self.epochs}, rate {self.rate}: give values above 0")


def load_adaptation(path: Path) -> Adaptation:
    """Read and check an adaptation's TOML file.

    Raises:
        ValueError: an unknown key or a value of the wrong kind or out of range, with its place.
    """
    return adaptation_from(read_toml(path), str(path))


def adaptation_from(raw: dict[str, Any], where: str) -> Adaptation:
    """An adaptation from its plain tables, checked; ``where`` names them in an error. Raises as ``load_adaptation``."""
    degradation = build(Degradation, raw.get("degradation", {}), f"{where}: degradation")
    plan: Adaptation = build(Adaptation, {**raw, "degradation": degradation}, where)
    return plan


def open_torch(path: Path, batch: int = BATCH) -> nn.Module:
    """An ONNX embedder as a torch module for exactly ``batch`` faces a call.

    Raises:
        ValueError: onnx2torch is not installed.
    """
    import onnx
    import onnxslim

    convert = _converter()
    model = onnx.load(str(path))
    entry = model.graph.input[0]
    shape = [batch, *[dim.dim_value for dim in entry.type.tensor_type.shape.dim][1:]]
    slim = onnxslim.slim(model, input_shapes=[f"{entry.name}:{','.join(map(str, shape))}"])
    for node in slim.graph.node:
        given = [name for name in node.input if name]
        if node.op_type == "Clip" and given == list(node.input)[:2]:  # a lower bound only: onnx2torch cannot convert it
            del node.input[:]
            node.input.extend(given)
            node.op_type = "Max"
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        onnx.save(slim, file.name)
        return convert(file.name)


def _converter() -> Callable[[Any], nn.Module]:
    """``onnx2torch.convert``, also without torchvision, of which it imports three names that only detectors need."""
    if importlib.util.find_spec("onnx2torch") is None:
        raise ValueError("onnx2torch is missing: pip install --no-deps onnx2torch (its dependencies pull torchvision)")
    stubs: dict[str, types.ModuleType] = {}
    if importlib.util.find_spec("torchvision") is None:
        stubs = {name: types.ModuleType(name) for name in ("torchvision", "torchvision.ops")}
        for name in ("roi_align", "nms", "batched_nms"):
            setattr(stubs["torchvision.ops"], name, None)
        stubs["torchvision"].__dict__["ops"] = stubs["torchvision.ops"]
    sys.modules |= stubs
    try:
        from onnx2torch import convert
    finally:
        for name in stubs:
            del sys.modules[name]
    found: Callable[[Any], nn.Module] = convert
    return found


class LowResolutionTeacher(nn.Module):
    """A teacher's network with a linear head into the students' space; reads views of any size.

    Args:
        backbone: from ``open_torch``.
        spec: its preprocessing.
        inputs: length of its embedding.
        dim: of the students' space.
    """

    def __init__(self, backbone: nn.Module, spec: Preprocessing, inputs: int, dim: int) -> None:
        super().__init__()
        self.backbone, self.spec = backbone, spec
        self.head = nn.Linear(inputs, dim, bias=False)

    def train(self, mode: bool = True) -> LowResolutionTeacher:
        """Always evaluation mode: BatchNorm keeps the statistics of the faces that the teacher was trained on."""
        return super().train(False)

    def forward(self, views: npt.NDArray[np.uint8]) -> Tensor:
        """Views uint8 ``[BATCH, r, r, 3]`` BGR to features ``[BATCH, dim]``, not normalised."""
        return self.head(self.embed(views))

    def embed(self, views: npt.NDArray[np.uint8]) -> Tensor:
        """The same views to the teacher network's unit embeddings float32 ``[BATCH, inputs]``."""
        faces = torch.from_numpy(np.ascontiguousarray(views.transpose(0, 3, 1, 2)))
        x = faces.to(next(self.parameters()).device, memory_format=torch.channels_last).float()
        if x.shape[-1] != self.spec.size:
            x = F.interpolate(x, self.spec.size, mode="bicubic", align_corners=False).clamp(0, 255)
        x = (x.flip(1) if self.spec.rgb else x).sub(self.spec.mean).mul(self.spec.scale)
        return F.normalize(self.backbone(x).flatten(1).float(), dim=1)


def embed(model: LowResolutionTeacher, views: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Unit embeddings float32 ``[n, dim]`` of views uint8 ``[n, r, r, 3]``."""
    out = []
    with torch.inference_mode(), mixed_precision():
        for i in range(0, len(views), BATCH):
            part = views[i : i + BATCH]
            padded = np.concatenate([part, np.repeat(part[-1:], BATCH - len(part), axis=0)])
            out.append(F.normalize(model(padded).float(), dim=1)[: len(part)].numpy())
    return np.concatenate(out)


def adapt(
    plan: Adaptation,
    folder: Path,
    faces: FaceSet,
    embeddings: npt.NDArray[np.float32],
    pairs: Pairs,
    run: Path,
) -> Path:
    """Fine-tune a teacher to predict all teachers' embeddings of the sharp face; resumable.

    Args:
        plan: teacher, levels and schedule.
        folder: of the teachers' files.
        faces: crops and splits.
        embeddings: all teachers' unit embeddings ``[len(faces), d]`` of the sharp faces.
        pairs: validation pairs, for the log.
        run: folder of checkpoint and log.

    Returns:
        The checkpoint, see ``load_low_resolution_teacher``.

    Raises:
        ValueError: the folder belongs to another plan or other faces, or there are too few faces.
    """
    bind_run_folder(run, plan, adaptation_from, faces)
    rows = faces.rows("train")
    if len(rows) < BATCH:
        raise ValueError(f"{len(rows)} training faces are less than one batch of {BATCH}: add faces")
    basis = projection(embeddings[rows], plan.dim)
    targets = project(embeddings, basis)
    torch.manual_seed(plan.seed)
    model = build_low_resolution_teacher(plan, folder)
    objective = [(1.0, FirstOrder()), (0.5, RelationalKL())]
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.rate, weight_decay=0.0)
    ema = Ema(model, 0.995)
    checkpoint, first, steps = run / "checkpoint.pt", 0, max(1, int(plan.epochs * len(rows) / BATCH))
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        ema.model.load_state_dict(state["ema"])
        ema.steps, first = state["step"], state["step"]
        optimizer.load_state_dict(state["optimizer"])
    else:
        _solve_head(model, faces, targets, rows, plan)
        ema = Ema(model, 0.995)
    started, total = time.monotonic(), 0.0
    for step in tqdm(range(first, steps), desc=plan.name, mininterval=5, initial=first, total=steps):
        rng = np.random.default_rng([plan.seed, step])
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step / steps, plan.rate, 0.05)
        level = plan.levels[rng.integers(len(plan.levels))]
        picked = rng.choice(rows, BATCH, replace=False)
        views = np.stack([student_view(faces.crops[j], level, plan.degradation, rng) for j in picked])
        with mixed_precision():
            features = model(views)
        guide = torch.from_numpy(targets[picked])
        loss = torch.stack([weight * term(features, guide) for weight, term in objective]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        ema.update(model)
        total += float(loss.detach())
        if (step + 1) % EVERY == 0 or step + 1 == steps:
            averaged = cast(LowResolutionTeacher, ema.model)
            line: dict[str, Any] = {"step": step + 1, "seconds": round(time.monotonic() - started, 1)}
            line["loss"] = round(total / ((step % EVERY) + 1), 5)
            if not np.isfinite(total):
                raise ValueError(f"{plan.name}: the loss is no longer a number at step {step + 1}; lower the rate")
            started, total = time.monotonic(), 0.0
            if (step + 1) % (3 * EVERY) == 0 or step + 1 == steps:
                for side in sorted(set(plan.levels)):
                    low = _validation_table(averaged, faces, pairs, side, targets)
                    line |= {f"val{side}_{k}": round(v, 4) for k, v in score(low, targets, pairs).items()}
            state = {"model": model.state_dict(), "ema": ema.model.state_dict(), "step": step + 1,
                     "optimizer": optimizer.state_dict(), "basis": torch.from_numpy(basis)}  # fmt: skip
            log_line(run, line, "step")
            save_state(state, checkpoint)
            tqdm.write(json.dumps(line))
    return checkpoint


def build_low_resolution_teacher(plan: Adaptation, folder: Path) -> LowResolutionTeacher:
    """The network before fine-tuning, with a random head."""
    path = folder / plan.teacher
    spec, backbone = KNOWN_TEACHERS[path.stem], open_torch(path)
    with torch.inference_mode():
        inputs = backbone(torch.zeros(BATCH, 3, spec.size, spec.size)).reshape(BATCH, -1).shape[1]
    model = LowResolutionTeacher(backbone, spec, inputs, plan.dim)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # it is documented, not typed
    return model.requires_grad_(True)


def load_low_resolution_teacher(plan: Adaptation, folder: Path, cache: Path) -> LowResolutionTeacher:
    """The averaged network of an adaptation's run.

    Raises:
        ValueError: there is no such run.
    """
    checkpoint = cache / "runs" / plan.name / "checkpoint.pt"
    if not checkpoint.exists():
        raise ValueError(f"{checkpoint} is missing: run `python -m training adapt` with {plan.name}'s recipe first")
    model = build_low_resolution_teacher(plan, folder)
    model.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["ema"])
    return model.eval()


def open_bank(
    recipe: Recipe, plan: Adaptation, load: Callable[[], LowResolutionTeacher], faces: FaceSet, cache: Path
) -> Bank:
    """The bank of a recipe; missing shards are made.

    Args:
        recipe: gives its size and level.
        plan: of the low-resolution teacher.
        load: opens that teacher; called only if shards are missing.
        faces: whose training split is mixed.
        cache: folder of the banks.

    Raises:
        ValueError: the labels would be in another space than the student's, or the folder belongs to another plan.
    """
    ours, theirs = (recipe.student.dim, recipe.teachers), (plan.dim, plan.teachers)
    if ours != theirs:
        raise ValueError(
            f"{recipe.name} has dim and teachers {ours}, its bank's {plan.name} {theirs}: they must be equal"
        )
    folder, shards = bank_folder(cache, recipe, faces), recipe.bank.shards
    bind_run_folder(folder, plan, adaptation_from, faces)
    if len(list(folder.glob("labels-?????.npy"))) < shards:
        model = load()
        fill_bank(folder, shards, recipe.student.level, faces, lambda v: embed(model, v), plan.degradation)
    return Bank(folder, shards)


def _solve_head(
    model: LowResolutionTeacher,
    faces: FaceSet,
    targets: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    plan: Adaptation,
) -> None:
    """Set the head by ridge regression on sharp faces, so that fine-tuning starts near the teachers' space."""
    some = np.random.default_rng(plan.seed).choice(rows, min(len(rows), 4096), replace=False)
    out = []
    with torch.inference_mode(), mixed_precision():
        for i in range(0, len(some) - BATCH + 1, BATCH):
            views = np.stack([aligned_view(faces.crops[j], 56) for j in some[i : i + BATCH]])
            out.append(model.embed(views).numpy())
    a = np.concatenate(out).astype(np.float64)
    b = targets[some[: len(a)]].astype(np.float64)
    weight = np.linalg.solve(a.T @ a + 1e-2 * np.eye(a.shape[1]), a.T @ b)
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(weight.T.astype(np.float32)))


def _validation_table(
    model: LowResolutionTeacher, faces: FaceSet, pairs: Pairs, level: int, targets: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    rows = np.unique(np.concatenate([pairs.a, pairs.b]))
    table = np.zeros_like(targets)
    table[rows] = embed(model, np.stack([aligned_view(c, level) for c in faces.crops[rows]]))
    return table
