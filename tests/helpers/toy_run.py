"""A tiny run in a process of its own, killed or one of several: ``python toy_run.py FOLDER EPOCHS [killed]``."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from training.common.processes import join_processes, rank_zero_first
from training.data.faces import FaceSet
from training.data.pairs import Pairs
from training.embedder import distill as distillation
from training.recipe import LossSpec, Recipe, Schedule, StudentSpec

LOSSES = (LossSpec("order1"), LossSpec("relational_kl", 0.5), LossSpec("order_c", 0.1), LossSpec("crrcd", 0.01))


def toy() -> tuple[FaceSet, np.ndarray, Pairs]:
    """Faces of ten people; the 'teacher' sees the colours of 16 regions."""
    rng = np.random.default_rng(0)
    person = np.arange(160) % 10
    small = (rng.integers(0, 255, (10, 4, 4, 3))[person] * 0.8 + rng.integers(0, 50, (160, 4, 4, 3))).astype(np.uint8)
    crops = np.stack([cv2.resize(s, (112, 112), interpolation=cv2.INTER_CUBIC) for s in small])
    embeddings = small.reshape(160, -1).astype(np.float32) - 127
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    table = pd.DataFrame({
        "name": range(160), "source": "toy", "identity": person.astype(str), "native_crop_px": 112,
        "split": ["train"] * 128 + ["val"] * 32,
    })  # fmt: skip
    a = np.arange(128, 160)
    pairs = Pairs(np.r_[a, a], np.r_[a, np.roll(a, 1)], np.r_[np.ones(32, bool), np.zeros(32, bool)], np.arange(64) % 2)
    return FaceSet(crops, table, "toy"), embeddings, pairs


def kill_after(checkpoint: Path) -> None:
    """Ends this process by SIGKILL once there is a checkpoint: at some instant of the second epoch."""
    while not checkpoint.exists():
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    torch.set_num_threads(1)
    folder, epochs = Path(sys.argv[1]), int(sys.argv[2])
    if sys.argv[3:] == ["killed"]:
        threading.Thread(target=kill_after, args=(folder / "checkpoint.pt",), daemon=True).start()
    student = StudentSpec(16, 8, (8, 8, 8), (1, 1, 1))
    schedule = Schedule(epochs, batch=32, rate=2e-3, ema=0.9)
    with join_processes():
        with rank_zero_first():  # a file that all need is made by one
            if not (made := folder.with_name(f"{folder.name}.made")).exists():
                time.sleep(0.3)
                made.open("x").close()
        distillation.draw_curves = lambda run: None  # type: ignore[assignment]  # takes longer than the run
        distillation.distill(Recipe("toy", ("none.onnx",), student, LOSSES, schedule, quality=0.5), *toy(), folder)


if __name__ == "__main__":
    main()
