"""What detection in every n-th frame misses: faces shown and people named, against detection in every frame.

    python -m benchmarks.detect_every [--frames N]

Each clip runs through the tracks once for each n, as in ``lrface.watch(detect_every=n)``. The reference is n = 1.
``shown``: share of its faces (of all frames, also of those between) over which the run shows a face (IoU 0.5 or more);
``named alike``: share of its named faces over which the run shows that name; ``wrong``: faces over which it shows
another one. ``people`` are the names at the end of tracks, ``strangers`` tracks that end without a name. In stage.mp4
the people of ``../shared/data/images/stage`` are enrolled, in the clip of head poses (shrunk until the faces are 24 px
wide) those of the two clips with one person each, in the others nobody.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.lib.results import RESULTS, SHARED, hashes, table, write_result
from benchmarks.tracks import BOTH, frames_of
from lrface import FaceMatcher
from lrface.detection import detect_roughly, refine_further
from lrface.embedding.embedders import embed_faces
from lrface.geometry import box_iou
from lrface.inputs.video import Frame, VideoSource
from lrface.models.manifest import Manifest
from lrface.tracks.detection_pace import DetectionPace
from lrface.tracks.events import TrackEvent, TrackEventKind
from lrface.tracks.following import TrackFollower
from lrface.tracks.tracker import Tracker
from lrface.types import Detections, Identification

EVERY = (1, 2, 3, 5, 8)
SAME = 0.5  # IoU
WIDTH = 24  # pixels, of the faces in the clip of head poses

Run = tuple[list[list[Identification]], list[TrackEvent], int]


def follow(
    matcher: FaceMatcher,
    frames: Sequence[Frame],
    found: Sequence[Detections],
    every: int,
    tracker: Tracker | None = None,
) -> Run:
    """The faces shown in each frame, the events, and the number of frames in which faces were searched for."""
    follower, pace = TrackFollower(matcher, tracker=tracker), DetectionPace(every)
    shown, events, searched = list[list[Identification]](), list[TrackEvent](), 0
    for frame, detections in zip(frames, found, strict=True):
        if not pace.due(frame):
            shown.append(follower.carry(frame))
            continue
        searched += 1
        rows = follower.wanted(frame, detections)
        wanted = refine_further(matcher.detector, frame.image, detections[rows])
        faces = embed_faces(frame.image, wanted, matcher.networks, matcher.calibration.alignment_penalty)
        events += follower.update(frame, detections, dict(zip(rows, faces, strict=True)))
        shown.append(list(follower.seen))
    return shown, events + follower.end(), searched


def compare(reference: Run, run: Run) -> dict[str, Any]:
    """What a run shows of the faces of the reference."""
    total = {"faces": 0, "shown": 0, "named": 0, "alike": 0, "wrong": 0}
    for expected, given in zip(reference[0], run[0], strict=True):
        if not expected:
            continue
        boxes = np.array([face.box for face in given], np.float32).reshape(-1, 4)
        overlap = box_iou(np.array([face.box for face in expected], np.float32), boxes)
        for face, row in zip(expected, overlap, strict=True):
            best = int(np.argmax(row)) if len(row) else -1
            same = given[best] if best >= 0 and row[best] >= SAME else None
            total["faces"] += 1
            total["shown"] += same is not None
            total["named"] += face.name is not None
            total["alike"] += same is not None and face.name is not None and same.name == face.name
            total["wrong"] += same is not None and same.name not in (None, face.name)
    left = [event.name for event in run[1] if event.kind == TrackEventKind.LEFT]
    return {**total, "people": len(set(left) - {None}), "strangers": left.count(None), "searched": run[2]}


def measure(
    label: str, frames: Sequence[Frame], fps: float, enrol: Callable[[FaceMatcher], object]
) -> list[dict[str, Any]]:
    """The rows of a clip."""
    with FaceMatcher.open(":memory:") as matcher:
        enrol(matcher)
        found = [
            detect_roughly(matcher.detector, frame.image)
            for frame in tqdm(frames, desc=label, unit="frame", leave=False)
        ]
        reference = follow(matcher, frames, found, 1)
        rows = []
        for every in EVERY:
            run = reference if every == 1 else follow(matcher, frames, found, every)
            what = {"clip": label, "fps": fps, "frames": len(frames), "every": every}
            rows.append({**what, **compare(reference, run)})
    return rows


def clips(data: Path, limit: int) -> list[dict[str, Any]]:
    """The rows of all clips."""
    videos = data / "video"
    rows = []
    for name in ("stage.mp4", "street.mp4", "face-demographics-walking.gif"):
        people = [data / "images" / "stage" / "enroll"] if name == "stage.mp4" else []
        rows += measure(
            Path(name).stem,
            frames_of(videos / name, limit=limit),
            _fps(videos / name),
            partial(_enrol_folders, people),
        )

    def enrol(matcher: FaceMatcher) -> None:
        for person in ("female", "male"):
            shown = frames_of(videos / f"head-pose-face-detection-{person}.gif")
            matcher.enroll(person, [frame.image for frame in shown[:: max(1, len(shown) // 5)]][:5], force=True)

    with FaceMatcher.open(":memory:") as matcher:
        first = frames_of(videos / BOTH, limit=1)[0]
        usual = float(np.median([face.native_px for face in matcher.analyze(first.image)]))
    return rows + measure(
        f"head poses, {WIDTH} px", frames_of(videos / BOTH, WIDTH / usual, limit), _fps(videos / BOTH), enrol
    )


def _enrol_folders(folders: Sequence[Path], matcher: FaceMatcher) -> None:
    for folder in folders:
        matcher.enroll_folder(folder)


def _fps(clip: Path) -> float:
    with VideoSource(str(clip)) as source:
        return source.fps or 0.0


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--frames", type=int, default=150, help="of each clip; 0 for all")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    rows = clips(args.data, args.frames)
    print(table(
        ["clip", "frames/s", "every", "searched", "faces", "shown, %", "named alike, %", "wrong", "people",
         "strangers"],
        [[r["clip"], f"{r['fps']:.0f}", str(r["every"]), f"{r['searched']} of {r['frames']}", str(r["faces"]),
          _percent(r["shown"], r["faces"]), _percent(r["alike"], r["named"]), str(r["wrong"]), str(r["people"]),
          str(r["strangers"])] for r in rows],
    ))  # fmt: skip
    path = write_result("detect_every", {
        "protocol": f"detection in every n-th of the first {args.frames or 'all'} frames against every one",
        "models": hashes(Manifest.load().entries),
        "rows": rows,
    }, args.out)  # fmt: skip
    print(f"written: {path}")


if __name__ == "__main__":
    main()
