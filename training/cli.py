"""``python -m training``: adapt, distil, export, export-images, remap, calibrate, landmarks, detector."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from training.common.manifest import MODELS
from training.data.faces import default_cache, validation_faces
from training.detector.cli import detector
from training.embedder.recipes import load_recipe


@click.group()
def main() -> None:
    """Train, export and calibrate lrface's models."""


main.add_command(detector)

_faces = click.option("--faces", type=click.Path(exists=True, path_type=Path), required=True, envvar="LRFACE_FACES",
                      show_envvar=True, help="Folder of Parquet files, or people/<name>/*.jpg.")  # fmt: skip
_teachers = click.option("--teachers", type=click.Path(exists=True, path_type=Path), required=True,
                         envvar="LRFACE_TEACHERS", show_envvar=True,
                         help="Folder of the teachers' ONNX files.")  # fmt: skip
_cache = click.option("--cache", type=click.Path(path_type=Path), default=default_cache, envvar="LRFACE_CACHE",
                      show_envvar=True, help="Folder for derived files.  [default: ~/.cache/lrface]")  # fmt: skip
_threads = click.option("--threads", type=int, default=0, help="CPU threads; 0: torch's default.")


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
@click.option(
    "--faces",
    type=click.Path(exists=True, path_type=Path),
    default=None,
    envvar="LRFACE_FACES",
    show_envvar=True,
    help="Folder of Parquet files, or people/<name>/*.jpg.",
)
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=None,
    help="For a recipe with [images]: folder of <class>/<picture>, or a set as it was released.",
)
@click.option(
    "--teachers",
    type=click.Path(exists=True, path_type=Path),
    default=None,
    envvar="LRFACE_TEACHERS",
    show_envvar=True,
    help="Folder of the teachers' ONNX files, if the recipe names any.",
)
@_cache
@click.option(
    "--run", type=click.Path(path_type=Path), default=None, help="Folder of the run.  [default: <cache>/runs/<name>]"
)
@_threads
def distill(
    recipe: Path, faces: Path | None, images: Path | None, teachers: Path | None, cache: Path, run: Path | None,
    threads: int,
) -> None:  # fmt: skip
    """Train the student of a RECIPE; started again, it resumes. Synthetic mixtures are made first if it uses them.

    Several processes: torchrun --nproc-per-node 2 -m training distill RECIPE.
    """
    from training.common.processes import join_processes, rank_zero_first
    from training.embedder.adapt import LowResolutionTeacher, load_adaptation, load_low_resolution_teacher, open_bank
    from training.embedder.distill import distill as train
    from training.embedder.training_data import open_image_data, open_training_data

    with _clear_errors(threads), join_processes():
        plan = load_recipe(recipe)
        folder = run or cache / "runs" / plan.name
        if plan.images is not None:
            if images is None:
                raise click.UsageError(f"{recipe} is for pictures with classes: give --images FOLDER")
            with rank_zero_first():
                pictures = open_image_data(plan.teachers, plan.images, images, teachers, cache)
            train(plan, pictures.images, pictures.embeddings, None, folder)
            return
        if images is not None:
            raise click.UsageError(f"{recipe} is for faces: it has no table [images]; give --faces FOLDER")
        if faces is None or teachers is None:
            raise click.UsageError(f"{recipe} is for faces: give --faces FOLDER and --teachers FOLDER")
        bank = None
        with rank_zero_first():
            data = open_training_data(plan.teachers, faces, teachers, cache)
            if plan.bank.teacher:
                adaptation = load_adaptation(recipe.parent / "adapt" / f"{plan.bank.teacher}.toml")

                def load() -> LowResolutionTeacher:
                    return load_low_resolution_teacher(adaptation, teachers, cache)

                bank = open_bank(plan, adaptation, load, data.faces, cache)
        train(plan, data.faces, data.embeddings, data.pairs, folder, bank=bank, teachers=teachers)


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
    from training.embedder.training_data import open_training_data

    with _clear_errors(threads):
        plan = load_adaptation(recipe)
        data = open_training_data(plan.teachers, faces, teachers, cache)
        tune(plan, teachers, data.faces, data.embeddings, data.pairs, cache / "runs" / plan.name)


