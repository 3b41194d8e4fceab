"""Identity switches of tracks, against labels that no tracker made.

    python -m benchmarks.identity_switches

``benchmarks/labels/CLIP.csv`` says for each frame where faces are and whose: boxes by YuNet in every frame, linked by
overlap and EdgeFace embeddings, the links looked at and people numbered by hand. Person 0 is judged neither way: no
face, two faces in one box, or a second box on one head. Each clip runs through the tracks as in
``lrface.watch(detect_every=n)``; a face shown there is that of the label with which it overlaps most (IoU
.4 or more, best pairs first).

``mixed``: times that a track goes over to another person; ``astray``: faces of all but the person to whom most faces of
the track belong. ``split``: times that a person who was shown at most
a second before is in another track (also after an occlusion). ``shown``: labelled faces over which a face is
shown. The other tracker assigns by overlap alone (IoU of .3 or more to the last box, scipy's assignment), as SORT does
without its filter. Writes ``benchmarks/results/identity_switches.json``.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.detect_every import follow
from benchmarks.lib.results import RESULTS, SHARED, hashes, table, write_result
from benchmarks.tracks import frames_of
from lrface import FaceMatcher
from lrface.detection import detect_roughly
from lrface.geometry import box_iou
from lrface.models.manifest import Manifest
from lrface.tracks.tracker import MAX_GAP_S, MotionTracker, Tracker
from lrface.types import Box, FloatArray

LABELS = Path(__file__).parent / "labels"
CLIPS = ("street.mp4", "stage.mp4")
EVERY = (1, 3, 5)
SAME = 0.4  # IoU: two detectors draw boxes of different tightness
OVERLAP = 0.3  # of the other tracker

Labels = Mapping[int, list[tuple[Box, int]]]


def read_labels(path: Path) -> dict[int, list[tuple[Box, int]]]:
    """The labelled boxes of each frame, with the person; 0 is judged neither way."""
    found: dict[int, list[tuple[Box, int]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            box = float(row["x1"]), float(row["y1"]), float(row["x2"]), float(row["y2"])
            found.setdefault(int(row["frame"]), []).append((box, int(row["person"])))
    return found


def count_switches(
    shown: Sequence[Sequence[tuple[Box, int]]], times: Sequence[float], labels: Labels
) -> dict[str, int]:
    """Counts what tracks do to people.

    Args:
        shown: For each frame, the boxes shown and the numbers of their tracks.
        times: Of the frames, in seconds.
        labels: By the index of the frame.
    """
    total = {"faces": 0, "shown": 0, "mixed": 0, "split": 0}
    people = dict[int, Counter[int]]()
    person_of, track_of = dict[int, int](), dict[int, tuple[int, float]]()
    for i, (given, time_s) in enumerate(zip(shown, times, strict=True)):
        known = labels.get(i, [])
        total["faces"] += sum(person > 0 for _, person in known)
        for person, track in _pairs(given, known):
            if not person:
                continue
            total["shown"] += 1
            total["mixed"] += person_of.get(track, person) != person
            last, seen_s = track_of.get(person, (track, time_s))
            total["split"] += last != track and time_s - seen_s <= MAX_GAP_S
            people.setdefault(track, Counter())[person] += 1
            person_of[track], track_of[person] = person, (track, time_s)
    return {**total, "astray": sum(own.total() - max(own.values()) for own in people.values())}


def _pairs(given: Sequence[tuple[Box, int]], known: Sequence[tuple[Box, int]]) -> list[tuple[int, int]]:
    """Person and track of the boxes that overlap, each in one pair at most."""
    if not given or not known:
        return []
    overlap = box_iou(np.array([box for box, _ in known], np.float32), np.array([box for box, _ in given], np.float32))
    found = []
    while overlap.max() >= SAME:
        label, face = divmod(int(overlap.argmax()), overlap.shape[1])
        found.append((known[label][1], given[face][1]))
        overlap[label], overlap[:, face] = 0, 0
    return found


class OverlapTracker:
    """Follows boxes by their overlap with the last one."""

    def __init__(self) -> None:
        self._tracks: dict[int, tuple[FloatArray, float]] = {}
        self._last = 0

    def update(self, boxes: FloatArray, time_s: float) -> list[int]:
        """See `Tracker`."""
        from scipy.optimize import linear_sum_assignment

        numbers, found = list(self._tracks), [0] * len(boxes)
        if numbers and len(boxes):
            overlap = box_iou(np.stack([self._tracks[number][0] for number in numbers]), boxes)
            for row, i in zip(*linear_sum_assignment(-overlap), strict=True):
                if overlap[row, i] >= OVERLAP:
                    found[i] = numbers[row]
        for i, number in enumerate(found):
            if not number:
                self._last += 1
                found[i] = self._last
            self._tracks[found[i]] = (boxes[i], time_s)
        return found

    def moved(self, number: int, time_s: float) -> FloatArray:
        """See `Tracker`."""
        return np.zeros(2, np.float32)

    def split(self, number: int) -> int:
        """See `Tracker`."""
        self._last += 1
        self._tracks[self._last] = self._tracks.pop(number)
        return self._last

    def gone(self, time_s: float) -> list[int]:
        """See `Tracker`."""
        ended = [number for number, (_, seen_s) in self._tracks.items() if time_s - seen_s > MAX_GAP_S]
        for number in ended:
            del self._tracks[number]
        return ended


TRACKERS: dict[str, Callable[[], Tracker]] = {"lrface": MotionTracker, "overlap alone": OverlapTracker}


def measure(clip: Path, labels: Labels, limit: int) -> list[dict[str, Any]]:
    """The rows of a clip."""
    frames, rows = frames_of(clip, limit=limit), list[dict[str, Any]]()
    with FaceMatcher.open(":memory:") as matcher:
        found = [detect_roughly(matcher.detector, frame.image) for frame in tqdm(frames, desc=clip.stem, unit="frame")]
        for name, tracker in TRACKERS.items():
            for every in EVERY:
                run, _, _ = follow(matcher, frames, found, every, tracker())
                shown = [[(face.box, face.track or 0) for face in faces] for faces in run]
                what = {"clip": clip.stem, "frames": len(frames), "tracker": name, "every": every}
                counts = count_switches(shown, [frame.time_s for frame in frames], labels)
                rows.append({**what, **counts, "tracks": len({track for faces in shown for _, track in faces})})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--limit", type=int, default=0, help="only so many frames: a try-out, no figure")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    rows = []
    for clip in CLIPS:
        labels = read_labels(LABELS / f"{Path(clip).stem}.csv")
        rows += measure(args.data / "video" / clip, labels, args.limit)
    print(table(
        ["clip", "frames", "tracker", "every", "labelled faces", "shown, %", "mixed", "astray", "split", "tracks"],
        [[r["clip"], str(r["frames"]), r["tracker"], str(r["every"]), str(r["faces"]),
          f"{100 * r['shown'] / max(1, r['faces']):.1f}", str(r["mixed"]), str(r["astray"]), str(r["split"]),
          str(r["tracks"])]
         for r in rows],
    ))  # fmt: skip
    path = write_result("identity_switches", {
        "protocol": "tracks against labelled identities",
        "limit": args.limit,
        "models": hashes(Manifest.load().entries),
        "rows": rows,
    }, args.out)  # fmt: skip
    print(f"written: {path}")


if __name__ == "__main__":
    main()
