"""One training run: a recipe's student learns its guide's embedding space from low-resolution views.

The folder of a run holds ``checkpoint.pt`` (written after each epoch, or every ten minutes of a run by hours),
``log.jsonl``, ``curves.png``, ``recipe.json`` and ``data.json``; a run resumes only with the same recipe and faces.
Under ``torchrun`` every process trains on its part of each batch and rank 0 writes the folder; BatchNorm takes its
statistics from each process's part, their running means are averaged at each checkpoint.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import nn
from tqdm import tqdm

from training.common.averaging import Ema, learning_rate
from training.common.curves import draw_curves
from training.common.files import log_line, read_log, save_state
from training.common.processes import rank_zero_first
from training.data.bank import Bank
from training.data.batches import Batches
from training.data.classes import class_labels
from training.data.faces import FaceSet
from training.data.pairs import Pairs
from training.data.views import to_input
from training.embedder.guides import distillation_targets
from training.embedder.guides import load_student as load_student
from training.embedder.mobilefacenet import MobileFaceNet, fewer_places, solve_head, start_from
from training.embedder.muon import MuonWithAdamW
from training.embedder.networks import build_network, count_macs
from training.embedder.objective import Learner, Objective, asks_for
from training.embedder.recipes import recipe_from
from training.embedder.run_folder import bind_run_folder
from training.embedder.validate import cosines, validate, validation_widths
from training.embedder.validate_images import classifier_of, validate_images
from training.losses import LossContext
from training.recipe import Recipe

Embeddings = npt.NDArray[np.float32]

PERIOD = 600.0
"""Seconds of training between two checkpoints of a run by hours."""

CURVES = 30.0
"""Seconds at least between two drawings of the curves, which take longer than a short epoch."""

VALIDATED_FACES = 512
"""Faces at most that are validated after each period of a network that reads faces of many widths."""


def distill(
    recipe: Recipe,
    faces: FaceSet,
    embeddings: Embeddings,
    pairs: Pairs | None,
    run: Path,
    device: torch.device | None = None,
    bank: Bank | None = None,
    teachers: Path = Path(),
) -> Path:
    """Train, or resume, one student.

    Args:
        recipe: what to train. Runs that it names (``init``, ``guide``) lie beside ``run``.
        faces: crops and splits; only the ``train`` split is trained on.
        embeddings: the teachers' unit embeddings ``[len(faces), d]``.
        pairs: validation pairs, for the log; None for pictures with classes.
        run: the run's folder.
        device: by default a GPU if there is one.
        bank: synthetic mixtures, if the recipe uses them.
        teachers: folder of the ONNX file whose weights the student starts from, if the recipe names one.

    Returns:
        The checkpoint, see ``load_student``.

    Raises:
        ValueError: the folder belongs to another recipe or other faces, there are too few faces, a named run is missing
            or of another space, or the loss is no longer finite.
    """
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with rank_zero_first():
        bind_run_folder(run, recipe, recipe_from, faces)
        learnt = distillation_targets(recipe, faces, embeddings, run, device)
    rows = faces.rows("train")
    labels, centres = np.full(len(faces), -1, np.int64), None
    if asks_for(recipe, "centres", "classes"):
        labels, means = class_labels(faces, rows, learnt.guides, recipe.seed)
        centres = torch.from_numpy(means)
    batches = Batches(recipe, faces, learnt.guides, labels, bank, rank, ranks)
    torch.manual_seed(recipe.seed)
    student = build_network(recipe.student)
    if not (run / "checkpoint.pt").exists():
        if recipe.init:
            start_from_run(student, run.parent / recipe.init)
        if isinstance(student, MobileFaceNet) and recipe.student.start:
            start_from(student, teachers / recipe.student.start)
            solve_head(student, faces.crops, learnt.targets, rows)
    guides = torch.from_numpy(learnt.guides[rows]) if asks_for(recipe, "guides") else None
    context = LossContext(recipe.student.dim, learnt.guides.shape[1], centres, guides, labels.max() + 1)
    trainer = Trainer(recipe, student, Objective(recipe, context), batches, run, device)
    trainer.resume()
    if rank == 0:
        size = f"{sum(p.numel() for p in student.parameters()) / 1e6:.2f} M parameters, {count_macs(student) / 1e6:.1f}"
        print(f"{recipe.name}: {size} M MACs, {len(rows)} faces, {trainer.progress:.1%} of the run done")
    drawn = -CURVES
    while trainer.progress < 1:
        line = trainer.period()
        if rank == 0:
            if pairs is None:
                given = classifier_of(trainer.learner.objective.state_dict())
                found = validate_images(trainer.ema.model, recipe.student.level, faces, labels, given, device)
            else:
                found = _validated(recipe, trainer.ema.model, faces, pairs, learnt.targets, device)
            line |= {f"val_{name}": round(value, 4) for name, value in found.items()}
            log_line(run, line, "epoch")
            trainer.save(learnt.basis)
            tqdm.write(json.dumps(line))
            if trainer.progress >= 1 or time.monotonic() - drawn > CURVES:
                draw_curves(run)
                drawn = time.monotonic()
        _wait()
    return run / "checkpoint.pt"


class Trainer:
    """Trains in periods, after each of which a run can stop and resume: an epoch, or ten minutes of a run by hours.

    Attributes:
        steps: taken so far.
        seconds: of training so far.

    Args:
        recipe: the schedule.
        student: with its initial weights.
        objective: its losses.
        batches: of this process.
        run: folder of the checkpoint.
        device: to train on.
    """

    def __init__(
        self,
        recipe: Recipe,
        student: nn.Module,
        objective: Objective,
        batches: Batches,
        run: Path,
        device: torch.device,
    ) -> None:
        self.schedule, self.batches, self.device = recipe.schedule, batches, device
        self.checkpoint = run / "checkpoint.pt"
        # memory_format is documented, not typed
        self.student: nn.Module = student.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.learner = Learner(self.student, objective, recipe.quality).to(device)
        self.ema = Ema(self.student, recipe.schedule.ema)
        self.steps, self.seconds = 0, 0.0
        rate, decay = recipe.schedule.rate, recipe.schedule.weight_decay
        self.optimizer: torch.optim.Optimizer
        if recipe.schedule.optimizer == "muon":
            self.optimizer = MuonWithAdamW(self.learner.parameters(), lr=rate, weight_decay=decay)
        else:
            self.optimizer = torch.optim.AdamW(self.learner.parameters(), lr=rate, weight_decay=decay)
        self.step: nn.Module = self.learner
        if batches.ranks > 1:
            self.step = nn.parallel.DistributedDataParallel(self.learner, forward_sync_buffers=False)

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0..1."""
        if self.schedule.hours:
            return min(1.0, self.seconds / (3600 * self.schedule.hours))
        return self.steps / (self.schedule.epochs * len(self.batches))

    def resume(self) -> None:
        """Load the checkpoint, if there is one."""
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.student.load_state_dict(state["model"])
        self.ema.model.load_state_dict(state["ema"])
        self.ema.steps = self.steps = state["steps"]
        self.seconds = state["seconds"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.learner.objective.load_state_dict(state["objective"])

    def save(self, basis: Embeddings) -> None:
        """Replace the checkpoint in one step."""
        state = {
            "model": self.student.state_dict(), "ema": self.ema.model.state_dict(), "steps": self.steps,
            "seconds": self.seconds, "optimizer": self.optimizer.state_dict(),
            "objective": self.learner.objective.state_dict(), "basis": torch.from_numpy(basis),
        }  # fmt: skip
        save_state(state, self.checkpoint)

    def period(self) -> dict[str, Any]:
        """Train to the end of the epoch, or of ten minutes; the line for the log: seconds, and the mean of each term.

        Raises:
            ValueError: the loss is no longer a number.
        """
        started, sums, before = time.monotonic(), dict[str, float](), self.steps
        epoch, place = divmod(self.steps, len(self.batches))
        order = self.batches.order(epoch)
        self.learner.train()
        bar = tqdm(total=len(self.batches), initial=place, desc=f"epoch {epoch + 1}", mininterval=5,
                   disable=self.batches.rank > 0)  # fmt: skip
        with bar:
            while place < len(self.batches) and self.progress < 1:
                begun = time.monotonic()
                for name, value in self._step(epoch, place, order).items():
                    sums[name] = sums.get(name, 0.0) + float(value)
                place, self.steps, self.seconds = place + 1, self.steps + 1, self.seconds + time.monotonic() - begun
                bar.update()
                if self.schedule.hours and time.monotonic() - started > PERIOD:
                    break
        self._average_buffers()
        done = self.steps - before
        line: dict[str, Any] = {"epoch": round(self.steps / len(self.batches), 3)}
        line |= {"steps": self.steps, "seconds": round(time.monotonic() - started, 1)}
        return line | {name: round(value / done, 5) for name, value in sums.items()}

    def _step(self, epoch: int, place: int, order: npt.NDArray[np.int64]) -> dict[str, torch.Tensor]:
        schedule = self.schedule
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.progress, schedule.rate, schedule.warmup, schedule.fall)
        batch = self.batches.make(epoch, place, order)
        x = torch.from_numpy(to_input(batch.views)).to(self.device, memory_format=torch.channels_last)
        given = (
            torch.from_numpy(array).to(self.device) for array in (batch.guides, batch.labels, batch.quality_weights)
        )
        loss, parts = self.step(x, *given)
        if not math.isfinite(value := float(loss.detach())):
            raise ValueError(f"epoch {epoch + 1}: the loss is {value}; lower the rate or the losses' weights")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.learner.parameters(), 5.0)
        self.optimizer.step()
        self.ema.update(self.student)
        found: dict[str, torch.Tensor] = parts
        return found

    def _average_buffers(self) -> None:
        if self.batches.ranks == 1:
            return
        for module in (self.student, self.ema.model):
            for buffer in module.buffers():
                if buffer.is_floating_point():
                    dist.all_reduce(buffer)
                    buffer /= self.batches.ranks


