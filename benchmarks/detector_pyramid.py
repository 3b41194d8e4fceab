"""What the early exit of the bundled detector's pyramid saves and costs.

    python -m benchmarks.detector_pyramid

prints a table and writes ``benchmarks/results/detector_pyramid.json``. Two kinds of pictures: the detector's own scenes
(``scenes``), and squares around their annotated faces, each filled by one face to a given share. For both: how many of
the pyramid levels after the first are searched with the early exit (``lrface.models.manifest.EarlyExit``), and how many
faces fewer are found than with every level searched. The early exit's settings were chosen on such pictures; no test
set was used.
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.lib.results import RESULTS, SHARED, table, write_result
from lrface.detection import onnx_detector, open_detector
from lrface.models.manifest import Manifest
from lrface.types import ImageArray

SIDES = (480, 640, 1000, 1920)
SHARES = (0.2, 0.5, 0.8, 1.1)
MIN_HEIGHT = 70.0  # pixels of an annotated face: smaller ones are too blurred when enlarged


def compare(name: str, pictures: Iterable[ImageArray]) -> dict[str, Any]:
    """The table's row of some pictures: with the early exit, and with every level searched."""
    detector: Any = open_detector(refine=False)
    row: dict[str, Any] = {
        "pictures": name, "count": 0, "coarser_levels": 0, "coarser_levels_of_all": 0,
        "faces": 0, "faces_of_all": 0, "pictures_with_fewer": 0,
    }  # fmt: skip
    for picture in pictures:
        with patch.object(detector, "_run", wraps=detector._run) as run:
            found = len(detector.detect(picture))
            runs = run.call_count
            with patch.object(onnx_detector, "can_miss_larger", return_value=True):
                every = len(detector.detect(picture))
        row["count"] += 1
        row["coarser_levels"] += runs - 1
        row["coarser_levels_of_all"] += run.call_count - runs - 1
        row["faces"] += found
        row["faces_of_all"] += every
        row["pictures_with_fewer"] += found < every
    return row


def square_around(picture: ImageArray, box: np.ndarray, side: int, share: float) -> ImageArray:
    """A square of ``side`` pixels around a face that fills the given share of its height."""
    window = (box[3] - box[1]) / share
    scale = side / window
    corner = (box[:2] + box[2:]) / 2 - window / 2
    matrix = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.warpAffine(picture, matrix, (side, side), flags=method).astype(np.uint8, copy=False)


def main() -> None:
    """Search scenes and large faces, with the early exit and without."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--every", type=int, default=1, help="take every n-th scene")
    parser.add_argument("--every-face", type=int, default=6, help="cut a square around a face of every n-th scene")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    labels = pd.read_csv(args.data / "scenes" / "boxes.csv")
    labels = labels[(labels.label == "face") & (labels.y2 - labels.y1 >= MIN_HEIGHT)].drop_duplicates("file")
    boxes = dict(zip(labels.file, labels[["x1", "y1", "x2", "y2"]].to_numpy(float), strict=True))
    with zipfile.ZipFile(args.data / "scenes" / "scenes.zip") as pack:

        def read(name: str) -> ImageArray:
            picture = cv2.imdecode(np.frombuffer(pack.read(name), np.uint8), cv2.IMREAD_COLOR)
            return np.asarray(picture, np.uint8)

        names = sorted(name for name in pack.namelist() if name.endswith(".webp"))
        rows = [compare("scenes", (read(name) for name in tqdm(names[:: args.every], "scenes", leave=False)))]
        large = [(read(name), boxes[name]) for name in names[:: args.every_face] if name in boxes]
    for side in tqdm(SIDES, "large faces", leave=False):
        for share in SHARES:
            rows.append(compare(f"{share:.0%} of {side} px", (square_around(*face, side, share) for face in large)))
    header = ["pictures", "count", "levels after the first, %", "faces", "with every level", "pictures with fewer"]
    shares = [100 * row["coarser_levels"] / max(1, row["coarser_levels_of_all"]) for row in rows]
    print(table(header, [
        [row["pictures"], str(row["count"]), f"{share:.0f}", str(row["faces"]), str(row["faces_of_all"]),
         str(row["pictures_with_fewer"])] for row, share in zip(rows, shares, strict=True)
    ]))  # fmt: skip
    detector = Manifest.load().detector
    path = write_result("detector_pyramid", {
        "protocol": "faces found with the early exit of the pyramid, and with every level searched: the detector's own"
        " scenes, and squares around one face of 70 px and more of each, which fills a share of the square's height",
        "models": {detector.name: detector.sha256},
        "rows": rows,
    }, args.out)  # fmt: skip
    print(f"written: {path}")


if __name__ == "__main__":
    main()
