"""``python -m training``: distil, export, calibrate."""

from __future__ import annotations

from pathlib import Path

import click

from training.faces import default_cache, load_faces, validation_faces
from training.manifest import MODELS
from training.recipe import load_recipe

SHARED = Path("../shared/data")
RESULTS = MODELS.parent / "benchmarks" / "results"


@click.group()
def main() -> None:
    """Make lrface's models: teachers in, ONNX students out."""


@main.command()
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--faces", type=click.Path(exists=True, path_type=Path), default=SHARED / "train", show_default=True,
              help="Folder of Parquet files, or people/<name>/*.jpg.")  # fmt: skip
@click.option("--teachers", type=click.Path(exists=True, path_type=Path), default=SHARED / "teachers",
              show_default=True, help="Folder of the teachers' ONNX files.")  # fmt: skip
@click.option("--cache", type=click.Path(path_type=Path), default=default_cache, help="Folder for derived files.")
@click.option("--run", type=click.Path(path_type=Path), default=None, help="Folder of the run; <cache>/runs/<name>.")
@click.option("--threads", type=int, default=0, help="CPU threads; 0 leaves the choice to torch.")
def distill(recipe: Path, faces: Path, teachers: Path, cache: Path, run: Path | None, threads: int) -> None:
    """Train the student of a RECIPE; started again, it resumes."""
    import torch

    from lrface.errors import LrfaceError
    from training.bank import Bank, bank_folder
    from training.distill import distill as train
    from training.teachers import cached_embeddings, open_teachers
    from training.validate import load_pairs, make_pairs

    if threads:
        torch.set_num_threads(threads)
    try:
        plan = load_recipe(recipe)
        data = load_faces(faces, cache)
        guides = open_teachers(plan.teachers, teachers)
        embeddings = cached_embeddings(guides, data, cache)
        listed = faces / "val_pairs.csv"
        pairs = load_pairs(listed, data) if listed.exists() else make_pairs(data)
        bank = Bank(bank_folder(cache, plan), plan.bank.shards) if plan.bank.teacher else None
        train(plan, data, embeddings, pairs, run or cache / "runs" / plan.name, bank=bank)
    except (LrfaceError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--models", type=click.Path(path_type=Path), default=MODELS, help="Models folder to ship it in.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="The benchmarks' JSON, for the card.")
def export(run: Path, models: Path, results: Path) -> None:
    """Export the student of a RUN to ONNX, with parity check, manifest entry and card."""
    from training.export import export as write

    try:
        click.echo(write(run, models, results))
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.option("--faces", type=click.Path(exists=True, path_type=Path), default=SHARED / "train", show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), default=default_cache)
@click.option("--models", type=click.Path(exists=True, path_type=Path), default=MODELS)
def calibrate(faces: Path, cache: Path, models: Path) -> None:
    """Measure the shipped models' impostor scores on the validation people: models/calibration.json."""
    from lrface.errors import LrfaceError
    from training.calibrate import calibrate as measure

    try:
        result = measure(models, validation_faces(faces, cache))
    except (LrfaceError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    for item in result["impostor"]:
        click.echo(f"probe {item['probe_level']}, gallery {item['gallery_level']}: {item['comparisons']} comparisons")
    click.echo(f"best gallery level: {result['gallery_level']}")