def start_from_run(model: nn.Module, run: Path) -> None:
    """Copy the averaged weights of another run's student into ``model``.

    A layer that reads more channels than the given one starts with the given weights and zeros for the rest, so that an
    assistant starts with the same output as the student whose trunk it shares; one with more outputs keeps its own
    weights for the rest. Tensors of any other shape stay as they are.

    Raises:
        ValueError: there is no such run.
    """
    if not (run / "checkpoint.pt").exists():
        raise ValueError(f"{run} holds no checkpoint to start from: distil that recipe first")
    given = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)["ema"]
    own, copied = model.state_dict(), 0
    for name, value in given.items():
        target = own.get(name)
        if target is None:
            continue
        if isinstance(model, MobileFaceNet) and name == "pool.weight":
            value = fewer_places(value, target.shape[-1])
        if target.shape == value.shape:
            target.copy_(value)
        elif target.dim() > 1 and target.shape[1] > value.shape[1] and _alike(target, value, 1):
            target.zero_()[:, : value.shape[1]].copy_(value)
        elif target.shape[0] > value.shape[0] and _alike(target, value, 0):
            target[: value.shape[0]].copy_(value)
        else:
            continue
        copied += 1
    print(f"started from {run.name}: {copied} of {len(own)} tensors")


def _alike(a: torch.Tensor, b: torch.Tensor, axis: int) -> bool:
    """Whether two tensors have the same shape but for one axis."""
    ours, theirs = list(a.shape), list(b.shape)
    return len(ours) == len(theirs) and ours[:axis] + ours[axis + 1 :] == theirs[:axis] + theirs[axis + 1 :]


