"""Training: one thread, bf16 autocast, AdamW with one cycle, weights averaged, resumable at any checkpoint."""

from __future__ import annotations

import contextlib
import json
import pickle
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from training.detector.augment import Views
from training.detector.batches import Batch, Batches
from training.detector.cells import cell_centres, decode, flatten
from training.detector.losses import eiou_loss, landmark_loss, score_divergence
from training.detector.network import Detector
from training.detector.recipe import Recipe
from training.detector.validate import validate


def loss_of(maps: list[Tensor], batch: Batch, recipe: Recipe) -> dict[str, Tensor]:
    """The terms of the loss, divided by what the cells' scores add up to, and their weighted ``total``.

    Args:
        maps: what the network predicts.
        batch: what it is to predict.
        recipe: the weights.
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
    }
    return {**terms, "total": terms["score"] + recipe.box * terms["box"] + recipe.landmark * terms["landmark"]}


def rate_at(step: int, recipe: Recipe) -> float:
    """The learning rate of a step: linear warm-up, then a cosine to zero."""
    rising = max(1, round(recipe.steps * recipe.warmup))
    if step < rising:
        return recipe.rate * (step + 1) / rising
    return recipe.rate * 0.5 * (1 + float(np.cos(np.pi * (step - rising) / max(1, recipe.steps - rising))))


class Trainer:
    """A network, its average, its optimizer and the step they are at.

    Args:
        recipe: see there.
    """

    def __init__(self, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.step = 0
        self.network = Detector().to(memory_format=torch.channels_last)
        self.averaged = Detector().to(memory_format=torch.channels_last)
        self.averaged.load_state_dict(self.network.state_dict())
        kernels = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": kernels, "weight_decay": recipe.decay}, {"params": others, "weight_decay": 0.0}],
            lr=recipe.rate,
        )

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One update; returns the terms of the loss."""
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.step, self.recipe)
        images = batch.images.float()  # sent as bytes by the workers
        with torch.autocast("cpu", torch.bfloat16):
            maps = self.network(images)
        terms = loss_of(maps, batch, self.recipe)
        self.optimizer.zero_grad(set_to_none=True)
        terms["total"].backward()  # type: ignore[no-untyped-call]
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
        """Write a checkpoint, whole or not at all."""
        part = file.with_suffix(".part")
        state = {
            "recipe": asdict(self.recipe), "step": self.step, "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(), "optimizer": self.optimizer.state_dict(),
        }  # fmt: skip
        torch.save(state, part)
        part.replace(file)

    def begin(self, file: Path) -> None:
        """Start with the averaged weights of another run's checkpoint; the recipe remembers its folder's name.

        Raises:
            ValueError: it is no checkpoint of such a network.
        """
        with _reading(file):
            state = torch.load(file, weights_only=True)
            for own in (self.network, self.averaged):
                own.load_state_dict(state["averaged"])
        self.recipe = replace(self.recipe, begin=file.parent.name)

    @classmethod
    def resume(cls, file: Path, **changes: Any) -> Trainer:
        """Go on from a checkpoint, with some of the recipe's values changed (``steps`` to lengthen a run).

        Raises:
            ValueError: it is no checkpoint of such a network.
        """
        with _reading(file):
            state = torch.load(file, weights_only=True)
            values = dict(state["recipe"])
            recipe = Recipe(**{**values, "views": Views(**values["views"])})
            trainer = cls(replace(recipe, **changes))
            trainer.network.load_state_dict(state["network"])
            trainer.averaged.load_state_dict(state["averaged"])
            trainer.optimizer.load_state_dict(state["optimizer"])
            trainer.step = state["step"]
        return trainer


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Whatever is wrong with a checkpoint, one message that says the mend."""
    try:
        yield
    except (OSError, pickle.UnpicklingError, EOFError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is no run of this network: give last.pt as train wrote it") from error


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
    recipe, mean = trainer.recipe, {}
    # forked: the pictures are mapped and shared, not sent
    context = "fork" if workers else None
    ahead = DataLoader(
        batches, batch_size=None, sampler=range(trainer.step // 2, (recipe.steps + 1) // 2), num_workers=workers,
        multiprocessing_context=context,
    )  # fmt: skip
    bar = tqdm(total=recipe.steps, initial=trainer.step, desc="detector", unit="step", mininterval=5)
    began = time.monotonic()
    with (folder / "log.jsonl").open("a") as log:
        try:
            for batch in _twice(ahead, trainer.step, recipe.steps):
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


def _twice(batches: Iterable[Batch], step: int, steps: int) -> Iterator[Batch]:
    """Each batch as it is and then mirrored, for the steps from ``step`` to ``steps``: drawing takes longest."""
    for batch in batches:
        if step % 2 == 0:
            yield batch
            step += 1
        if step < steps:
            yield batch.mirrored()
            step += 1
