"""A network of the user's own -> a models folder: the file checked, thresholds measured on the user's own people."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lrface.alignment import CROP
from lrface.enrolment.enroller import people_folders, photos_in
from lrface.enrolment.portraits import cut_portrait, fingerprint
from lrface.errors import ArgumentError, EnrolmentError, ImageError, ModelError
from lrface.measuring.measure import embed_people, measure
from lrface.models.manifest import Manifest, models_folder
from lrface.models.sessions import open_session, read_model
from lrface.models.writing import write_calibration, write_json

if TYPE_CHECKING:
    from lrface.detection import FaceDetector

LEAST_PEOPLE, LEAST_PHOTOS = 20, 2
"""So many people with so many photos each are needed to measure thresholds at all; 100 people make them good."""

_FIX = "see docs/training.md, Your own network"


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a network's input is made of a crop: float32 [n, 3, size, size], (x - mean) * scale.

    Attributes:
        channels: "RGB" or "BGR".
        mean: In grey levels.
        scale: After the mean: 1 / standard deviation.
        size: Side of the input in pixels, 8 to 112; None for what the file says.
    """

    channels: str
    mean: float
    scale: float
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """What `add_network` made: the network's name, how many people and photos, and why photos were left out."""

    name: str
    people: int
    photos: int
    left_out: tuple[tuple[str, str], ...]


def add_network(
    file: Path, folder: Path, people: Path, how: Preprocessing, detector: FaceDetector, license_text: str = "unknown"
) -> Added:
    """Makes a models folder of an ONNX embedder for aligned 112x112 faces, and measures its thresholds.

    The folder also gets the bundled detector and landmark network. It is there whole or not at all.

    Args:
        file: One input [batch, 3, side, side], batch free; one output [batch, dim]. Its crop is the ArcFace template's.
        folder: Where to; it must not exist.
        people: Holds one folder a person, with ordinary photos: people whom the thresholds are measured on.
        how: Its preprocessing.
        detector: Finds the faces of the photos.
        license_text: Its terms, for the manifest.

    Raises:
        ArgumentError: The folder is there already, or the preprocessing is out of range.
        ModelError: The file is no such network.
        EnrolmentError: Too few people or photos.
    """
    if folder.exists() or folder.is_symlink():
        raise ArgumentError(f"{folder} is there already: name a new folder, nothing is replaced")
    data = read_model(file, None)
    entry = _entry(file, data, how, license_text)
    crops, person, left_out = _photos(people, detector)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        made = Path(scratch) / "models"
        made.mkdir()
        (made / entry["file"]).write_bytes(data)
        (made / entry["card"]).write_text(_card(entry, len(np.unique(person)), len(person)), encoding="utf-8")
        write_json(made / "manifest.json", {"schema": 1, "models": [entry, *_bundled(made)]})
        manifest, rng = Manifest.load(made), np.random.default_rng(1)
        try:
            result = measure(manifest, embed_people(manifest, crops, person, rng), rng)
        except ValueError as error:  # no two people are alike enough for a curve
            raise EnrolmentError(f"thresholds cannot be measured on these people ({error}): add people") from error
        write_calibration(made, {**result, "seed": 1})
        made.rename(folder)
    return Added(entry["name"], len(np.unique(person)), len(person), left_out)


