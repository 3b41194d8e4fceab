"""Commands that find and correct mistakes: gallery check, gallery not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from lrface.cli.galleries import gallery
from lrface.cli.options import GALLERY, JSON, MODELS, check_gallery, matcher_options
from lrface.cli.output import note, say, say_json
from lrface.errors import GalleryError, GalleryInUseError

if TYPE_CHECKING:
    from lrface.matcher import FaceMatcher
    from lrface.types import FloatArray


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


@gallery.command("not")
@GALLERY
@click.argument("name")
@click.argument("picture", type=click.Path(dir_okay=False))
@click.option("--undo", is_flag=True, help="Take back what was said of this picture.")
@matcher_options
def not_this_person(
    gallery: str, name: str, picture: str, undo: bool, open_matcher: Callable[..., FaceMatcher]
) -> None:
    """Say that the face in PICTURE that is named NAME (a name or an id) is not NAME.

    A template of the face is kept with NAME, so that faces more like it than like NAME's photos are not named NAME
    again.
    """
    with open_matcher(gallery) as matcher:
        person = matcher.gallery.person(name)
        faces = matcher.identify(picture)
        if undo:
            known = [face.embedding for face in faces if len(face.embedding)]
            count = sum(_taken_back(matcher, person.id, vector) for vector in known)
            if not count:
                raise GalleryError(f"{person.name} has no negative example from {picture}: nothing was changed")
            note(f"{count} negative examples of {person.name} removed")
            return
        named = [face.embedding for face in faces if face.person == person.id]
        if not named:
            raise GalleryError(
                f"no face in {picture} is named {person.name}: give a picture in which the wrong name appears"
            )
        for vector in named:
            matcher.gallery.add_negative(person.id, vector)
    note(f"{len(named)} faces are kept as not {person.name}")


def _taken_back(matcher: FaceMatcher, identity: str, vector: FloatArray) -> bool:
    try:
        matcher.gallery.remove_negative(identity, vector)
    except GalleryInUseError:
        raise
    except GalleryError:  # there is no such example
        return False
    return True
