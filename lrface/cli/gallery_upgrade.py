"""The command that brings a gallery to other models."""

from __future__ import annotations

import sys

import click

from lrface.cli.galleries import gallery
from lrface.cli.options import GALLERY, MODELS, check_gallery
from lrface.cli.output import note, say
from lrface.errors import GalleryError


@gallery.command("upgrade")
@GALLERY
@click.option(
    "--photos",
    multiple=True,
    type=click.Path(),
    metavar="DIR",
    help="Where photos of enrolment are, at any depth and under any names; can be given several times.",
)
@click.option("--remove-missing", is_flag=True, help="Remove people of whom no photo is found.")
@MODELS
def gallery_upgrade(gallery: str, photos: tuple[str, ...], remove_missing: bool, models: str | None) -> None:
    """Bring GALLERY, which was made with other models, to the models in use: each photo is embedded again.

    Photos are recognised by their bytes. Where the gallery keeps aligned crops, no photos are needed. Either
    everything is changed or nothing.
    """
    from lrface.detection import open_detector
    from lrface.embedding.embedders import Embedder
    from lrface.enrolment.upgrade import upgrade_gallery
    from lrface.gallery import Contract
    from lrface.gallery.opening import is_on_server
    from lrface.gallery.store import Store
    from lrface.models.manifest import Manifest

    check_gallery(gallery)
    if is_on_server(gallery):
        raise GalleryError(
            "a collection in Milvus is of one model for ever: `lrface gallery export` it, import that into a file, "
            "upgrade the file, export it again and import that into a new collection"
        )
    manifest = Manifest.load(models)
    store = Store(gallery, None, create=False)
    try:
        contract = Contract.of(manifest)
        if store.contract == contract:
            note("the gallery is of these models already: nothing was changed")
            return
        embedder = Embedder(manifest.enrolment, manifest.folder)
        detector = open_detector(None, manifest=manifest)
        report = upgrade_gallery(store, contract, detector, embedder, photos, remove_missing, sys.stderr.isatty())
        for name, reason in report.lost:
            say(name, reason)
        for name in report.removed:
            say(name, "removed: no usable photo was found")
        store.compact()
        note(f"{report.people} people with {report.photos} photos are in the gallery now")
    finally:
        store.close()
