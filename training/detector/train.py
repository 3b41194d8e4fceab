"""Training: one thread, bf16 autocast, AdamW with one cycle, weights averaged, resumable at any checkpoint."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from training.detector.assign import assign, ignored_cells
from training.detector.augment import Views, draw
from training.detector.cells import cell_centres, decode, flatten
from training.detector.losses import eiou_loss, landmark_loss, pair_iou, quality_focal_loss
from training.detector.network import Detector
from training.detector.scenes import Image, Labels, PasteSet, SceneSet
from training.detector.validate import validate


@dataclass(frozen=True)
class Recipe:
    """What decides the result, data aside.

    Attributes:
        steps: of the training.
        batch: samples a step.
        rate: peak of the learning rate, reached after ``warmup`` of all steps, then a cosine down to zero.
        decay: of the weights of convolutions.
        average: of the exponential moving average of the weights.
        box: weight of this term beside the score's.
        landmark: likewise.
        views: how samples are drawn ...
        late_views: ... and how in the last part of the training, after ``turn`` of all steps: with more large faces,
            which the first views show too seldom.
        turn: see ``late_views``.
        seed: of weights and samples.
    """

    steps: int = 15000
    batch: int = 16
    rate: float = 2e-3
    warmup: float = 0.05
    decay: float = 0.02
    average: float = 0.9995
    box: float = 2.0
    landmark: float = 12.0
    views: Views = field(default_factory=Views)
    late_views: Views = field(
        default_factory=lambda: Views(zoom=0.6, zoom_height=(24.0, 300.0), mosaic=0.2, paste_height=(8.0, 160.0))
    )
    turn: float = 0.55
    seed: int = 1


@dataclass
class Batch:
    """Samples with their labels side by side.

    Attributes:
        images: float32 ``[n, 3, side, side]``, channels last.
        boxes, landmarks, marked: of all faces, ``[t, ...]``; ``image`` int64 ``[t]`` tells whose.
        regions: ignored ones ``[r, 4]``; ``region_image`` int64 ``[r]``.
    """

    images: Tensor
    boxes: Tensor
    landmarks: Tensor
    marked: Tensor
    image: Tensor
    regions: Tensor
    region_image: Tensor


def collate(samples: list[tuple[Image, Labels]]) -> Batch:
    """Stack samples."""
    images = torch.from_numpy(np.stack([image for image, _ in samples])).permute(0, 3, 1, 2)
    every = Labels.joined([labels for _, labels in samples])
    owner = np.repeat(np.arange(len(samples)), [len(labels) for _, labels in samples])
    faces, regions = every[~every.ignored], every[every.ignored]
    return Batch(
        images.float().contiguous(memory_format=torch.channels_last),
        torch.from_numpy(faces.boxes),
        torch.from_numpy(faces.landmarks),
        torch.from_numpy(faces.marked),
        torch.from_numpy(owner[~every.ignored]),
        torch.from_numpy(regions.boxes),
        torch.from_numpy(owner[every.ignored]),
    )


def loss_of(maps: list[Tensor], batch: Batch, recipe: Recipe) -> dict[str, Tensor]:
    """The terms of the loss, each divided by the number of cells that learn a face, and their weighted ``total``."""
    height, width = batch.images.shape[2:]
    centres, strides = cell_centres(height, width)
    boxes, logits, points = decode(flatten(maps).float(), centres, strides)
    chosen = assign(boxes.detach(), logits.detach(), batch.boxes, batch.image, height, width)
    count = max(1, len(chosen))
    quality = torch.zeros_like(logits)
    own, truth = boxes[chosen.image, chosen.cell], batch.boxes[chosen.face]
    quality[chosen.image, chosen.cell] = pair_iou(own.detach(), truth).sqrt()
    counted = ~ignored_cells(centres, batch.regions, batch.region_image, len(batch.images))
    counted[chosen.image, chosen.cell] = True
    marked = batch.marked[chosen.face]
    terms = {
        "score": (quality_focal_loss(logits, quality) * counted).sum() / count,
        "box": eiou_loss(own, truth).sum() / count,
        "landmark": landmark_loss(
            points[chosen.image, chosen.cell][marked], batch.landmarks[chosen.face[marked]], truth[marked]
        ).sum()
        / count,
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
        with torch.autocast("cpu", torch.bfloat16):
            maps = self.network(batch.images)
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

    @classmethod
    def resume(cls, file: Path, **changes: Any) -> Trainer:
        """Go on from a checkpoint, with some of the recipe's values changed (``steps`` to lengthen a run)."""
        state = torch.load(file, weights_only=True)
        values = dict(state["recipe"])
        views = {name: Views(**values[name]) for name in ("views", "late_views") if name in values}
        recipe = Recipe(**{**values, **views})
        trainer = cls(replace(recipe, **changes))
        trainer.network.load_state_dict(state["network"])
        trainer.averaged.load_state_dict(state["averaged"])
        trainer.optimizer.load_state_dict(state["optimizer"])
        trainer.step = state["step"]
        return trainer


def batch_at(step: int, scenes: SceneSet, pastes: PasteSet, recipe: Recipe) -> Batch:
    """The batch of a step: a function of the seed and the step alone, so that a resumed run sees what it would have."""
    views = recipe.views if step < recipe.turn * recipe.steps else recipe.late_views
    samples = []
    for k in range(step * recipe.batch, (step + 1) * recipe.batch):
        epoch, place = divmod(k, len(scenes.train))
        order = np.random.default_rng([recipe.seed, epoch]).permutation(scenes.train)
        samples.append(draw(scenes, pastes, int(order[place]), views, np.random.default_rng([recipe.seed, 7, k])))
    return collate(samples)


def train(trainer: Trainer, scenes: SceneSet, pastes: PasteSet, folder: Path, every: int = 1000) -> None:
    """Train to the recipe's last step.

    Args:
        trainer: new or resumed.
        scenes: to view.
        pastes: to paste.
        folder: gets ``last.pt`` (each ``every`` steps, at the end, and on Ctrl-C) and ``log.jsonl``.
        every: steps between two validations and checkpoints.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recipe, mean = trainer.recipe, {}
    bar = tqdm(total=recipe.steps, initial=trainer.step, desc="detector", unit="step", mininterval=5)
    began = time.monotonic()
    with (folder / "log.jsonl").open("a") as log:
        try:
            while trainer.step < recipe.steps:
                terms = trainer.train_step(batch_at(trainer.step, scenes, pastes, recipe))
                mean = {name: 0.98 * mean.get(name, value) + 0.02 * value for name, value in terms.items()}
                bar.update()
                if trainer.step % every and trainer.step < recipe.steps:
                    if trainer.step % 100 == 0:
                        bar.set_postfix({name: f"{value:.3f}" for name, value in mean.items()})
                    continue
                trainer.save(folder / "last.pt")
                record = {"step": trainer.step, "seconds": round(time.monotonic() - began), "loss": mean}
                record["validation"] = validate(trainer.averaged, scenes)
                log.write(json.dumps(record) + "\n")
                log.flush()
                tqdm.write(json.dumps(record))
        except KeyboardInterrupt:
            trainer.save(folder / "last.pt")
            tqdm.write(f"stopped at step {trainer.step}; the same command with --resume goes on")
    bar.close()
