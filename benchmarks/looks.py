"""What the rule costs and saves by which the bundled detector looks a second time for large faces.

    python -m benchmarks.looks

prints a table and writes ``benchmarks/results/looks.json``: in the detector's own scenes (``scenes``), and in squares
cut around their annotated faces so that one fills a given share of them, how many of the looks after the first the
early exit (``lrface.models.manifest.EarlyExit``) saves, and how many faces fewer are found than with all looks taken. The rule was
chosen on such pictures; no test set is touched.
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
TALL = 70.0  # pixels of an annotated face, to be worth enlarging


def looked(name: str, pictures: Iterable[ImageArray]) -> dict[str, Any]:
    """The row of some pictures: those taken with the rule, and with all looks."""
    detector: Any = open_detector(refine=False)
    row = {"pictures": name, "count": 0, "looks": 0, "looks_of_all": 0, "faces": 0, "faces_of_all": 0, "lost_in": 0}
    for picture in pictures:
        with patch.object(detector, "_run", wraps=detector._run) as run:
            found = len(detector.detect(picture))
            looks = run.call_count
            with patch.object(onnx_detector, "can_miss_larger", return_value=True):
                every = len(detector.detect(picture))
        row["count"] += 1
        row["looks"] += looks - 1
        row["looks_of_all"] += run.call_count - looks - 1
        row["faces"] += found
        row["faces_of_all"] += every
        row["lost_in"] += found < every
    return row


def around(picture: ImageArray, box: np.ndarray, side: int, share: float) -> ImageArray:
    """A square around a face, of so many pixels, of whose height the face's is a share."""
    window = (box[3] - box[1]) / share
    scale = side / window
    corner = (box[:2] + box[2:]) / 2 - window / 2
    matrix = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.warpAffine(picture, matrix, (side, side), flags=method).astype(np.uint8, copy=False)


def main() -> None:
    """Look at scenes and at large faces, with the rule and without."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--every", type=int, default=1, help="take one of so many scenes")
    parser.add_argument("--every-face", type=int, default=6, help="cut around a face of one of so many scenes")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    labels = pd.read_csv(args.data / "scenes" / "boxes.csv")
    labels = labels[(labels.label == "face") & (labels.y2 - labels.y1 >= TALL)].drop_duplicates("file")
    boxes = dict(zip(labels.file, labels[["x1", "y1", "x2", "y2"]].to_numpy(float), strict=True))
    with zipfile.ZipFile(args.data / "scenes" / "scenes.zip") as pack:

        def read(name: str) -> ImageArray:
            picture = cv2.imdecode(np.frombuffer(pack.read(name), np.uint8), cv2.IMREAD_COLOR)
            return picture.astype(np.uint8, copy=False)

        names = sorted(name for name in pack.namelist() if name.endswith(".webp"))
        rows = [looked("scenes", (read(name) for name in tqdm(names[:: args.every], "scenes", leave=False)))]
        large = [(read(name), boxes[name]) for name in names[:: args.every_face] if name in boxes]
    for side in tqdm(SIDES, "large faces", leave=False):
        for share in SHARES:
            rows.append(looked(f"{share:.0%} of {side} px", (around(*face, side, share) for face in large)))
    header = ["pictures", "count", "looks after the first, %", "faces", "with all looks", "pictures with fewer"]
    print(table(header, [
        [row["pictures"], str(row["count"]), f"{100 * row['looks'] / max(1, row['looks_of_all']):.0f}",
         str(row["faces"]), str(row["faces_of_all"]), str(row["lost_in"])] for row in rows
    ]))  # fmt: skip
    detector = Manifest.load().detector
    path = write_result("looks", {
        "protocol": "faces found by the rule for looks after the first, and with all of them: the detector's own"
        " scenes, and squares around one face of 70 px and more of each, which fills a share of the square's height",
        "models": {detector.name: detector.sha256},
        "rows": rows,
    }, args.out)  # fmt: skip
    print(f"written: {path}")


if __name__ == "__main__":
    main()
