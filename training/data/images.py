"""Pictures with classes, read once from a folder and mapped from a cache, as faces are (``training.data.faces``)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from training.data.faces import FaceSet, write_cache
from training.data.layouts import TRAIN, VALIDATION, Item, list_items
from training.recipe import ImageSpec

HELD_OUT = 5
"""Of so many pictures of a class one is held out."""


def load_images(source: Path, spec: ImageSpec, cache: Path) -> FaceSet:
    """Read a set of pictures with classes, through the cache.

    Args:
        source: a folder of ``<class>/<picture>``, of ``train/<class>/...`` beside ``val/`` or ``test/``, or a set as
            it was released (``training.data.layouts``).
        spec: side, and what is held out. Pictures are squeezed to a square: nothing is cut off.
        cache: folder for derived files.

    Raises:
        FileNotFoundError: no pictures.
        ValueError: too few classes or pictures, or a damaged set.
    """
    items = split(list_items(source), spec.hold_out)
    digest = hashlib.sha256(f"{spec.size}:{spec.hold_out}\n".encode())
    for item in items:
        content = item.pixels.tobytes() if isinstance(item.pixels, np.ndarray) else str(_bytes(item.pixels)).encode()
        digest.update(f"{item.name}:{item.label}:{item.split}:".encode() + content + b"\n")
    key = digest.hexdigest()[:12]
    folder = cache / f"images-{key}"
    if not (folder / "faces.parquet").exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_cache(folder, _read(items, source.name, spec.size), spec.size)
    table = pd.read_parquet(folder / "faces.parquet")
    return FaceSet(np.load(folder / "crops.npy", mmap_mode="r"), table, key)


def split(items: list[Item], hold_out: str) -> list[Item]:
    """The pictures with their splits, see ``ImageSpec``.

    Raises:
        ValueError: too few classes or pictures to hold any out, or a released split that does not fit.
    """
    classes = sorted({item.label for item in items})
    if len(classes) < (4 if hold_out == "classes" else 2):
        raise ValueError(f"{len(classes)} classes: give at least four to hold out classes, two to hold out pictures")
    released = {part: {item.label for item in items if item.split == part} for part in (TRAIN, VALIDATION)}
    if all(released.values()):
        shared = released[TRAIN] & released[VALIDATION]
        if hold_out == "pictures" and not released[VALIDATION] <= released[TRAIN]:
            raise ValueError('the set is released in parts of different classes: set hold_out = "classes"')
        if hold_out == "pictures" or not shared:
            return items
    if hold_out == "classes":
        trained = set(classes[: len(classes) // 2])
        return [replace(item, split=TRAIN if item.label in trained else VALIDATION) for item in items]
    # By a hash of the name: files of one class may be in the order in which they were taken.
    held_out = set()
    for label in classes:
        names = sorted(
            (item.name for item in items if item.label == label),
            key=lambda name: hashlib.sha256(name.encode()).digest(),
        )
        held_out |= set(names[: len(names) // HELD_OUT])
    if not held_out:
        raise ValueError(f"no class has {HELD_OUT} pictures: one of {HELD_OUT} is held out; give more")
    return [replace(item, split=VALIDATION if item.name in held_out else TRAIN) for item in items]


def squeezed(picture: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """A picture uint8 ``[h, w, 3]``, resized to a square ``[size, size, 3]`` whatever its proportions."""
    if picture.shape[:2] == (size, size):
        return picture
    smaller = min(picture.shape[:2]) >= size
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (size, size), interpolation=how), np.uint8)


def _bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{file} is listed, but missing: unpack the whole set") from error


def _read(items: list[Item], source: str, size: int) -> Iterator[tuple[npt.NDArray[np.uint8], dict[str, object]]]:
    from lrface.errors import LrfaceError
    from lrface.inputs.images import read_image

    for item in tqdm(items, desc="read", unit="picture"):
        try:
            picture = read_image(item.pixels)
        except LrfaceError as error:
            tqdm.write(f"left out: {error}")
            continue
        row = {"name": item.name, "source": source, "identity": item.label, "split": item.split}
        yield squeezed(picture, size), {**row, "native_crop_px": min(picture.shape[:2])}
