"""The curves of a run, for people who would rather look than read its log."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


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