def earlier_runs(run: Path) -> list[tuple[Recipe, list[dict[str, Any]]]]:
    """Recipes and logs of the runs that a run went on from (its ``init``, and so on), the first one first.

    Only runs whose folders still lie beside it are found.
    """
    found: list[tuple[Recipe, list[dict[str, Any]]]] = []
    init = recipe_from(json.loads((run / "recipe.json").read_text()), str(run)).init
    while init and (run.parent / init / "recipe.json").exists():
        folder = run.parent / init
        recipe = recipe_from(json.loads((folder / "recipe.json").read_text()), str(folder))
        found.insert(0, (recipe, read_log(folder)))
        init = recipe.init
    return found


def _validated(
    recipe: Recipe, model: nn.Module, faces: FaceSet, pairs: Pairs, targets: Embeddings, device: torch.device
) -> dict[str, float]:
    if not recipe.degradation.narrowest:
        return validate(model, recipe.student.level, faces, pairs, targets, device)
    # A sample: every face of the pairs at every width would take as long as training between two checkpoints.
    rows = np.unique(pairs.a)
    return cosines(
        model, validation_widths(recipe), faces, rows[:: max(1, len(rows) // VALIDATED_FACES)], targets, device
    )


def _wait() -> None:
    if dist.is_initialized():
        dist.barrier()
