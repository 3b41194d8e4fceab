"""Detectors on real clips: faces found in each frame, and the frames drawn, to be judged by eye.

    python -m benchmarks.clips --sheets /tmp/sheets

There is no truth for these clips. Faces are counted by height at each detector's usual threshold, in every n-th frame;
``also by another`` is the share of a detector's faces that some other detector found too (IoU 0.4 or more): what a
detector found alone is either its merit or a false alarm, which the sheets show. They hold pictures of people and
belong outside git.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from benchmarks.lib.results import RESULTS, SHARED, table, write_result
from lrface.detection import open_detector
from lrface.geometry import box_iou
from lrface.inputs.video import VideoSource
from lrface.models.manifest import Manifest
from lrface.types import Detections, ImageArray

CLIPS = ("street.mp4", "stage.mp4", "classroom.gif", "face-demographics-walking.gif")
PEERS = ("yunet_n_dynamic", "scrfd_500m")
HEIGHTS = (0.0, 16.0, 32.0, np.inf)
SAME = 0.4  # IoU from which two detectors mean the same face
COLOURS = ((80, 175, 60), (40, 120, 235), (200, 120, 40))  # BGR, ours first


def frames(clip: Path, count: int) -> list[ImageArray]:
    """About ``count`` frames, uint8 ``[h, w, 3]``, evenly out of a whole clip."""
    with VideoSource(str(clip)) as source:
        found = [frame.image for frame in source]
    return [found[i] for i in np.unique(np.linspace(0, len(found) - 1, count).round().astype(int))]


def confirmed(own: Detections, others: list[Detections]) -> int:
    """How many faces somebody else found too."""
    boxes = [other.boxes for other in others if len(other)]
    if not len(own) or not boxes:
        return 0
    return int((box_iou(own.boxes, np.concatenate(boxes)).max(axis=1) >= SAME).sum())


def drawn(image: ImageArray, found: list[Detections], names: list[str]) -> ImageArray:
    """A frame with each detector's faces in its colour."""
    out = image.copy()
    for i, (detections, name) in enumerate(zip(found, names, strict=True)):
        cv2.putText(out, f"{name}: {len(detections)}", (8, 20 + 18 * i), cv2.FONT_HERSHEY_SIMPLEX, 0.5, COLOURS[i], 1)
        for x0, y0, x1, y1 in detections.boxes.round().astype(int).tolist():
            cv2.rectangle(out, (x0 - i, y0 - i), (x1 + i, y1 + i), COLOURS[i], 1)
    return np.asarray(out, np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--clip", type=Path, action="append", help="your own clips; else those of ../shared")
    parser.add_argument("--frames", type=int, default=40, help="of each clip")
    parser.add_argument("--sheets", type=Path, help="folder for drawn frames; not in git")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()

    name = Manifest.load().detector.name
    detectors = {name: open_detector()} | {
        peer: open_detector(args.data / "detectors" / f"{peer}.onnx") for peer in PEERS
    }
    rows: list[dict[str, Any]] = []
    for clip in args.clip or [args.data / "video" / clip for clip in CLIPS]:
        taken = frames(clip, args.frames)
        found = [
            [d.detect(image) for d in detectors.values()]
            for image in tqdm(taken, desc=clip.stem, unit="frame", leave=False)
        ]
        for i, detector in enumerate(detectors):
            own = [each[i] for each in found]
            heights = np.concatenate([d.boxes[:, 3] - d.boxes[:, 1] for d in own])
            shared = sum(confirmed(each[i], [*each[:i], *each[i + 1 :]]) for each in found)
            rows.append({
                "clip": clip.stem, "model": detector, "frames": len(taken), "faces_a_frame": len(heights) / len(taken),
                "by_height": (np.histogram(heights, HEIGHTS)[0] / len(taken)).round(3).tolist(),
                "also_by_another": shared / max(1, len(heights)),
            })  # fmt: skip
        if args.sheets:
            args.sheets.mkdir(parents=True, exist_ok=True)
            for k in np.unique(np.linspace(0, len(taken) - 1, 4).round().astype(int)):
                cv2.imwrite(str(args.sheets / f"{clip.stem}-{k}.jpg"), drawn(taken[k], found[k], list(detectors)))
    print(table(
        ["clip", "detector", "faces a frame", "below 16 px", "16-32 px", "from 32 px", "also by another, %"],
        [[r["clip"], r["model"], f"{r['faces_a_frame']:.2f}", *(f"{n:.2f}" for n in r["by_height"]),
          f"{100 * r['also_by_another']:.0f}"] for r in rows],
    ))  # fmt: skip
    path = write_result("clips", {
        "protocol": f"faces at each detector's usual threshold in about {args.frames} frames of a clip; no truth",
        "rows": rows,
    }, args.out)  # fmt: skip
    print(f"written: {path}")


if __name__ == "__main__":
    main()
