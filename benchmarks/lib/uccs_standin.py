"""A stand-in for UCCS, which may not be passed on: the same files, made of other people's photos.

    python -m benchmarks.lib.uccs_standin --people people --out standin     # people/<name>/*.jpg

**It is not UCCS**, and no figure on it compares with a published one. Aligned 112x112 crops are turned, shrunk to faces
of a camera's size and pasted behind a soft oval into drawn backdrops, a few to a scene, which is then blurred, made
noisy and compressed. So it has small degraded faces, strangers, and a detector in the loop; it does not have UCCS's
haze, poses, hats, motion or weather, hair and shoulders are missing, and the photos of a person are from many cameras
and years.

Written as the second challenge's release: ``protocol/{training,validation}.csv`` and the scenes beside them. A part of
the people are strangers (SUBJECT_ID -1); each photo is seen once, in a scene of one of the two parts.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.lib.crops import FACE_BOX
from benchmarks.lib.datasets.records import STRANGER, FaceRecord
from benchmarks.lib.datasets.uccs import write_csv
from lrface.alignment import CROP
from lrface.types import ImageArray

WIDTH, HEIGHT, COLUMNS, LINES = 640, 480, 3, 2
CELL = (WIDTH // COLUMNS, HEIGHT // LINES)
STANDIN = (
    "a stand-in, NOT UCCS: aligned crops of other people pasted into drawn backdrops (benchmarks/lib/uccs_standin.py)"
)


@dataclass(frozen=True)
class Standin:
    """How the stand-in is made.

    Attributes:
        strangers: share of the people who are never named.
        photos: at most so many of a person.
        crop_px: widths of the pasted canonical crops, log-uniform between these, in pixels of the scene.
        seed: of everything that is drawn.
    """

    strangers: float = 0.4
    photos: int = 20
    crop_px: tuple[float, float] = (16.0, 64.0)
    seed: int = 0


def build(crops: ImageArray, people: npt.NDArray[np.str_], root: Path, how: Standin | None = None) -> None:
    """Write a stand-in.

    Args:
        crops: uint8 ``[n, 112, 112, 3]``, BGR, aligned to the ArcFace template.
        people: str ``[n]``, who each shows.
        root: folder to write to.
        how: None for the usual one.

    Raises:
        ValueError: fewer than three people.
    """
    how = how or Standin()
    rng = np.random.default_rng(how.seed)
    names = rng.permutation(np.unique(people))
    strangers = set(names[: max(1, round(how.strangers * len(names)))])
    if len(names) - len(strangers) < 2:
        raise ValueError(f"{len(names)} people are too few: a watch list and strangers need at least three")
    number = {name: STRANGER if name in strangers else str(i + 1) for i, name in enumerate(sorted(set(names)))}
    parts: tuple[list[int], list[int]] = ([], [])
    for name in sorted(number):
        photos = rng.permutation(np.flatnonzero(people == name))[: how.photos]
        for part, own in zip(parts, (photos[::2], photos[1::2]), strict=True):
            part += own.tolist()
    for label, rows in zip(("training", "validation"), parts, strict=True):
        (root / label).mkdir(parents=True, exist_ok=True)
        records: list[FaceRecord] = []
        waiting = rng.permutation(rows).tolist()
        while waiting:
            count = int(rng.integers(2, COLUMNS * LINES + 1))
            here, waiting = waiting[:count], waiting[count:]
            path = root / label / f"scene{len({record.picture for record in records}):05d}.jpg"
            scene, boxes = _scene([crops[row] for row in here], how, rng)
            cv2.imwrite(str(path), scene, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 90))])
            for row, box in zip(here, boxes, strict=True):
                records.append(FaceRecord(path, number[people[row]], box, face_id=str(len(records) + 1)))
        write_csv(root / "protocol" / f"{label}.csv", records)


def _scene(
    crops: list[ImageArray], how: Standin, rng: np.random.Generator
) -> tuple[ImageArray, list[tuple[float, float, float, float]]]:
    """A scene with a face in each of several cells, and the faces' boxes."""
    scene, boxes = _backdrop(rng), []
    for crop, cell in zip(crops, rng.permutation(COLUMNS * LINES), strict=False):
        scale = math.exp(rng.uniform(*np.log(how.crop_px))) / CROP
        corner, room = np.array([cell % COLUMNS, cell // COLUMNS]) * CELL, np.array(CELL) - 1.2 * CROP * scale
        centre = corner + 0.6 * CROP * scale + rng.random(2) * room
        _paste(scene, crop, scale, float(rng.normal(0, 6)), centre)
        x1, y1, x2, y2 = (np.array(FACE_BOX) - (CROP - 1) / 2) * scale + np.tile(centre, 2)
        boxes.append((float(x1), float(y1), float(x2), float(y2)))
    blurred = cv2.GaussianBlur(scene, (0, 0), rng.uniform(0.3, 0.9))
    noisy = blurred * rng.uniform(0.7, 1.1) + rng.normal(0, rng.uniform(1, 6), scene.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), boxes


def _paste(scene: ImageArray, crop: ImageArray, scale: float, degrees: float, centre: npt.NDArray[np.float64]) -> None:
    side = max(4, math.ceil(CROP * scale))  # shrunk by area first: warping alone would alias
    small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    mask = np.zeros((side, side), np.float32)
    cv2.ellipse(mask, (side // 2, side // 2), (round(0.45 * side), round(0.49 * side)), 0, 0, 360, 1.0, -1)
    soft = cv2.blur(mask, (max(1, side // 12),) * 2)
    turn = cv2.getRotationMatrix2D(((side - 1) / 2,) * 2, degrees, scale * CROP / side)
    turn[:, 2] = turn[:, 2] + centre - (side - 1) / 2
    weight = cv2.warpAffine(soft, turn, (WIDTH, HEIGHT))[..., None]
    face = cv2.warpAffine(small, turn, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
    scene[:] = (face * weight + scene * (1 - weight)).astype(np.uint8)


def _backdrop(rng: np.random.Generator) -> ImageArray:
    """A drawn place: shades, boards and panes, a coarse and a fine texture."""
    down = np.linspace(0, 1, HEIGHT)[:, None, None]
    top, bottom = rng.uniform(60, 220, (2, 3))
    scene = np.ascontiguousarray(np.broadcast_to(top + (bottom - top) * down, (HEIGHT, WIDTH, 3)))
    for _ in range(int(rng.integers(6, 16))):
        x, y = rng.integers(0, WIDTH), rng.integers(0, HEIGHT)
        across, high = rng.integers(15, 250, 2)
        colour = tuple(float(value) for value in rng.uniform(30, 230, 3))
        cv2.rectangle(scene, (int(x), int(y)), (int(x + across), int(y + high)), colour, int(rng.choice([-1, 2, 5])))
    coarse = cv2.resize(rng.normal(0, 8, (HEIGHT // 16, WIDTH // 16)), (WIDTH, HEIGHT))[..., None]
    textured = scene + coarse + rng.normal(0, 2, (HEIGHT, WIDTH, 1))
    return np.asarray(np.clip(textured, 0, 255), np.uint8)


def main() -> None:
    from training.data.faces import default_cache, load_faces

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=Path, required=True, help="a folder of <name>/*.jpg")
    parser.add_argument("--out", type=Path, required=True, help="folder for the stand-in; faces: not in git")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="folder for aligned crops; not in git")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    faces = load_faces(args.people, args.cache)
    build(faces.crops, faces.table["identity"].to_numpy(str), args.out, Standin(seed=args.seed))
    print(f"written: {args.out}, {STANDIN}")


if __name__ == "__main__":
    main()
