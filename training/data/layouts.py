"""Sets of pictures with classes as they are released: Cars196, CUB-200-2011, SOP, CIFAR-100, SVHN, or plain folders.

A reader lists the pictures of a folder; a set is recognised by the files that its release has. Nothing is unpickled:
CIFAR-100 is read from its binary version.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

TRAIN, VALIDATION = "train", "val"
HELD_OUT_FOLDERS = ("val", "test")


@dataclass(frozen=True)
class Item:
    """One picture of a set.

    Attributes:
        name: of the picture, unique in the set.
        label: of its class. Classes are ordered by it.
        split: ``"train"`` or ``"val"`` as released, "" where the set has no split.
        pixels: its file, or uint8 ``[h, w, 3]``, BGR.
    """

    name: str
    label: str
    split: str
    pixels: Path | npt.NDArray[np.uint8]


def list_items(source: Path) -> list[Item]:
    """The pictures of a folder, in the layout that it has.

    Raises:
        FileNotFoundError: it has none of the layouts, or a file of its layout is missing.
        ValueError: a file of its layout cannot be read.
    """
    for needed, reader in LAYOUTS.values():
        if (source / needed).exists():
            return reader(source)
    return _folders(source)


def _folders(source: Path) -> list[Item]:
    """``<class>/<picture>``, or ``train/<class>/<picture>`` beside ``val`` or ``test``."""
    held_out = next((source / name for name in HELD_OUT_FOLDERS if (source / name).is_dir()), None)
    parts = [(source, "")]
    if held_out and (source / "train").is_dir():
        parts = [(source / "train", TRAIN), (held_out, VALIDATION)]
    found = [
        Item(str(file.relative_to(source)), file.relative_to(folder).parts[0], split, file)
        for folder, split in parts
        for file in _pictures(folder)
    ]
    if not found:
        raise FileNotFoundError(
            f"{source}: no <class>/<picture> folders, and no set that is known: {', '.join(LAYOUTS)}"
        )
    return found


def _pictures(folder: Path) -> list[Path]:
    from lrface.inputs.folders import list_pictures

    return [file for file in list_pictures(folder).pictures if len(file.relative_to(folder).parts) > 1]


def _cars(source: Path) -> list[Item]:
    """Cars196's training half: ``cars_train/00001.jpg`` and the class of each in a line of its own."""
    labels = (source / "train_perfect_preds.txt").read_text().split()
    found = []
    for file in sorted((source / "cars_train").glob("*.jpg")):
        if not file.stem.isdigit() or not 0 < int(file.stem) <= len(labels):
            raise ValueError(f"{file}: train_perfect_preds.txt has {len(labels)} lines and none for this picture")
        found.append(Item(file.stem, f"{int(labels[int(file.stem) - 1]):03d}", "", file))
    return found


def _whole_cars(source: Path) -> list[Item]:
    """Cars196, all 16,185 pictures: ``cars_annos.mat`` (``relative_im_path``, ``class``) and ``car_ims/``."""
    held = _mat(source / "cars_annos.mat", "annotations")
    try:
        listed = [(str(row["relative_im_path"]), int(row["class"])) for row in np.atleast_1d(held["annotations"])]
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{source / 'cars_annos.mat'}: no relative_im_path and class of each picture") from error
    return [Item(path, f"{number:03d}", "", source / path) for path, number in listed]


def _mat(file: Path, *names: str) -> dict[str, Any]:
    """The arrays of a MATLAB file, without their axes of length 1.

    Raises:
        ValueError: it is damaged, or an array is missing.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        held: dict[str, Any] = loadmat(file, squeeze_me=True)
    except (MatReadError, ValueError, TypeError, NotImplementedError) as error:
        raise ValueError(f"{file} cannot be read: {error}; fetch it again") from error
    if missing := [name for name in names if name not in held]:
        raise ValueError(f"{file} has no {' and no '.join(missing)}; fetch it again")
    return held


def _cub(source: Path) -> list[Item]:
    """CUB-200-2011: ``images.txt`` (id, path below ``images/``) and ``image_class_labels.txt`` (id, class)."""
    labels = dict(_pairs(source / "image_class_labels.txt"))
    return [
        Item(path, f"{int(labels[number]):03d}", "", source / "images" / path)
        for number, path in _pairs(source / "images.txt")
    ]


def _pairs(file: Path) -> list[tuple[str, str]]:
    """Lines of two words, separated by a blank or by a comma."""
    found = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        words = re.split(r"[,\s]+", line.strip(), maxsplit=1)
        if words == [""]:
            continue
        if len(words) != 2:
            raise ValueError(f"{file}: line {number} is {line!r}, expected two words")
        found.append((words[0], words[1]))
    return found


def _sop(source: Path) -> list[Item]:
    """Stanford Online Products: ``Ebay_train.txt`` and ``Ebay_test.txt`` (image_id class_id super_class_id path)."""
    found = []
    for split, name in ((TRAIN, "Ebay_train.txt"), (VALIDATION, "Ebay_test.txt")):
        for number, line in enumerate((source / name).read_text().splitlines()[1:], 2):
            words = line.split()
            if len(words) != 4:
                raise ValueError(f"{source / name}: line {number} is {line!r}, expected four words")
            found.append(Item(words[3], f"{int(words[1]):05d}", split, source / words[3]))
    return found


def _cifar100(source: Path) -> list[Item]:
    """CIFAR-100's binary version: records of two label bytes (coarse, fine) and 3 x 32 x 32 bytes."""
    found = []
    for split, name in ((TRAIN, "train.bin"), (VALIDATION, "test.bin")):
        raw = np.fromfile(source / name, np.uint8)
        if not raw.size or raw.size % 3074:
            raise ValueError(f"{source / name}: {raw.size} bytes are no records of 3,074; it is damaged")
        records = raw.reshape(-1, 3074)
        rgb = records[:, 2:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        found += [
            Item(f"{split}/{i:05d}", f"{records[i, 1]:02d}", split, np.ascontiguousarray(rgb[i, :, :, ::-1]))
            for i in range(len(records))
        ]
    return found


def _svhn(source: Path) -> list[Item]:
    """SVHN's cropped digits: ``X`` uint8 ``[32, 32, 3, n]`` and ``y [n, 1]``, where 10 is the digit 0."""
    found = []
    for split, name in ((TRAIN, "train_32x32.mat"), (VALIDATION, "test_32x32.mat")):
        held = _mat(source / name, "X", "y")
        if held["X"].ndim != 4 or held["X"].shape[3] != held["y"].size:
            raise ValueError(f"{source / name}: no X [32, 32, 3, n] with y [n, 1]; fetch it again")
        digits = held["y"] % 10
        found += [
            Item(f"{split}/{i:06d}", str(digit), split, np.ascontiguousarray(held["X"][:, :, ::-1, i]))
            for i, digit in enumerate(digits)
        ]
    return found


LAYOUTS: dict[str, tuple[str, Callable[[Path], list[Item]]]] = {
    "Cars196": ("cars_annos.mat", _whole_cars),
    "Cars196's training half": ("train_perfect_preds.txt", _cars),
    "CUB-200-2011": ("image_class_labels.txt", _cub),
    "Stanford Online Products": ("Ebay_train.txt", _sop),
    "CIFAR-100": ("train.bin", _cifar100),
    "SVHN": ("train_32x32.mat", _svhn),
}
"""By the set's name: a file that tells its layout, and the reader."""
