"""One training run: a recipe's student learns the teachers' space from low-resolution views.

``run`` keeps everything below one folder: ``checkpoint.pt`` (written after each epoch, resumed from), ``log.jsonl``,
``curves.png``, ``data.json`` and the recipe that it began with.
"""

from __future__ import annotations

import json
import time
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from tqdm import tqdm

from training.bank import Bank
from training.faces import FaceSet
from training.losses import LOSSES
from training.recipe import Recipe, recipe_from
from training.students import Student, count_macs
from training.targets import project, projection
from training.validate import Pairs, validate
from training.views import student_view, to_input


class Objective(nn.Module):
    """Weighted sum of the recipe's losses."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.terms = nn.ModuleDict({spec.name: LOSSES[spec.name](**spec.arguments) for spec in recipe.losses})
        self.weights = {spec.name: spec.weight for spec in recipe.losses}

    def forward(self, student: torch.Tensor, guide: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss and its unweighted terms, of features ``[n, d]``."""
        parts = {name: term(student, guide) for name, term in self.terms.items()}
        total = torch.stack([self.weights[name] * value for name, value in parts.items()]).sum()
        return total, {name: value.detach() for name, value in parts.items()}


class Ema:
    """Exponential moving average of weights and BatchNorm statistics; starts as a plain mean, so that it warms up."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards ``model``'s present weights and statistics."""
        self.steps += 1
        weight = max(1 - self.decay, 1 / (self.steps + 1))
        for mine, theirs in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(theirs, weight)
            else:
                mine.copy_(theirs)