@main.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--models", type=click.Path(path_type=Path), default=MODELS, help="Models folder to write to.", show_default=True
)
@_faces
@_teachers
@_cache
def export(run: Path, models: Path, faces: Path, teachers: Path, cache: Path) -> None:
    """Export the student of a RUN to ONNX: float32 and int8, parity check, manifest entries, card."""
    from training.embedder.distill import load_student
    from training.embedder.export import export as write
    from training.embedder.training_data import open_training_data

    with _clear_errors(1):
        data = open_training_data(load_student(run)[0].teachers, faces, teachers, cache)
        click.echo(write(run, models, data.faces, data.embeddings, data.pairs))


@main.command("export-images")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), required=True, help="Folder to write to; it must be new.")
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder that the run was trained on.",
)
@_cache
def export_images(run: Path, to: Path, images: Path, cache: Path) -> None:
    """Export a RUN on pictures: the network as ONNX, checked against torch, and a JSON file that says how to use it."""
    from training.embedder.export_images import export_images as write

    with _clear_errors(1):
        click.echo(write(run, to, images, cache))


@main.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--space-of", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True,
              help="Folder of the run whose space it is.")  # fmt: skip
@click.option("--models", type=click.Path(exists=True, path_type=Path), default=MODELS, show_default=True,
              help="Models folder.")  # fmt: skip
@_faces
@_teachers
@_cache
def remap(names: tuple[str, ...], space_of: Path, models: Path, faces: Path, teachers: Path, cache: Path) -> None:
    """Carry networks of a models folder over to another run's space by one matrix each, without training them again.

    The NAMEs are the manifest's. Their files, float32 and int8, their entries and their cards are replaced.
    """
    from training.embedder.distill import load_student
    from training.embedder.remap import remap as carry
    from training.embedder.training_data import open_training_data

    with _clear_errors(1):
        data = open_training_data(load_student(space_of)[0].teachers, faces, teachers, cache)
        for name in names:
            found = carry(name, models, space_of, data.faces, data.embeddings, data.pairs)
            click.echo(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in found.items()))


@main.command()
@click.option("--scenes", type=click.Path(exists=True, path_type=Path), required=True, envvar="LRFACE_SCENES",
              show_envvar=True, help="Folder of scenes.zip and boxes.csv.")  # fmt: skip
@click.option("--teacher", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True,
              help="ONNX file of YuNet, which labels the landmarks.")  # fmt: skip
@click.option(
    "--run", type=click.Path(path_type=Path), default=None, help="Folder of the run.  [default: <cache>/runs/landmarks]"
)
@click.option("--models", type=click.Path(exists=True, path_type=Path), default=MODELS, show_default=True,
              help="Models folder.")  # fmt: skip
@_faces
@_cache
@_threads
def landmarks(
    scenes: Path, teacher: Path, run: Path | None, models: Path, faces: Path, cache: Path, threads: int
) -> None:
    """Train and export the network that refines landmarks; started again, it resumes."""
    from training.landmarks.make import make

    with _clear_errors(threads):
        click.echo(make(scenes, faces, teacher, cache, run or cache / "runs" / "landmarks", models))


@main.command()
@_faces
@_cache
@click.option("--models", type=click.Path(exists=True, path_type=Path), default=MODELS, show_default=True,
              help="Models folder.")  # fmt: skip
def calibrate(faces: Path, cache: Path, models: Path) -> None:
    """Measure the shipped models' impostor scores on the validation people: models/calibration.json."""
    from lrface.measuring.cross_validation import ratio_table
    from training.embedder.calibrate import calibrate as measure

    with _clear_errors():
        result, ratios = measure(models, validation_faces(faces, cache))
    for band in result["probes"]:
        low, high = band["widths"]
        click.echo(
            f"{band['network']}, {low:g} to {high or 'any'} px: {band['curves'][0]['comparisons']} comparisons with "
            f"templates of one photo, too poor below quality {band['min_quality']}"
        )
    click.echo(ratio_table(ratios))
