"""``python -m training detector train|export|quantize``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import click
import cv2
import torch

from training.common.manifest import MODELS
from training.data.faces import default_cache
from training.detector.batches import Batches
from training.detector.recipe import Recipe
from training.detector.scenes import PasteSet, SceneSet, load_pastes, load_scenes
from training.detector.targets import Teacher
from training.detector.train import Trainer
from training.detector.train import train as run


@click.group()
def detector() -> None:
    """Train and export the face detector."""


_models = click.option("--models", type=click.Path(path_type=Path), default=MODELS, show_default=True)


def _given(option: str, variable: str, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option for a folder of data, which an environment variable may name as well."""
    return click.option(
        option, type=click.Path(path_type=Path), required=True, envvar=variable, show_envvar=True, help=text
    )


def _data(command: Callable[..., None]) -> Callable[..., None]:
    """The options that name the data."""
    for option in (
        click.option("--pastes", type=int, default=64000, show_default=True, help="Aligned faces to label."),
        click.option("--cache", type=click.Path(path_type=Path), default=default_cache, help="For decoded pictures."),
        click.option(
            "--teacher", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True, help="YuNet-n."
        ),
        _given("--faces", "LRFACE_FACES", "Aligned faces: *.parquet or people/."),
        _given("--scenes", "LRFACE_SCENES", "Folder of scenes.zip and boxes.csv."),
    ):
        command = option(command)
    return command


def _load(scenes: Path, faces: Path, teacher: Path, cache: Path, pastes: int) -> tuple[SceneSet, PasteSet]:
    try:
        pictures = load_scenes(scenes, cache / "detector", teacher)
        crops = load_pastes(faces, cache / "detector", teacher, pastes, cache)
    except (FileNotFoundError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    pictures.remove_landmark_bias(crops.shape)
    return pictures, crops


@detector.command()
@_data
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for last.pt and log.jsonl.")
@click.option("--steps", type=int, default=Recipe.steps, show_default=True)
@click.option("--threads", type=int, default=1, show_default=True)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Processes that prepare batches: 0, 1, 2 or 4.",
)
@click.option("--every", type=int, default=1000, show_default=True, help="Steps between validations.")
@click.option(
    "--begin",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Start with the weights of this last.pt, or of an exported float32/lrface-detector.onnx.",
)
@click.option("--resume", is_flag=True, help="Continue from last.pt.")
def train(
    scenes: Path, faces: Path, teacher: Path, cache: Path, pastes: int, out: Path, steps: int, threads: int,
    workers: int, every: int, begin: Path | None, resume: bool,
) -> None:  # fmt: skip
    """Train from scratch, from another run's weights, or continue a run."""
    if begin and resume:
        raise click.UsageError("--begin starts a run and --resume continues one: give one of them")
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    recipe = dataclasses.replace(Recipe(), steps=steps)
    try:
        asked = Teacher(teacher)
        trainer = Trainer.resume(out / "last.pt", steps=steps) if resume else Trainer(recipe)
        pictures, crops = _load(scenes, faces, teacher, cache, pastes)
        batches = Batches(pictures, crops, asked, trainer.recipe)
        if begin:
            trainer.begin(begin, batches)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    run(trainer, batches, out, every, workers)


@detector.command()
@_data
@click.option("--checkpoint", type=click.Path(path_type=Path), required=True, help="last.pt of a run.")
@click.option("--note", default="", help="A sentence about this run for the card.")
@_models
def export(
    scenes: Path, faces: Path, teacher: Path, cache: Path, pastes: int, checkpoint: Path, note: str, models: Path
) -> None:
    """Write models/lrface-detector.onnx, its float32 form, its card and its manifest entry."""
    from training.detector.export import export as write

    pictures, _ = _load(scenes, faces, teacher, cache, pastes)
    click.echo(write(checkpoint, pictures, models, note))


@detector.command()
@_given("--scenes", "LRFACE_SCENES", "Folder of scenes.zip.")
@_models
def quantize(scenes: Path, models: Path) -> None:
    """Write models/lrface-detector.onnx and its manifest entry anew, from its float32 form."""
    from training.detector.export import quantize_shipped

    try:
        click.echo(quantize_shipped(scenes, models))
    except FileNotFoundError as error:
        raise click.UsageError(f"{error}: give the folders of scenes.zip and of an earlier export") from error
