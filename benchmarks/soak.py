"""Several cameras for a long time, with faults: memory, threads and latency must stay as they are.

    python -m benchmarks.soak

Simulated cameras give pictures as fast as they are read; each connection ends after some hundred frames by one of
several faults (it is lost, raises, hangs, changes its size, gives no picture). All of the product's own code runs, but
not the networks: the detector finds one walking face at most in each frame, and its vector is noise around that of one
of twenty people, half of them enrolled. Events go to a file and through an outbox to a receiver that fails now and
then. Ctrl-C ends a run early; what it sampled is written. An hour stands for 90,000 frames (one camera at 25 frames/s).
"""

from __future__ import annotations

import argparse
import itertools
import random
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lib.plots import plot
from benchmarks.lib.results import RESULTS, table, write_result
from lrface.alignment import TEMPLATE
from lrface.cameras.config import Camera
from lrface.cameras.running import follower_of, watch_cameras
from lrface.embedding.embedders import Embedded, Networks
from lrface.gallery.records import PhotoTemplate
from lrface.inputs import live
from lrface.inputs.video import Frame
from lrface.matcher import FaceMatcher
from lrface.outputs.delivery import Answer
from lrface.outputs.event_sinks import EventSinks
from lrface.outputs.outbox import Waiting
from lrface.outputs.sinks import JsonLines
from lrface.tracks.events import TrackEvent
from lrface.tracks.following import TrackFollower
from lrface.tracks.strangers import Strangers
from lrface.types import Detections, Face, FloatArray, ImageArray

CAMERAS = 4
HOUR = 90_000  # frames
STALL_S = 0.5
PEOPLE, NOBODY = 20, 255
FAULTS = ("lost", "raises", "hangs", "size", "empty")


class FlawedCamera:
    """A capture in which people walk by, one at a time, until it fails. The first pixel says where."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._script = self._pictures()

    def _pictures(self) -> Iterator[ImageArray | None]:
        fault = self._chance.choice(FAULTS)
        size, left = (120, 160, 3), 0
        for i in range(self._chance.randint(50, 1500)):
            time.sleep(0.001)
            if fault == "size" and i == 40:
                size = (96, 128, 3)
            if not left:
                person, left = self._chance.choice((*range(PEOPLE), NOBODY)), self._chance.randint(20, 200)
            left -= 1
            image = np.full(size, 10 * person % 250, np.uint8)
            image[0, 0] = (person, left % 64, self._chance.randrange(8))
            yield image
        if fault == "raises":
            raise RuntimeError("a driver's fault")
        if fault == "hangs":
            time.sleep(2 * STALL_S)
        if fault == "empty":
            yield np.zeros((0, 0, 3), np.uint8)

    def isOpened(self) -> bool:
        return self._chance.random() < 0.9

    def read(self) -> tuple[bool, Any]:
        image = next(self._script, None)
        return image is not None, image

    def get(self, prop: int, /) -> float:
        return 0.0

    def release(self) -> None: ...


class OneFace:
    """A detector that finds the face that the first pixel tells of."""

    def detect(self, image: ImageArray) -> Detections:
        person, x, y = (int(value) for value in image[0, 0])
        if person == NOBODY:
            return Detections.empty()
        marks = (TEMPLATE + 0.5) * 32 / 112 + (x, 20 + y)
        return Detections.from_arrays(np.array([[x, 20 + y, x + 32, 52 + y]]), np.array([0.9]), marks[None])


class Vectors:
    """In place of networks: noise around the vector of a person, whom the brightness of the crop tells."""

    def __init__(self, real: Networks, dim: int) -> None:
        self.ranges, self.embedders = real.ranges, real.embedders
        self._name = next(iter(real.embedders.values())).entry.name
        self._rng = np.random.default_rng(0)
        self.people = np.linalg.qr(self._rng.standard_normal((dim, PEOPLE)))[0].T.astype(np.float32)

    def network_for(self, width: float) -> Vectors:
        return self

    def embed_crops(self, crops: ImageArray, widths: Sequence[float]) -> list[Embedded | None]:
        return [Embedded(self._name, self.ranges[0].level, self._vector(crop), 0.8) for crop in crops]

    def _vector(self, crop: ImageArray) -> FloatArray:
        vector = self.people[int(crop[56, 56, 0]) // 10 % PEOPLE]
        noisy = vector + self._rng.standard_normal(len(vector)).astype(np.float32) * 0.7 / np.sqrt(len(vector))
        return np.asarray(noisy / np.linalg.norm(noisy), np.float32)


def open_stand_in(folder: Path) -> FaceMatcher:
    """The product's matcher, with the even people enrolled, with stand-ins for detector and networks."""
    matcher = FaceMatcher.open(folder / "soak.gallery", detector=OneFace())
    vectors = Vectors(matcher.networks, matcher.gallery.contract.dim)
    for i, vector in enumerate(vectors.people[::2]):
        matcher.gallery.add(f"person {2 * i}", [PhotoTemplate(f"{i:064x}", 112.0, vector)])
    matcher.networks = vectors  # type: ignore[assignment]
    return matcher


