"""Whether a version of lrface is slower than an earlier one: detection, embedding and decision on the same frames.

    git worktree add /tmp/before v0.1.0
    python -m benchmarks.versions before=/tmp/before now=. fast=.,networks=fast [--turns N] [--frames N]

Each version is a checkout, with options of `FaceMatcher.open` behind commas, in a process of its own. They take turns,
each time in the other order, so that other work on the machine hits all. Times are the processor's (of one thread), in
milliseconds a frame: the median over the turns. ``ratio`` is the median, over the turns, of a version's time by that of
the first one in the same turn. Writes ``benchmarks/results/versions.json``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

import cv2
import numpy as np

from benchmarks.lib.results import RESULTS, SHARED, table, write_result

WORKER = Path(__file__).parent / "lib" / "version_worker.py"
CLIPS = ("stage", "street")


class Version:
    """The process of one version.

    Args:
        text: As on the command line.
        people: Folder of those who are enrolled.
        clips: Folder of the frames.
    """

    def __init__(self, text: str, people: Path, clips: Path) -> None:
        self.name, _, rest = text.partition("=")
        checkout, *options = rest.split(",")
        root = Path(checkout).resolve()
        if not (root / "lrface" / "__init__.py").is_file():
            raise SystemExit(f"{text}: {root} is no checkout of lrface")
        given = json.dumps(dict(option.split("=", 1) for option in options))
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(WORKER), given, str(people), str(clips)],
            env={**os.environ, "PYTHONPATH": str(root), **one_thread},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._to, self._from = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)
        if self._answer() != "ready":
            raise SystemExit(f"{text} does not start: see its message above")

    def time(self, clip: str) -> dict[str, float]:
        """Milliseconds a frame and faces a frame of one clip."""
        self._to.write(f"{clip}\n")
        self._to.flush()
        return dict(json.loads(self._answer()))

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def _answer(self) -> str:
        return self._from.readline().strip()


@contextlib.contextmanager
def opened(texts: Sequence[str], people: Path, clips: Path) -> Iterator[list[Version]]:
    """The processes of all versions."""
    with contextlib.ExitStack() as stack:
        versions = []
        for text in texts:
            versions.append(Version(text, people, clips))
            stack.callback(versions[-1].close)
        yield versions


def write_frames(clip: Path, count: int, folder: Path) -> None:
    """Writes frames that lie evenly over a clip."""
    capture = cv2.VideoCapture(str(clip))
    wanted = set(np.linspace(0, capture.get(cv2.CAP_PROP_FRAME_COUNT) - 1, count).astype(int).tolist())
    images = []
    for i in range(max(wanted) + 1):
        there, image = capture.read()
        if there and i in wanted:
            images.append(image)
    np.save(folder / f"{clip.stem}.npy", np.stack(images))


def measure(versions: Sequence[Version], clip: str, turns: int) -> list[dict[str, Any]]:
    """The rows of one clip. The first turn is not counted."""
    times: dict[str, list[dict[str, float]]] = {version.name: [] for version in versions}
    for turn in range(turns + 1):
        for version in versions if turn % 2 else reversed(versions):
            found = version.time(clip)
            if turn:
                times[version.name].append(found)
    base = times[versions[0].name]
    rows = []
    for name, own in times.items():
        row: dict[str, Any] = {"clip": clip, "version": name, "turns": turns, "faces_a_frame": own[0]["faces"]}
        for part in ("detection", "whole"):
            row[f"{part}_ms"] = round(statistics.median(each[part] for each in own), 2)
        ratios = [mine["whole"] / first["whole"] for mine, first in zip(own, base, strict=True)]
        rows.append({**row, "ratio": round(statistics.median(ratios), 3)})
    return rows


def main() -> None:
    """All versions on each clip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="+", metavar="NAME=CHECKOUT[,OPTION=VALUE...]")
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--frames", type=int, default=12, help="of each clip")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as clips:
        for clip in CLIPS:
            write_frames(args.data / "video" / f"{clip}.mp4", args.frames, Path(clips))
        people = args.data / "images" / "stage" / "enroll"
        with opened(args.versions, people, Path(clips)) as versions:
            for clip in CLIPS:
                rows += measure(versions, clip, args.turns)
    print(table(
        ["clip", "version", "faces a frame", "detection, ms", "whole, ms", "ratio"],
        [[r["clip"], r["version"], f"{r['faces_a_frame']:.2f}",
          *(str(r[key]) for key in ("detection_ms", "whole_ms", "ratio"))]
         for r in rows],
    ))  # fmt: skip
    path = write_result("versions", {
        "protocol": "identify in each frame, one thread, the processor's time; the versions take turns",
        "rows": rows,
    }, args.out)  # fmt: skip
    print(f"written: {path}")


if __name__ == "__main__":
    main()
