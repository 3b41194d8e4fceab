"""Trains the landmark refinement network from scratch."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from training.common.averaging import Ema, learning_rate
from training.common.files import save_state
from training.common.precision import mixed_precision
from training.landmarks.network import Landmarker, loss
from training.landmarks.samples import Sources, Views, draw


@dataclass(frozen=True)
class Recipe:
    """How it is trained: AdamW, one cycle; the averaged weights are exported.

    Attributes:
        steps, batch: of the run.
        rate: peak learning rate.
        decay: of weights.
        warmup: share of the steps.
        ema: decay of the average.
        seed: of everything random.
        views: how samples are drawn.
    """

    steps: int = 2000
    batch: int = 256
    rate: float = 3e-3
    decay: float = 0.02
    warmup: float = 0.05
    ema: float = 0.998
    seed: int = 0
    views: Views = field(default_factory=Views)


def batch_at(step: int, sources: Sources, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Input crops float32 ``[b, 3, 48, 48]`` and landmarks ``[b, 5, 2]``, a function of seed and step alone."""
    rng = np.random.default_rng([recipe.seed, step])
    frames, points = zip(*(draw(sources, recipe.views, rng) for _ in range(recipe.batch)), strict=True)
    images = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float()
    return images.contiguous(memory_format=torch.channels_last), torch.from_numpy(np.stack(points))


def train(recipe: Recipe, sources: Sources, folder: Path, every: int = 100) -> Landmarker:
    """Train to the recipe's last step; started again, it continues from the last checkpoint.

    Args:
        recipe: see there.
        sources: of samples.
        folder: gets ``last.pt`` and ``log.jsonl``.
        every: steps between two checkpoints.

    Returns:
        The averaged network.

    Raises:
        ValueError: the folder holds a run of another recipe.
    """
    torch.manual_seed(recipe.seed)
    folder.mkdir(parents=True, exist_ok=True)
    network: Landmarker = Landmarker().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ema = Ema(network, recipe.ema)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    first, last = 0, folder / "last.pt"
    if last.exists():
        state = torch.load(last, weights_only=True)
        if state["recipe"] != _as_json(recipe):
            raise ValueError(f"{folder} was begun with another recipe; name another folder or remove it")
        network.load_state_dict(state["network"])
        ema.model.load_state_dict(state["ema"])
        optimizer.load_state_dict(state["optimizer"])
        first = ema.steps = state["step"]
    mean: dict[str, float] = {}
    began = time.monotonic()
    network.train()
    for step in tqdm(range(first, recipe.steps), "landmarks", recipe.steps, initial=first, unit="step", mininterval=5):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step / recipe.steps, recipe.rate, recipe.warmup)
        frames, truth = batch_at(step, sources, recipe)
        with mixed_precision():
            found, spread = network(frames)
        terms = loss(found, spread, truth)
        optimizer.zero_grad(set_to_none=True)
        terms["total"].backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()
        ema.update(network)
        for name, value in terms.items():
            mean[name] = 0.98 * mean.get(name, value.item()) + 0.02 * value.item()
        if (step + 1) % every == 0 or step + 1 == recipe.steps:
            save_state({
                "recipe": _as_json(recipe), "step": step + 1, "network": network.state_dict(),
                "ema": ema.model.state_dict(), "optimizer": optimizer.state_dict(),
            }, last)  # fmt: skip
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps({"step": step + 1, "seconds": round(time.monotonic() - began), **mean}) + "\n")
    return cast(Landmarker, ema.model)


def load(folder: Path) -> tuple[Landmarker, Recipe, int]:
    """The averaged network of a run, its recipe, and the steps it made."""
    state = torch.load(folder / "last.pt", weights_only=True)
    network = Landmarker().eval()
    network.load_state_dict(state["ema"])
    views: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in state["recipe"]["views"].items()
    }
    return network, Recipe(**{**state["recipe"], "views": Views(**views)}), int(state["step"])


def _as_json(recipe: Recipe) -> dict[str, object]:
    plain: dict[str, object] = json.loads(json.dumps(asdict(recipe)))
    return plain
