"""Brings a gallery to other models: every photo is embedded again, from its file or from the crop that was kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lrface.embedding.embedders import Embedder
from lrface.enrolment.portraits import Portrait, cut_portrait
from lrface.errors import GalleryError, LrfaceError
from lrface.gallery import Contract, PhotoTemplate
from lrface.gallery.store import Store
from lrface.inputs.images import read_image
from lrface.inputs.sources import read_source

if TYPE_CHECKING:
    from lrface.detection import FaceDetector

BATCH = 64
CROP_SIDE = 112  # pixels of a kept crop


@dataclass(frozen=True, slots=True)
class UpgradeReport:
    """What an upgrade did.

    Attributes:
        people: Who are in the gallery now.
        photos: How many were embedded again.
        lost: Names and reasons of photos that are not in the gallery any more.
        removed: Names of people of whom no photo was found.
    """

    people: int
    photos: int
    lost: tuple[tuple[str, str], ...] = ()
    removed: tuple[str, ...] = ()


def upgrade_gallery(
    store: Store,
    contract: Contract,
    detector: FaceDetector,
    embedder: Embedder,
    folders: Iterable[str | PathLike[str]] = (),
    remove_missing: bool = False,
    progress: bool = False,
) -> UpgradeReport:
    """Embeds every photo again and puts the new templates into the gallery, all in one transaction.

    Args:
        store: Of a gallery of other models, opened without a contract.
        contract: Of the new models.
        detector: Finds the faces in photos' files.
        embedder: The network of enrolment of the new models.
        folders: Where the files of enrolment are, at any depth; they are recognised by their SHA-256, whatever their
            names are now.
        remove_missing: Whether people of whom no photo is found are removed; else they are an error.
        progress: Shows a progress bar on stderr.

    Raises:
        GalleryError: Somebody would be left without a photo, or the file cannot be written: nothing is changed then.
    """
    from tqdm import tqdm

    people = store.contents().people
    if store.contract == contract:
        return UpgradeReport(len(people), 0)
    wanted = {photo.sha256 for person in people for photo in person.photos if not photo.crop}
    files = _files_by_hash(folders, store, wanted)
    templates: dict[str, PhotoTemplate] = {}
    lost: list[tuple[str, str]] = []
    waiting: list[tuple[PhotoTemplate, Portrait]] = []
    for person in tqdm(people, unit="person", disable=not progress):
        for photo in person.photos:
            try:
                waiting.append((photo, _portrait(photo, files.get(photo.sha256), detector)))
            except LrfaceError as error:
                lost.append((person.name, str(error)))
            if len(waiting) >= BATCH:
                _embed(waiting, embedder, templates)
    _embed(waiting, embedder, templates)
    missing = [person.name for person in people if not any(photo.sha256 in templates for photo in person.photos)]
    if missing and (not remove_missing or len(missing) == len(people)):
        raise GalleryError(_told(missing, lost))
    store.upgrade(contract, templates, remove_missing)
    return UpgradeReport(len(people) - len(missing), len(templates), tuple(lost), tuple(missing))


def _files_by_hash(folders: Iterable[str | PathLike[str]], store: Store, wanted: set[str]) -> dict[str, Path]:
    """Files by the hash under which the gallery holds them; only those that are wanted."""
    found: dict[str, Path] = {}
    for folder in folders:
        root = Path(folder)
        if not root.is_dir():
            raise GalleryError(f"{root} is no folder: give the one that holds the photos of enrolment")
        for file in sorted(root.rglob("*")):
            if len(found) == len(wanted):
                return found
            if not file.is_file():
                continue
            try:
                content = read_source(file)
            except LrfaceError:
                continue
            if isinstance(content, bytes):
                sha256 = store.cipher.lookup(hashlib.sha256(content).hexdigest())
                if sha256 in wanted:
                    found[sha256] = file
    return found


def _portrait(photo: PhotoTemplate, file: Path | None, detector: FaceDetector) -> Portrait:
    if photo.crop:
        crop = read_image(photo.crop, max_pixels=CROP_SIDE**2)
        if crop.shape != (CROP_SIDE, CROP_SIDE, 3):
            raise GalleryError(f"the kept crop of {photo.sha256[:12]} has a wrong size: enrol the photo again")
        return Portrait(photo.sha256, crop, photo.native_px)
    if file is None:
        raise GalleryError(f"the photo {photo.sha256[:12]} is in none of the folders: give its folder with --photos")
    content = read_source(file)
    if not isinstance(content, bytes):
        raise GalleryError(f"{file} cannot be read as a file: copy it to a folder")
    return cut_portrait(content, photo.sha256, detector)


def _embed(
    waiting: list[tuple[PhotoTemplate, Portrait]], embedder: Embedder, templates: dict[str, PhotoTemplate]
) -> None:
    """Embeds what waits, and empties the list."""
    if not waiting:
        return
    vectors, qualities = embedder.embed_with_quality(np.stack([portrait.crop for _, portrait in waiting]))
    for (old, portrait), vector, quality in zip(waiting, vectors, qualities, strict=True):
        templates[old.sha256] = PhotoTemplate(
            old.sha256, portrait.native_px, vector, quality, crop=old.crop, added=old.added
        )
    waiting.clear()


def _told(missing: Sequence[str], lost: Sequence[tuple[str, str]]) -> str:
    names = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    why = f" ({lost[0][1]})" if lost else ""
    return (
        f"no usable photo of {names} was found{why}: give the folders of enrolment with --photos, or leave them out "
        "with --remove-missing; nothing was changed"
    )
