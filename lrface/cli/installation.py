"""Commands that show and check what is installed: demo, models list, models verify, doctor."""

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
    """List the models and check their hashes."""


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
