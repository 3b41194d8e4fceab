"""``python -m training``: adapt, distil, export, calibrate, landmarks, detector."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from training.common.manifest import MODELS
from training.data.faces import default_cache, validation_faces
from training.detector.cli import detector
from training.embedder.recipes import load_recipe

SHARED = Path("../shared/data")


@click.group()
def main() -> None:
    """Make lrface's models: teachers in, ONNX students out."""


main.add_command(detector)

_faces = click.option("--faces", type=click.Path(exists=True, path_type=Path), default=SHARED / "train",
                      show_default=True, help="Folder of Parquet files, or people/<name>/*.jpg.")  # fmt: skip
_teachers = click.option("--teachers", type=click.Path(exists=True, path_type=Path), default=SHARED / "teachers",
                         show_default=True, help="Folder of the teachers' ONNX files.")  # fmt: skip
_cache = click.option("--cache", type=click.Path(path_type=Path), default=default_cache, help="For derived files.")
_threads = click.option("--threads", type=int, default=0, help="CPU threads; 0 leaves the choice to torch.")


@contextmanager
def _clear_errors(threads: int = 0) -> Iterator[None]:
    import torch

    from lrface.errors import LrfaceError

    if threads:
        torch.set_num_threads(threads)
    try:
        yield
    except (LrfaceError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_faces
@_teachers
@_cache
@click.option("--run", type=click.Path(path_type=Path), default=None, help="Folder of the run; <cache>/runs/<name>.")
@_threads
def distill(recipe: Path, faces: Path, teachers: Path, cache: Path, run: Path | None, threads: int) -> None:
    """Train the student of a RECIPE, its mixtures first; started again, it resumes.

    Several processes: torchrun --nproc-per-node 2 -m training distill RECIPE.
    """
    from training.common.processes import first_goes_first, join_processes
    from training.embedder.adapt import load_adaptation, load_low_teacher, open_bank
    from training.embedder.distill import distill as train
    from training.embedder.workplace import open_workplace

    with _clear_errors(threads), join_processes():
        plan = load_recipe(recipe)
        bank = None
        with first_goes_first():
            place = open_workplace(plan.teachers, faces, teachers, cache)
            if plan.bank.teacher:
                adaptation = load_adaptation(recipe.parent / "adapt" / f"{plan.bank.teacher}.toml")
                bank = open_bank(
                    plan, adaptation, lambda: load_low_teacher(adaptation, teachers, cache), place.faces, cache
                )
        folder = run or cache / "runs" / plan.name
        train(plan, place.faces, place.embeddings, place.pairs, folder, bank=bank, teachers=teachers)


@main.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_faces
@_teachers
@_cache
@_threads
def adapt(recipe: Path, faces: Path, teachers: Path, cache: Path, threads: int) -> None:
    """Fine-tune a teacher on up-scaled low-resolution faces (a training aid); started again, it resumes."""
    from training.embedder.adapt import adapt as tune
    from training.embedder.adapt import load_adaptation
    from training.embedder.workplace import open_workplace

    with _clear_errors(threads):
        plan = load_adaptation(recipe)
        place = open_workplace(plan.teachers, faces, teachers, cache)
        tune(plan, teachers, place.faces, place.embeddings, place.pairs, cache / "runs" / plan.name)


@main.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--models", type=click.Path(path_type=Path), default=MODELS, help="Models folder to ship it in.")
@_faces
@_teachers
@_cache
def export(run: Path, models: Path, faces: Path, teachers: Path, cache: Path) -> None:
    """Export the student of a RUN to ONNX: float32 and int8, parity check, manifest entries, card."""
    from training.embedder.distill import load_student
    from training.embedder.export import export as write
    from training.embedder.workplace import open_workplace

    with _clear_errors(1):
        place = open_workplace(load_student(run)[0].teachers, faces, teachers, cache)
        click.echo(write(run, models, place.faces, place.embeddings, place.pairs))


@main.command()
@click.option("--scenes", type=click.Path(exists=True, path_type=Path), default=SHARED / "scenes", show_default=True,
              help="Folder of scenes.zip and boxes.csv.")  # fmt: skip
@click.option("--teacher", type=click.Path(exists=True, path_type=Path), show_default=True,
              default=SHARED / "detectors" / "yunet_n_dynamic.onnx", help="YuNet, for the landmarks.")  # fmt: skip
@click.option("--run", type=click.Path(path_type=Path), default=None, help="Folder of the run; <cache>/runs/landmarks.")
@click.option("--models", type=click.Path(exists=True, path_type=Path), default=MODELS)
@_faces
@_cache
@_threads
def landmarks(
    scenes: Path, teacher: Path, run: Path | None, models: Path, faces: Path, cache: Path, threads: int
) -> None:
    """Train and export the landmarks' second look; started again, it resumes."""
    from training.landmarks.make import make

    with _clear_errors(threads):
        click.echo(make(scenes, faces, teacher, cache, run or cache / "runs" / "landmarks", models))


@main.command()
@click.option("--faces", type=click.Path(exists=True, path_type=Path), default=SHARED / "train", show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), default=default_cache)
@click.option("--models", type=click.Path(exists=True, path_type=Path), default=MODELS)
def calibrate(faces: Path, cache: Path, models: Path) -> None:
    """Measure the shipped models' impostor scores on the validation people: models/calibration.json."""
    from training.embedder.calibrate import calibrate as measure

    with _clear_errors():
        result = measure(models, validation_faces(faces, cache))
    for item in result["impostor"]:
        click.echo(f"probe {item['probe_level']}, gallery {item['gallery_level']}: {item['comparisons']} comparisons")
    click.echo(f"best gallery level: {result['gallery_level']}")
