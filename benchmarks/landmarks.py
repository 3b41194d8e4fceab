"""Landmarks of small faces: how far off they are, and how far off they align a face.

    python -m benchmarks.landmarks

LFW pictures (a test set; nothing was chosen here) shrunk by area until the face, its canonical crop, is 32, 24, 16 or
12 pixels wide. Truth is what YuNet-n finds in the full picture. Three errors, medians over the faces that a detector
finds, in % of the distance between the eyes:

- landmarks: mean distance of the five points to YuNet's;
- without bias: the same after the detector's own mean offset (in the face's frame, at that size) is subtracted:
  detectors were trained with different conventions, for example of where a mouth corner is;
- alignment: how far the crop is moved, the root of the mean square over the five points.

The bundled detector is measured twice: with landmark refinement, as it is used, and without.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from benchmarks.lib.datasets.xqlfw import read_pairs
from benchmarks.lib.lfw_data import lfw_pictures, middle_face
from benchmarks.lib.plots import plot
from benchmarks.lib.results import RESULTS, SHARED, hashes, table, write_result
from lrface.alignment import estimate_similarity, native_crop_px
from lrface.detection import FaceDetector, open_detector
from lrface.errors import ImageError
from lrface.models.manifest import Manifest
from lrface.types import FloatArray, ImageArray
from training.common.manifest import sha256

SIZES = (32, 24, 16, 12)
PEERS = ("yunet_n_dynamic", "scrfd_500m")
ERRORS = {"landmarks": "landmarks", "unbiased": "without bias", "alignment": "alignment"}


def shrunk(image: ImageArray, known: FloatArray, size: int) -> tuple[ImageArray, FloatArray]:
    """A picture shrunk until the canonical crop is ``size`` px wide, and the landmarks there."""
    scale = min(1.0, size / native_crop_px(known))
    side = [max(1, round(length * scale)) for length in image.shape[1::-1]]
    small = np.asarray(cv2.resize(image, side, interpolation=cv2.INTER_AREA), np.uint8)
    ratio = np.array(side, np.float32) / np.array(image.shape[1::-1], np.float32)
    return small, ((known + 0.5) * ratio - 0.5).astype(np.float32)


def nearest(detector: FaceDetector, image: ImageArray, known: FloatArray, size: int) -> FloatArray | None:
    """Landmarks of the detected face that is this one, or None."""
    found = detector.detect(image).landmarks
    if not len(found):
        return None
    distance = np.linalg.norm(found.mean(axis=1) - known.mean(axis=0), axis=1)
    return found[int(distance.argmin())] if distance.min() <= size / 2 else None


def errors(found: list[FloatArray], known: list[FloatArray]) -> dict[str, float]:
    """The three errors of landmarks ``[5, 2]``, see above."""
    offsets, moves = [], []
    for mine, theirs in zip(found, known, strict=True):
        # in the frame of the known landmarks' crop, so that a face's size and roll do not matter
        true = estimate_similarity(theirs)
        points, target = (side @ true[:, :2].T + true[:, 2] for side in (mine, theirs))
        eyes = np.linalg.norm(target[1] - target[0])
        offsets.append((points - target) / eyes)
        try:
            matrix = estimate_similarity(mine)
        except ImageError:  # of no common orientation: no crop at all
            moves.append(np.inf)
            continue
        moved = theirs @ matrix[:, :2].T + matrix[:, 2] - target
        moves.append(np.sqrt((moved**2).sum(axis=1).mean()) / eyes)
    offset = np.array(offsets)
    distance = [np.linalg.norm(values, axis=2).mean(axis=1) for values in (offset, offset - np.median(offset, axis=0))]
    values = zip(ERRORS, (*distance, moves), strict=True)
    return {name: round(100 * float(np.median(value)), 2) for name, value in values}


def main() -> None:
    """Compare the bundled detector, with and without landmark refinement, with YuNet and SCRFD."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--pictures", type=int, default=1000, help="evenly out of LFW's 7,701")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    cv2.setNumThreads(1)

    lfw = args.data / "lfw"
    names = sorted({name for pair in read_pairs(lfw / "pairs.txt")[0] for name in pair})
    names = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, args.pictures).astype(int))]
    files = {peer: args.data / "detectors" / f"{peer}.onnx" for peer in PEERS}
    manifest = Manifest.load()
    own = manifest.detector
    shas = {own.name: own.sha256, **{name: sha256(file) for name, file in files.items()}}
    detectors = {own.name: open_detector(), f"{own.name}, not refined": open_detector(refine=False)}
    detectors |= {name: open_detector(file) for name, file in files.items()}

    truth = open_detector(files["yunet_n_dynamic"])
    found: dict[tuple[str, int], tuple[list[FloatArray], list[FloatArray]]] = {
        (name, size): ([], []) for name in detectors for size in args.sizes
    }
    faces = 0
    for image in tqdm(lfw_pictures(lfw / "lfw-deepfunneled.zip", names), total=len(names), unit="picture"):
        known = middle_face(image, truth)
        if known is None:
            continue
        faces += 1
        for size in args.sizes:
            small, here = shrunk(image, known, size)
            for name, detector in detectors.items():
                if (points := nearest(detector, small, here, size)) is not None:
                    found[name, size][0].append(points)
                    found[name, size][1].append(here)
    rows: list[dict[str, Any]] = [
        {
            "model": name, "sha256": shas.get(name.split(",")[0]), "size": size,
            "found": round(len(mine) / max(1, faces), 4), **errors(mine, theirs),
        }
        for (name, size), (mine, theirs) in found.items() if mine
    ]  # fmt: skip
    print(table(
        ["crop, px", "detector", "found, %", *(f"{label}, %" for label in ERRORS.values())],
        [[str(row["size"]), row["model"], f"{100 * row['found']:.1f}", *(f"{row[name]:.1f}" for name in ERRORS)]
         for row in sorted(rows, key=lambda row: -row["size"])],
    ))  # fmt: skip
    lines = {
        name: [[row[key] for row in rows if row["model"] == name] for key in ("size", "alignment")]
        for name in detectors
    }
    path = write_result("landmarks", {
        "protocol": "LFW pictures shrunk by area; errors against YuNet-n on the full picture, medians over the"
        " found faces, in % of the eye distance",
        "models": hashes(manifest.landmarkers),
        "pictures": faces, "rows": rows,
        "plots": [plot("swept", lines, "LFW pictures shrunk, bundled detector and peers", "alignment",
                       xlabel="width of the aligned crop, pixels", ylabel="alignment error, % of the eye distance")],
    }, args.out)  # fmt: skip
    print(f"written: {path}")


if __name__ == "__main__":
    main()