def length_loss(features: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
    """The length of an unnormalised embedding as an estimate of its own cosine to the teacher: a quality for free.

    Args:
        features: ``[n, d]``, as the network emits them.
        guide: the teachers' embeddings ``[n, d]``.

    Returns:
        Mean square of ``quality(f) - max(cos(f, t), 0)``, the cosine detached: directions are not bent by it.
    """
    cosine = nn.functional.cosine_similarity(features.detach().float(), guide, dim=1).clamp(min=0)
    return (quality(features) - cosine).square().mean()


def quality(features: torch.Tensor) -> torch.Tensor:
    """Length of features ``[n, d]`` over the root of d, ``[n]``: see ``length_loss``."""
    return features.float().square().mean(dim=1).add(1e-8).sqrt()


def learning_rate(step: int, steps: int, rate: float, warmup: float) -> float:
    """One cycle: linear from 4 % over the first ``warmup`` of the steps, then a cosine to zero."""
    rise = max(1, int(warmup * steps))
    if step < rise:
        return rate * (0.04 + 0.96 * step / rise)
    return rate * 0.5 * (1 + float(np.cos(np.pi * (step - rise) / max(1, steps - rise))))


def distill(
    recipe: Recipe,
    faces: FaceSet,
    embeddings: npt.NDArray[np.float32],
    pairs: Pairs,
    run: Path,
    device: torch.device | None = None,
    bank: Bank | None = None,
) -> Path:
    """Train, or resume, one student.

    Args:
        recipe: what to train.
        faces: crops and splits; only the ``train`` split is trained on.
        embeddings: the teachers' unit embeddings ``[len(faces), d]``.
        pairs: validation pairs for the log.
        run: the run's folder.
        device: by default a GPU where there is one.
        bank: mixtures, where the recipe asks for them.

    Returns:
        The checkpoint, see ``load_student``.

    Raises:
        ValueError: the folder belongs to another recipe.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run.mkdir(parents=True, exist_ok=True)
    said = json.dumps(asdict(recipe), indent=1)
    kept = run / "recipe.json"
    if kept.exists() and json.loads(kept.read_text()) != json.loads(said):
        raise ValueError(f"{run} was begun with another recipe; name another --run folder or remove it")
    kept.write_text(said)

    rows = faces.rows("train")
    sources = faces.table["source"].iloc[rows].astype(str).value_counts()
    (run / "data.json").write_text(json.dumps({"faces": len(rows), "sources": {k: int(v) for k, v in sources.items()}}))
    basis = projection(embeddings[rows], recipe.student.dim)
    targets = project(embeddings, basis)
    torch.manual_seed(recipe.seed)
    model = Student(**asdict(recipe.student)).to(device, memory_format=torch.channels_last)
    objective = Objective(recipe).to(device)
    parameters = [*model.parameters(), *objective.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.schedule.rate, weight_decay=recipe.schedule.weight_decay)
    ema = Ema(model, recipe.schedule.ema)
    checkpoint, first = run / "checkpoint.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        ema.model.load_state_dict(state["ema"])
        ema.steps = state["ema_steps"]
        optimizer.load_state_dict(state["optimizer"])
        objective.load_state_dict(state["objective"])
        first = state["epoch"]
    elif recipe.init:
        begin(model, run.parent / recipe.init)
        ema = Ema(model, recipe.schedule.ema)
    level, batch = recipe.student.level, recipe.schedule.batch
    mixed = round(batch * recipe.bank.share) if bank is not None else 0
    live = batch - mixed
    batches = len(rows) // live
    if not batches:
        raise ValueError(f"{len(rows)} training faces are less than one batch of {recipe.schedule.batch}")
    size = f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {count_macs(model) / 1e6:.1f} M MACs"
    print(f"{recipe.name}: {size}, {len(rows)} faces, epochs {first} to {recipe.schedule.epochs}")

    for epoch in range(first, recipe.schedule.epochs):
        started = time.monotonic()
        # Seeded by epoch: a resumed run sees what an uninterrupted one would have seen.
        rng = np.random.default_rng([recipe.seed, epoch])
        order = rng.permutation(rows)
        sums: dict[str, float] = {}
        model.train()
        bar = tqdm(range(batches), desc=f"epoch {epoch + 1}/{recipe.schedule.epochs}", mininterval=5)
        for i in bar:
            step = epoch * batches + i
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(
                    step, batches * recipe.schedule.epochs, recipe.schedule.rate, recipe.schedule.warmup
                )
            picked = order[i * live : (i + 1) * live]
            views = np.stack([student_view(faces.crops[j], level, recipe.degradation, rng) for j in picked])
            guides = targets[picked]
            if bank is not None:
                drawn, labels = bank.draw(mixed, rng)
                views, guides = np.concatenate([views, drawn]), np.concatenate([guides, labels])
            x = torch.from_numpy(to_input(views)).to(device, memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16):
                features = model(x)
            guide = torch.from_numpy(guides).to(device)
            loss, parts = objective(features, guide)
            if recipe.quality:
                penalty = length_loss(features[:live], guide[:live])
                parts["quality"] = penalty.detach()
                loss = loss + recipe.quality * penalty
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()
            ema.update(model)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value)
        line: dict[str, Any] = {"epoch": epoch + 1, "seconds": round(time.monotonic() - started, 1)}
        line |= {name: round(value / batches, 5) for name, value in sums.items()}
        found = validate(ema.model, level, faces, pairs, targets, device)
        line |= {f"val_{name}": round(value, 4) for name, value in found.items()}
        state = {
            "model": model.state_dict(), "ema": ema.model.state_dict(), "ema_steps": ema.steps, "epoch": epoch + 1,
            "optimizer": optimizer.state_dict(), "objective": objective.state_dict(), "basis": torch.from_numpy(basis),
        }  # fmt: skip
        torch.save(state, run / "checkpoint.part")
        (run / "checkpoint.part").replace(checkpoint)
        with (run / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        tqdm.write(json.dumps(line))
        draw_curves(run)
    return checkpoint


def begin(model: nn.Module, run: Path) -> None:
    """Start ``model`` from the averaged student of another run.

    A convolution that reads more channels than the given one starts with the given weights and zeros for the rest, so
    that an assistant begins as the student whose trunk it shares; what fits in no way stays as it is.

    Raises:
        ValueError: there is no such run.
    """
    if not (run / "checkpoint.pt").exists():
        raise ValueError(f"{run} holds no checkpoint to begin with: distil that recipe first")
    given = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)["ema"]
    own, taken = model.state_dict(), 0
    for name, value in given.items():
        mine = own.get(name)
        if mine is None:
            continue
        if mine.shape == value.shape:
            mine.copy_(value)
        elif mine.dim() == 4 and mine.shape[0] == value.shape[0] and mine.shape[1] > value.shape[1]:
            mine.zero_()[:, : value.shape[1]].copy_(value)
        else:
            continue
        taken += 1
    print(f"begun with {run.name}: {taken} of {len(own)} tensors")


def load_student(run: Path) -> tuple[Recipe, Student, npt.NDArray[np.float32]]:
    """The recipe, the averaged student and the projection ``[d, dim]`` of a run's last checkpoint."""
    recipe = recipe_from(json.loads((run / "recipe.json").read_text()), str(run / "recipe.json"))
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)
    student = Student(**asdict(recipe.student))
    student.load_state_dict(state["ema"])
    return recipe, student.eval(), state["basis"].numpy()


def draw_curves(run: Path) -> None:
    """Draw ``log.jsonl`` into ``curves.png``: losses, and what validation says."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    # A resumed run may have repeated an epoch: the last line of each counts.
    lines = {line["epoch"]: line for line in map(json.loads, (run / "log.jsonl").read_text().splitlines())}
    epochs = sorted(lines)
    figure, axes = plt.subplots(1, 3, figsize=(13, 4))
    losses = [k for k in lines[epochs[-1]] if not k.startswith("val_") and k not in ("epoch", "seconds")]
    panels = (losses, ["val_lr_lr", "val_hr_lr", "val_tar_1e-2"], ["val_cosine"])
    for axis, names, title in zip(axes, panels, ("loss", "validation, %", "cosine to teachers"), strict=True):
        for name in names:
            axis.plot(epochs, [lines[e].get(name, np.nan) for e in epochs], label=name)
        axis.set(title=title, xlabel="epoch")
        axis.legend()
    figure.tight_layout()
    figure.savefig(run / "curves.png")
    plt.close(figure)
