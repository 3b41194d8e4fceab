"""Training: one thread, AdamW with one cycle, weights averaged, resumable at any checkpoint."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import time
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from google.protobuf.message import DecodeError
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from training.common.manifest import sha256
from training.common.precision import mixed_precision
from training.detector.augment import Views
from training.detector.batches import Batch, Batches
from training.detector.cells import cell_centres, decode, flatten
from training.detector.folding import unfolded
from training.detector.losses import eiou_loss, landmark_loss, score_divergence
from training.detector.network import STRIDES, Detector
from training.detector.recipe import Recipe, rate_at
from training.detector.targets import HINT_CHANNELS
from training.detector.validate import validate

STATISTICS_BATCHES = 8  # to measure the BatchNorm statistics that an exported network lacks


class Hints(nn.Module):
    """Distance of linearly mapped features to the teacher's (FitNets). Used in training only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Conv2d(channels, HINT_CHANNELS, 1) for _ in STRIDES)
        # of the teacher's channels
        self.norms = nn.ModuleList(nn.BatchNorm2d(HINT_CHANNELS, affine=False) for _ in STRIDES)

    def forward(self, features: list[Tensor], hints: list[Tensor]) -> Tensor:
        """Mean squared error in standard deviations of the teacher's channels, a scalar."""
        levels = zip(features, hints, self.maps, self.norms, strict=True)
        return torch.stack([
            F.mse_loss(to(own[: len(hint)]).float(), norm(hint)) for own, hint, to, norm in levels
        ]).mean()  # fmt: skip


def loss_of(maps: list[Tensor], batch: Batch, recipe: Recipe, hint: Tensor) -> dict[str, Tensor]:
    """The terms of the loss and their weighted ``total``.

    Args:
        maps: what the network predicts.
        batch: the targets.
        recipe: the weights.
        hint: the loss of ``Hints``; the others are divided by the sum of the cells' scores.
    """
    centres, strides = cell_centres(*batch.images.shape[2:])
    values = flatten(maps).float()
    weight = batch.scores[batch.picture, batch.cell]
    count = weight.sum().clamp(min=1.0)
    own, _, points = decode(values[batch.picture, batch.cell], centres[batch.cell], strides[batch.cell])
    marked = batch.marked
    landmark = landmark_loss(points[marked], batch.landmarks[marked], batch.boxes[marked])
    terms = {
        "score": score_divergence(values[..., 0], batch.scores).sum() / count,
        "box": (eiou_loss(own, batch.boxes) * weight).sum() / count,
        "landmark": (landmark * weight[marked]).sum() / count,
        "hint": hint,
    }
    weighted = recipe.box * terms["box"] + recipe.landmark * terms["landmark"] + recipe.hint * hint
    return {**terms, "total": terms["score"] + weighted}


