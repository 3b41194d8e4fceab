"""Commands that find and correct mistakes in a gallery."""

from __future__ import annotations

import sys

import click

from lrface.cli.galleries import gallery
from lrface.cli.options import GALLERY, JSON, MODELS, check_gallery
from lrface.cli.output import note, say, say_json


@gallery.command("check")
@GALLERY
@click.option("--fix", "fixes", is_flag=True, help="Remove the photos marked 'removable'; nothing else is changed.")
@MODELS
@JSON
def check(gallery: str, fixes: bool, models: str | None, as_json: bool) -> None:
    """List what may be wrong in GALLERY, each with a suggestion.

    Photos unlike the rest of their person, people who may be named as one another, photos that look like many people,
    and photos too poor to be recognised by. A photo that is a person's last is never removed, and people are never
    merged.
    """
    from lrface.decisions.calibration import Calibration
    from lrface.enrolment.checking import check_gallery as look
    from lrface.enrolment.checking import fix
    from lrface.gallery import Contract, Gallery
    from lrface.models.manifest import Manifest

    check_gallery(gallery)
    manifest = Manifest.load(models)
    with Gallery.open(gallery, Contract.of(manifest)) as opened:
        findings = look(opened, Calibration.of(manifest), sys.stderr.isatty())
        for found in findings:
            if as_json:
                say_json({key: getattr(found, key) for key in found.__slots__})
            else:
                mark = "removable" if found.removable else "-"
                say(found.kind, mark, found.name, found.photo[:16] or "-", found.suggestion)
        photos = len({(found.person_id, found.photo) for found in findings if found.removable})
        if not fixes:
            advice = "; remove them with --fix" if photos else ""
            note(f"{len(findings)} findings, {photos} photos can be removed{advice}; nothing was changed")
            return
        fix(opened, findings)
        if photos:
            opened.compact()
        note(f"{len(findings)} findings, {photos} photos removed")