def _entry(file: Path, data: bytes, how: Preprocessing, license_text: str) -> dict[str, Any]:
    """The network's entry of the manifest, after it was opened and run."""
    if not (np.isfinite([how.mean, how.scale]).all() and how.scale != 0 and abs(how.mean) <= 1e6):
        raise ArgumentError(f"mean {how.mean:g} and scale {how.scale:g}: give finite numbers, the scale not 0")
    session = open_session(file, hashlib.sha256(data).hexdigest())
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) < 1:
        raise ModelError(
            f"{file.name} has {len(inputs)} inputs and {len(outputs)} outputs: one input is wanted: {_FIX}"
        )
    shape = list(inputs[0].shape)
    if len(shape) == 4 and shape[3] == 3 and shape[1] != 3:
        raise ModelError(f"{file.name} takes its channels last ({shape}): export it with the layout [batch, 3, h, w]")
    side = shape[2] if len(shape) == 4 and shape[1] == 3 else None
    if not isinstance(side, int) or shape[3] != side or not 8 <= side <= CROP:
        raise ModelError(
            f"{file.name} takes {shape}: [batch, 3, side, side] with a side of 8 to {CROP} is wanted: {_FIX}"
        )
    if how.size is not None and how.size != side:
        raise ArgumentError(f"the size {how.size} was given, but {file.name} takes faces of {side}x{side} pixels")
    if isinstance(shape[0], int):
        raise ModelError(f"{file.name} takes exactly {shape[0]} faces at a time: export it with a free batch size")
    try:
        found = np.asarray(
            session.run([outputs[0].name], {inputs[0].name: np.zeros((2, 3, side, side), np.float32)})[0]
        )
    except Exception as error:  # of the library that runs it; they share no base but Exception
        raise ModelError(f"{file.name} cannot embed two faces at once ({error}): {_FIX}") from error
    if found.ndim != 2 or len(found) != 2 or list(outputs[0].shape)[-1:] != [found.shape[1]]:
        raise ModelError(f"{file.name} gives {list(found.shape)} for two faces: [2, dim] is wanted: {_FIX}")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("-.") or "own"
    sha256 = hashlib.sha256(data).hexdigest()
    return {
        "name": name, "kind": "embedder", "level": side, "file": f"{name}.onnx", "sha256": sha256,
        "license": license_text, "card": f"{name}.md", "template": "arcface-112", "space": f"own-{sha256[:12]}",
        "input": {"name": inputs[0].name, "height": side, "width": side, "channels": how.channels,
                  "mean": how.mean, "scale": how.scale},
        "output": {"name": outputs[0].name, "dim": found.shape[1], "normalized": False},
        "serves": {"accurate": [None, None], "fast": [None, None]}, "enrolment": True,
    }  # fmt: skip


def _photos(
    folder: Path, detector: FaceDetector
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.str_], tuple[tuple[str, str], ...]]:
    """Crops uint8 [n, 112, 112, 3] of people with enough photos, whose they are [n], and what was left out, and why."""
    crops, names, left_out = list[npt.NDArray[np.uint8]](), list[str](), list[tuple[str, str]]()
    for place in people_folders(folder)[0]:
        seen: dict[str, npt.NDArray[np.uint8]] = {}
        for photo in photos_in(place, place.name):
            if not isinstance(photo, Path):
                left_out.append((photo.photo, photo.reason))
                continue
            try:
                portrait = cut_portrait(*fingerprint(photo), detector)
            except (ImageError, EnrolmentError) as error:
                left_out.append((str(photo), str(error)))
                continue
            seen[portrait.sha256] = portrait.crop  # a copy of a photo counts once
        if len(seen) >= LEAST_PHOTOS:
            crops += seen.values()
            names += [f"own/{place.name}"] * len(seen)
        else:
            left_out.append((str(place), f"{len(seen)} usable photos, {LEAST_PHOTOS} are needed"))
    count = len(set(names))
    if count < LEAST_PEOPLE:
        raise EnrolmentError(
            f"{folder} holds {count} people with {LEAST_PHOTOS} usable photos or more; at least {LEAST_PEOPLE} are"
            " needed to measure thresholds, and 100 make them good: add people, one folder each"
        )
    return np.stack(crops), np.array(names), tuple(left_out)


def _bundled(target: Path) -> list[dict[str, Any]]:
    """Copies the bundled detector and landmark network into a folder; their entries."""
    source = models_folder()
    listed = json.loads((source / "manifest.json").read_bytes())["models"]
    kept = [dict(item) for item in listed if item["kind"] in ("detector", "landmarker")]
    for item in kept:
        for file in (item["file"], item["card"]):
            shutil.copyfile(source / file, target / file)
    return kept


def _card(entry: dict[str, Any], people: int, photos: int) -> str:
    spec = entry["input"]
    return (
        f"# {entry['name']}\n\nA network of the user's own, added by `lrface models add`. Terms:"
        f" {entry['license']}.\n\n"
        f"- input: {entry['level']}x{entry['level']} pixels, {spec['channels']}, (x - {spec['mean']:g}) *"
        f" {spec['scale']:g}\n- output: {entry['output']['dim']} numbers\n- SHA-256 `{entry['sha256']}`\n\n"
        f"Its thresholds were measured on {people} people, {photos} photos.\n"
    )
