"""``python -m training.detector train|export``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
import cv2
import torch

from training.detector.scenes import load_pastes, load_scenes
from training.detector.train import Recipe, Trainer
from training.detector.train import train as run
from training.faces import default_cache


@click.group()
def main() -> None:
    """Make the face detector."""


@main.command()
@click.option("--scenes", type=click.Path(path_type=Path), required=True, help="Folder of scenes.zip and boxes.csv.")
@click.option("--faces", type=click.Path(path_type=Path), required=True, help="Aligned faces: *.parquet or people/.")
@click.option("--teacher", type=click.Path(path_type=Path), required=True, help="YuNet, for the landmarks.")
@click.option("--cache", type=click.Path(path_type=Path), default=default_cache, help="For decoded pictures.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Gets last.pt and log.jsonl.")
@click.option("--steps", type=int, default=Recipe.steps, show_default=True)
@click.option("--pastes", type=int, default=20000, show_default=True, help="Aligned faces to look at.")
@click.option("--threads", type=int, default=1, show_default=True)
@click.option("--every", type=int, default=1000, show_default=True, help="Steps between validations.")
@click.option("--resume", is_flag=True, help="Go on from last.pt.")
def train(
    scenes: Path, faces: Path, teacher: Path, cache: Path, out: Path, steps: int, pastes: int, threads: int,
    every: int, resume: bool,
) -> None:  # fmt: skip
    """Train from scratch, or go on."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    pictures = load_scenes(scenes, cache / "detector", teacher)
    crops = load_pastes(faces, cache / "detector", teacher, pastes, cache)
    pictures.mend_landmarks(crops.shape)
    recipe = dataclasses.replace(Recipe(), steps=steps)
    trainer = Trainer.resume(out / "last.pt", steps=steps) if resume else Trainer(recipe)
    run(trainer, pictures, crops, out, every)


if __name__ == "__main__":
    main()