class Trainer:
    """A network, its average, its optimizer and the step they are at.

    Args:
        recipe: see there.
    """

    def __init__(self, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.step = 0
        self.network = Detector().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = Detector().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged.load_state_dict(self.network.state_dict())
        self.hints = Hints(self.network.out.in_channels)
        parameters = [*self.network.parameters(), *self.hints.parameters()]
        kernels = [p for p in parameters if p.ndim > 1]
        others = [p for p in parameters if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": kernels, "weight_decay": recipe.decay}, {"params": others, "weight_decay": 0.0}],
            lr=recipe.rate,
        )

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One update; returns the terms of the loss."""
        self.network.train()
        if self.recipe.closes(self.step):
            for part in self.network.modules():
                if isinstance(part, nn.BatchNorm2d):
                    part.eval()
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.step, self.recipe)
        images = batch.images.float()  # the workers send uint8
        with mixed_precision():
            features = self.network.features(images)
            maps = [self.network.out(feature) for feature in features]
            hint = self.hints(features, batch.hints)
        terms = loss_of(maps, batch, self.recipe, hint)
        self.optimizer.zero_grad(set_to_none=True)
        terms["total"].backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
        self.optimizer.step()
        self.step += 1
        self._average()
        return {**{name: float(value.detach()) for name, value in terms.items()}, "gradient": float(norm)}

    @torch.no_grad()
    def _average(self) -> None:
        keep = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        theirs = self.network.state_dict()
        for name, value in self.averaged.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(theirs[name], 1 - keep)
            else:
                value.copy_(theirs[name])

    def save(self, file: Path) -> None:
        """Write a checkpoint, complete or not at all."""
        part = file.with_suffix(".part")
        state = {
            "recipe": asdict(self.recipe), "step": self.step, "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(), "hints": self.hints.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }  # fmt: skip
        torch.save(state, part)
        part.replace(file)

    def begin(self, file: Path, batches: Dataset[Batch]) -> None:
        """Start with the averaged weights of another run's checkpoint, or with exported weights; the recipe records it.

        Args:
            file: ``last.pt``, or what ``export`` made of one, which lacks the map to the teacher's features.
            batches: of the run; the first few are drawn to measure the statistics that an export lacks.

        Raises:
            ValueError: it is no checkpoint of such a network.
        """
        with _reading_checkpoint(file):
            if file.suffix == ".onnx":
                images = torch.cat([batches[step].images for step in range(STATISTICS_BATCHES)])
                weights, name = unfolded(file, images.float()).state_dict(), f"{file.name} ({sha256(file)[:8]})"
            else:
                state = torch.load(file, weights_only=True)
                weights, name = state["averaged"], file.parent.name if file.stem == "last" else file.stem
                self.hints.load_state_dict(state["hints"])
            for own in (self.network, self.averaged):
                own.load_state_dict(weights)
        self.recipe = replace(self.recipe, begin=name)

    @classmethod
    def resume(cls, file: Path, **changes: Any) -> Trainer:
        """Go on from a checkpoint, with some of the recipe's values changed (``steps`` to lengthen a run).

        Raises:
            ValueError: it is no checkpoint of such a network, or one of another version's recipe.
        """
        with _reading_checkpoint(file):
            state = torch.load(file, weights_only=True)
            trainer = cls(replace(_recipe(state["recipe"], file), **changes))
            trainer.network.load_state_dict(state["network"])
            trainer.hints.load_state_dict(state["hints"])
            trainer.averaged.load_state_dict(state["averaged"])
            trainer.optimizer.load_state_dict(state["optimizer"])
            trainer.step = state["step"]
        return trainer


def _recipe(values: dict[str, Any], file: Path) -> Recipe:
    """The recipe of a checkpoint. A key that is missing there has no default: it was not what today's default is."""
    views = values["views"]
    own = {field.name for field in (*fields(Recipe), *fields(Views))}
    odd = sorted(own ^ {*values, *views})
    if odd:
        raise ValueError(
            f"{file} is of a version with another recipe ({', '.join(odd)}): resume it with that version, "
            "or begin a new run with its weights (--begin)"
        )
    return Recipe(**{**values, "views": Views(**views)})


@contextlib.contextmanager
def _reading_checkpoint(file: Path) -> Iterator[None]:
    """Turns every error of reading a checkpoint into one message that says what to do."""
    try:
        yield
    except (OSError, pickle.UnpicklingError, EOFError, RuntimeError, KeyError, TypeError, DecodeError) as error:
        raise ValueError(
            f"{file} is no run of this network: give last.pt as train wrote it, "
            "or to begin with an exported lrface-detector.onnx"
        ) from error


def _lower_priority(_: int) -> None:
    """Gives a worker a lower priority than the training process."""
    os.nice(10)


def train(trainer: Trainer, batches: Batches, folder: Path, every: int = 1000, workers: int = 0) -> None:
    """Train to the recipe's last step.

    Args:
        trainer: new or resumed.
        batches: of its recipe.
        folder: gets ``last.pt`` (each ``every`` steps, at the end, and on Ctrl-C) and ``log.jsonl``.
        every: steps between two validations and checkpoints.
        workers: processes that make batches ahead; 0 to make them between the steps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recipe = trainer.recipe
    mean: dict[str, float] = {}
    # fork: the workers share the mapped pictures
    context = "fork" if workers else None
    ahead = DataLoader(
        batches, batch_size=None, sampler=range(trainer.step, recipe.steps), num_workers=workers,
        multiprocessing_context=context, worker_init_fn=_lower_priority,
    )  # fmt: skip
    bar = tqdm(total=recipe.steps, initial=trainer.step, desc="detector", unit="step", mininterval=5)
    began = time.monotonic()
    with (folder / "log.jsonl").open("a") as log:
        try:
            for batch in ahead:
                terms = trainer.train_step(batch)
                mean = {name: 0.98 * mean.get(name, value) + 0.02 * value for name, value in terms.items()}
                bar.update()
                if trainer.step % every and trainer.step < recipe.steps:
                    if trainer.step % 100 == 0:
                        bar.set_postfix({name: f"{value:.3f}" for name, value in mean.items()})
                    continue
                trainer.save(folder / "last.pt")
                record = {"step": trainer.step, "seconds": round(time.monotonic() - began), "loss": mean}
                record["validation"] = validate(trainer.averaged, batches.scenes)
                log.write(json.dumps(record) + "\n")
                log.flush()
                tqdm.write(json.dumps(record))
        except KeyboardInterrupt:
            trainer.save(folder / "last.pt")
            tqdm.write(f"stopped at step {trainer.step}; the same command with --resume goes on")
    bar.close()
