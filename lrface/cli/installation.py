"""Commands that show, check and add what is installed: demo, models list, models verify, models add, doctor."""

from __future__ import annotations

from pathlib import Path

import click

from lrface.cli.options import DEVICE_HELP, MODELS
from lrface.cli.output import note, say
from lrface.errors import LrfaceError
from lrface.redaction import shown


@click.command()
@click.option("--out", default="lrface-demo", show_default=True, type=click.Path(file_okay=False), help="Folder.")
def demo(out: str) -> None:
    """Make a surveillance clip, enrol one of its two people, identify both."""
    from lrface.cli.demo import run

    run(Path(out), lambda line: say(shown(line)))


@click.group()
def models() -> None:
    """List the models, check their hashes, add a network of your own."""


@models.command("list")
@MODELS
@click.option("--device", help=f"Also open each model there, and say what runs it. {DEVICE_HELP}")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1), help="CPU threads a network.")
def models_list(models: str | None, device: str | None, threads: int) -> None:
    """List the models of the manifest."""
    from lrface.models.manifest import Manifest
    from lrface.models.sessions import describe, open_session

    manifest = Manifest.load(models)
    for entry in manifest.entries:
        runs_on = []
        if device is not None:
            runs_on = [describe(open_session(manifest.read(entry), entry.sha256, device, threads))]
        say(entry.name, entry.file, entry.sha256[:12], entry.license, *runs_on)
    note(f"in {manifest.folder}")


@models.command("verify")
@MODELS
def models_verify(models: str | None) -> None:
    """Compare each model's SHA-256 with the manifest's, and the calibration with the models."""
    from lrface.decisions.calibration import Calibration
    from lrface.models.manifest import Manifest

    manifest = Manifest.load(models)
    found = manifest.verify()
    for status in found:
        say(status.name, status.detail)
    Calibration.of(manifest)
    say("calibration", "ok")
    if not all(status.ok for status in found):
        raise LrfaceError("a model is not what the manifest says: reinstall lrface or restore the file")


@models.command("add")
@click.argument("network", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--to", "folder", required=True, type=click.Path(path_type=Path), metavar="DIR",
              help="New models folder, for --models.")  # fmt: skip
@click.option("--people", required=True, type=click.Path(path_type=Path), metavar="DIR",
              help="people/<name>/*.jpg, on whom the thresholds are measured.")  # fmt: skip
@click.option("--channels", required=True, type=click.Choice(("RGB", "BGR")), help="Order that the network takes.")
@click.option("--mean", required=True, type=float, help="Taken from each value of 0 to 255.")
@click.option("--std", type=float, help="Divides after that; or give --scale.")
@click.option("--scale", type=float, help="Multiplies after that.")
@click.option("--size", type=click.IntRange(8, 112), help="Side of the input in pixels. Default: as the file says.")
@click.option("--license", "terms", default="unknown", show_default=True, help="The network's terms, for the manifest.")
def models_add(
    network: Path, folder: Path, people: Path, channels: str, mean: float, std: float | None, scale: float | None,
    size: int | None, terms: str,
) -> None:  # fmt: skip
    """Make a models folder of your own embedder, an ONNX file for aligned faces, and measure its thresholds."""
    from lrface.detection import open_detector
    from lrface.measuring.own_network import Preprocessing, add_network

    if (std is None) == (scale is None) or std == 0:
        raise click.UsageError("give --std, which is not 0, or --scale")
    how = Preprocessing(channels, mean, 1 / std if std is not None else scale or 0.0, size)
    added = add_network(network, folder, people, how, open_detector(), terms)
    for photo, reason in added.left_out:
        note(f"left out: {photo}: {reason}")
    say(added.name, f"{added.people} people", f"{added.photos} photos")
    note(f"made: {folder}; use it with --models {folder} and a gallery of its own")


@click.command()
def doctor() -> None:
    """Check this installation; each problem is shown with its fix."""
    from lrface.cli.doctor import examine

    broken = 0
    for finding in examine():
        for line in str(finding).splitlines():
            say(line)
        broken += not finding.ok
    if broken:
        raise LrfaceError(f"{broken} problems found; the fixes are above")