class FlawedReceiver:
    """A receiver that is away or refuses now and then."""

    name = "soak"

    def __init__(self) -> None:
        self._chance = random.Random(1)
        self.taken = 0

    def send(self, event: Waiting) -> tuple[Answer, str]:
        answer = self._chance.choices((Answer.TAKEN, Answer.AWAY, Answer.REFUSED), (0.995, 0.004, 0.001))[0]
        self.taken += answer is Answer.TAKEN
        return answer, "is away"

    def idle(self) -> None: ...

    def close(self) -> None: ...


class Samples:
    """Counts frames; after every `every` of them notes memory, threads and latency; ends the run after `frames`."""

    def __init__(self, frames: int, every: int) -> None:
        self._frames, self._every = frames, every
        self._seen = 0
        self._latencies: list[float] = []
        self.rows: list[dict[str, float]] = []

    def add(self, frame: Frame) -> None:
        self._seen += 1
        self._latencies.append(time.monotonic() - frame.read_at)
        if self._seen % self._every == 0:
            median, late = np.percentile(self._latencies, (50, 99))
            self._latencies.clear()
            self.rows.append({
                "frames": self._seen, "rss_mb": rss_mb(), "threads": threading.active_count(),
                "p50_ms": 1000 * float(median), "p99_ms": 1000 * float(late),
            })  # fmt: skip
        if self._seen >= self._frames:
            raise KeyboardInterrupt


class Counted:
    """Follows the faces of a camera and counts its frames."""

    def __init__(self, follower: TrackFollower, samples: Samples) -> None:
        self._follower, self._samples = follower, samples
        self.wanted, self.end = follower.wanted, follower.end

    def update(self, frame: Frame, found: Detections, faces: Mapping[int, Face]) -> Sequence[TrackEvent]:
        events = self._follower.update(frame, found, faces)
        self._samples.add(frame)
        return events


def rss_mb() -> float:
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def soak(frames: int, every: int, folder: Path) -> list[dict[str, float]]:
    """Runs, and gives the samples.

    Args:
        frames: Of all cameras together.
        every: Frames between two samples.
        folder: For the events and the outbox.
    """
    live.backoff_s = lambda attempt: 0.05  # a real camera is waited for longer
    seeds = itertools.count()
    samples = Samples(frames, every)
    strangers = Strangers()
    receiver = FlawedReceiver()
    cameras = [Camera(f"camera {i}", f"soak://{i}", stall_s=STALL_S) for i in range(CAMERAS)]
    with (
        open_stand_in(folder) as matcher,
        EventSinks(JsonLines(folder / "events.jsonl"), folder / "outbox", [receiver], report=lambda _: None) as sinks,
        suppress(KeyboardInterrupt),
    ):
        watch_cameras(
            matcher,
            cameras,
            sinks=sinks,
            tracking=lambda camera: Counted(follower_of(matcher, camera, strangers), samples),
            open_capture=lambda _: FlawedCamera(random.Random(next(seeds))),
        )
    return samples.rows


def slope_mb_an_hour(rows: Sequence[Mapping[str, float]]) -> float:
    """Growth of the memory by a straight line through the second half; in the first one allocators and caches fill."""
    taken = rows[len(rows) // 2 :]
    x, y = ([row[key] for row in taken] for key in ("frames", "rss_mb"))
    return float(np.polyfit(x, y, 1)[0]) * HOUR


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--every", type=int, default=0, help="frames between two samples; else a hundredth")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        rows = soak(args.frames, args.every or max(10, args.frames // 100), Path(folder))
    seconds = time.monotonic() - started
    if not rows:
        raise SystemExit("interrupted before the first sample: nothing to write")
    write(rows, seconds, args.out)


def write(rows: Sequence[Mapping[str, float]], seconds: float, out: Path) -> None:
    """Prints and writes what a run, also an interrupted one, has sampled."""
    frames = int(rows[-1]["frames"])
    parts = [rows[i * len(rows) // 4 : (i + 1) * len(rows) // 4] for i in range(4)]
    print(table(
        ["quarter", "memory, MiB", "threads at most", "p50, ms", "p99, ms"],
        [[str(i + 1), f"{np.median([r['rss_mb'] for r in part]):.1f}", f"{max(r['threads'] for r in part):.0f}",
          f"{np.median([r['p50_ms'] for r in part]):.1f}", f"{np.median([r['p99_ms'] for r in part]):.1f}"]
         for i, part in enumerate(parts)],
    ))  # fmt: skip
    slope = slope_mb_an_hour(rows)
    print(f"memory: {slope:+.2f} MiB an hour of {HOUR} frames; {frames:,} frames in {seconds:.0f} s")
    x = [row["frames"] for row in rows]
    path = write_result("soak", {
        "protocol": f"{frames:,} frames of {CAMERAS} simulated cameras with faults; stand-ins for the networks",
        "seed": 0,
        "seconds": seconds,
        "slope_mb_an_hour": slope,
        "rows": rows,
        "plots": [
            plot("curves", {"memory": [x, [row["rss_mb"] for row in rows]]}, "Resident memory", "memory",
                 xlabel="frames", ylabel="MiB"),
            plot("curves", {key: [x, [row[f"{key}_ms"] for row in rows]] for key in ("p50", "p99")}, "Latency",
                 "latency", xlabel="frames", ylabel="ms"),
        ],
    }, out)  # fmt: skip
    print(f"written: {path}")


if __name__ == "__main__":
    main()
