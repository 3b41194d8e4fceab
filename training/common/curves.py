"""Plots of a run's log."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.common.files import read_log


def draw_curves(run: Path) -> None:
    """Draw ``log.jsonl`` into ``curves.png``: losses and validation figures."""
    from matplotlib.figure import Figure

    lines = read_log(run)
    epochs = [line["epoch"] for line in lines]
    figure = Figure(figsize=(13, 4))
    axes = figure.subplots(1, 3)
    losses = [k for k in lines[-1] if not k.startswith("val_") and k not in ("epoch", "seconds")]
    panels = (losses, ["val_lr_lr", "val_hr_lr", "val_tar_1e-2"], ["val_cosine"])
    for axis, names, title in zip(axes, panels, ("loss", "validation, %", "cosine to teachers"), strict=True):
        for name in names:
            axis.plot(epochs, [line.get(name, np.nan) for line in lines], label=name)
        axis.set(title=title, xlabel="epoch")
        axis.legend()
    figure.tight_layout()
    figure.savefig(run / "curves.png")
