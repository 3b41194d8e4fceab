"""Detectors side by side: AP by face height on WIDER FACE pictures, false alarms, speed on one thread.

    python -m benchmarks.detection

prints a table and writes ``benchmarks/results/detection.json``. The test set is 200 WIDER FACE validation pictures
(``detection/wider200``), brought back to their original aspect with a long side of 640 px; AP is at IoU 0.5. Precision
and recall are those at each detector's usual threshold, and so are the false alarms, counted in the scenes without
people (``scenes``: animals, rooms, textures, empty streets) that the bundled detector's training does not see. Landmark
refinement is left out here (``benchmarks/landmarks.py`` measures it). The bundled detector votes on its boxes, as at
run time, and its peers do not, as their makers publish them.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from benchmarks.lib.results import RESULTS, SHARED, table, write_result
from benchmarks.lib.scenes import held_out_scenes
from lrface.detection import FaceDetector, open_detector
from lrface.metrics.average_precision import PictureResult, average_precision, match_all
from lrface.models.manifest import Manifest
from lrface.types import ImageArray
from training.common.manifest import sha256

LONG_SIDE = 640
LEAST = 0.02  # score from which candidates count for AP
HEIGHTS = {"8-16": (8.0, 16.0), "16-32": (16.0, 32.0), "32-64": (32.0, 64.0), ">64": (64.0, np.inf)}
PEERS = ("yunet_n_dynamic", "yunet_s_dynamic", "scrfd_500m")
RUNS, PROCESSES = 30, 9

Picture = tuple[ImageArray, np.ndarray, np.ndarray]


def pictures(folder: Path, limit: int | None) -> list[Picture]:
    """WIDER FACE pictures with their original aspect and a long side of 640 px.

    Returns:
        For each: uint8 [h, w, 3], boxes float32 [n, 4] in its pixels, invalid bool [n].
    """
    truth = json.loads((folder / "gt.json").read_text())
    found = []
    for name, entry in list(truth.items())[:limit]:
        image = np.asarray(cv2.imread(str(folder / "images" / name)), np.uint8)
        width, height = entry["orig_wh"]
        scale = LONG_SIDE / max(width, height)
        size = (round(width * scale), round(height * scale))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
        boxes = np.array(entry["boxes_xywh_orig"], np.float32).reshape(-1, 4) * scale
        boxes[:, 2:] += boxes[:, :2]
        found.append((image, boxes, np.array(entry["invalid"], bool)))
    return found


def precision(detector: FaceDetector, data: list[Picture], name: str) -> dict[str, float]:
    """AP at IoU 0.5 by face height in pixels of the 640-px picture."""
    results = []
    for image, boxes, invalid in tqdm(data, desc=name, unit="picture", leave=False):
        found = detector.detect(image)
        results.append(PictureResult(found.boxes, found.scores, boxes, invalid))
    return {label: round(average_precision(results, limits), 4) for label, limits in HEIGHTS.items()}


def operating(detector: FaceDetector, data: list[Picture]) -> tuple[float, float]:
    """Precision and recall at the detector's usual threshold, faces of 16 px and more."""
    results = []
    for image, boxes, invalid in data:
        found = detector.detect(image)
        results.append(PictureResult(found.boxes, found.scores, boxes, invalid))
    scores, hits, faces = match_all(results, (16.0, np.inf))
    return round(float(hits.sum() / max(1, len(scores))), 4), round(float(hits.sum() / max(1, faces)), 4)


def false_alarms(detector: FaceDetector, scenes: list[ImageArray]) -> dict[str, float]:
    """What a detector takes for faces in pictures without people."""
    count = sum(len(detector.detect(scene)) for scene in scenes)
    return {"pictures": len(scenes), "count": count, "per_1000": round(1000 * count / len(scenes), 1)}


def milliseconds(models: list[Path | None], image: ImageArray, runs: int, processes: int) -> list[float]:
    """Median processor time of one picture on one thread (other programs do not count), resizing to suppression.

    The detectors take turns, so that what slows the machine slows them all; and they do so in several processes, since
    where a process happens to have its memory can make one detector half as slow again.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        medians = list(pool.map(_medians, *([each] * processes for each in (models, image, runs))))
    return [round(float(median) * 1000, 2) for median in np.median(medians, axis=0)]


def _medians(models: list[Path | None], image: ImageArray, runs: int) -> list[float]:
    cv2.setNumThreads(1)
    detectors = [open_detector(model, refine=False) for model in models]
    times = np.zeros((runs, len(detectors)))
    for run in times:
        for i, detector in enumerate(detectors):
            began = time.thread_time()
            detector.detect(image)
            run[i] = time.thread_time() - began
    return [float(median) for median in np.median(times[3:], axis=0)]


def main() -> None:
    """Compare the bundled detector with YuNet and SCRFD."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--model", action="append", type=Path, help="detectors beside the bundled one; else the peers")
    parser.add_argument("--limit", type=int, help="use the first pictures only, and time few: a try-out")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    test = pictures(args.data / "detection" / "wider200", args.limit)
    manifest = Manifest.load()
    bundled = manifest.folder / manifest.detector.file
    square = np.asarray(cv2.resize(test[0][0], (LONG_SIDE, LONG_SIDE)), np.uint8)
    scenes = held_out_scenes(args.data / "scenes", empty=True)[: args.limit]
    runs, processes = (RUNS, PROCESSES) if args.limit is None else (4, 2)
    rows: list[dict[str, Any]] = []
    models = [None, *(args.model or [args.data / "detectors" / f"{peer}.onnx" for peer in PEERS])]
    for path in models:
        name = path.stem if path else manifest.detector.name
        usual: Any = open_detector(path, refine=False)
        right, found = operating(usual, test)
        rows.append({
            "model": name, "sha256": sha256(path or bundled), "pictures": len(test),
            "ap": precision(open_detector(path, score_threshold=LEAST, refine=False), test, name),
            "threshold": usual.score_threshold, "precision": right, "recall": found,
            "false_alarms": false_alarms(usual, scenes),
        })  # fmt: skip
    for row, spent in zip(rows, milliseconds(models, square, runs, processes), strict=True):
        row["ms"] = spent
    print(table(
        ["detector", *(f"AP {label} px" for label in HEIGHTS), "threshold", "precision", "recall",
         "false alarms in 1,000 pictures", "ms, 640x640"],
        [[row["model"], *(f"{row['ap'][label]:.3f}" for label in HEIGHTS), f"{row['threshold']:.2f}",
          f"{row['precision']:.3f}", f"{row['recall']:.3f}", f"{row['false_alarms']['per_1000']:.0f}",
          f"{row['ms']:.1f}"] for row in rows],
    ))  # fmt: skip
    path = write_result("detection", {
        "protocol": f"wider200, original aspect, long side {LONG_SIDE}, AP at IoU 0.5 by face height; precision and"
        " recall at each detector's threshold, faces of 16 px and more; false alarms: likewise, in"
        " held-out scenes without people; ms: median of a whole detection of a 640x640 picture, one thread, in turns,"
        f" over {processes} processes,"
        " without landmark refinement",
        "rows": rows,
    }, args.out)  # fmt: skip
    print(f"written: {path}")


if __name__ == "__main__":
    main()
