"""Frames a second of the whole chain on clips: decoding, detection, landmarks, embedding, decision.

    python -m benchmarks.video [--frames N] [--threads 1 2]

lrface identifies in each frame, with the people of ``../shared/data/images/stage`` enrolled. The peer is what
InsightFace runs: SCRFD-500M at the smallest of some input sizes at which it finds as many faces as lrface (else at the
largest; the first frame decides), and EdgeFace-XS on each aligned face, both by onnxruntime on the same threads;
comparing with a gallery is left out for it. The chains take turns frame by frame, so that other work on the machine
hits both. ``frames a CPU second`` counts the process's time on all cores, latency is by the clock and without decoding.
``decision`` includes cutting the crops. Writes ``benchmarks/results/video.json``.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np

from benchmarks.lib.plots import plot
from benchmarks.lib.results import RESULTS, SHARED, table, write_result
from lrface import FaceMatcher
from lrface.alignment import align_faces
from lrface.detection import FaceDetector, open_detector
from lrface.detection.landmark_refinement import LandmarkRefiner
from lrface.embedding.embedders import Networks
from lrface.inputs.video import VideoSource
from lrface.models.manifest import Manifest
from lrface.models.sessions import open_session
from lrface.types import ImageArray

PEER_SIDES = (640, 960, 1280, 1920)
"""Long sides of SCRFD's input in pixels, in the order in which they are tried."""
AS_MANY = 0.95
CLIPS: dict[str, tuple[str, tuple[slice, slice] | None]] = {
    "street, 1920x1080": ("street.mp4", None),
    "street, 1280x720 of it": ("street.mp4", (slice(180, 900), slice(320, 1600))),
    "stage, 640x360": ("stage.mp4", None),
}
STAGES = ("decoding", "detection", "landmarks", "embedding", "decision")
SMALLEST = 8.0  # working pixels: the height to which ``min_face`` is scaled


class Stopwatch:
    """CPU seconds by stage, and the clock's seconds of each frame."""

    def __init__(self) -> None:
        self.cpu: defaultdict[str, float] = defaultdict(float)
        self.latency: list[float] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts what runs within."""
        start = time.process_time()
        yield
        self.cpu[name] += time.process_time() - start

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """A method that is counted."""

        def counted(*given: Any) -> Any:
            with self.stage(name):
                return call(*given)

        return counted


class Peer:
    """SCRFD-500M and EdgeFace-XS."""

    def __init__(self, data: Path, threads: int, frame: ImageArray, wanted: int) -> None:
        """Chooses the input size by one frame, in which lrface finds ``wanted`` faces."""
        self._session = open_session(data / "teachers" / "edgeface_xs.onnx", None, threads=threads)
        self._input = self._session.get_inputs()[0].name
        self.detector: FaceDetector
        for self.side in PEER_SIDES:
            smallest = max(4.0, SMALLEST * max(frame.shape[:2]) / self.side)
            model = data / "detectors" / "scrfd_500m.onnx"
            self.detector = open_detector(model, threads=threads, min_face=smallest)
            if len(self.detector.detect(frame)) >= AS_MANY * wanted or smallest == 4.0:
                break

    def run(self, image: ImageArray) -> int:
        """How many faces it finds; they are embedded."""
        found = self.detector.detect(image)
        crops = [each.crop(image) for each in align_faces(found.landmarks) if each is not None]
        if crops:
            planes = np.stack(crops)[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
            self._session.run(None, {self._input: np.ascontiguousarray(planes / np.float32(127.5) - np.float32(1))})
        return len(found)


def frames_of(clip: Path, part: tuple[slice, slice] | None, count: int, watch: Stopwatch) -> Iterator[ImageArray]:
    """The first frames of a clip; their decoding is counted."""
    with VideoSource(str(clip)) as source:
        frames = iter(source)
        for _ in itertools.count() if count == 0 else range(count + 1):  # the first is not counted
            with watch.stage("decoding"):
                frame = next(frames, None)
            if frame is None:
                return
            yield frame.image if part is None else np.ascontiguousarray(frame.image[part])


def measure(label: str, data: Path, threads: int, count: int) -> list[dict[str, Any]]:
    """The rows of one clip: lrface and the peer."""
    name, part = CLIPS[label]
    ours, theirs = Stopwatch(), Stopwatch()
    faces: Counter[str] = Counter()
    with (
        FaceMatcher.open(":memory:", threads=threads) as matcher,
        patch.object(LandmarkRefiner, "refine", ours.timed("landmarks", LandmarkRefiner.refine)),
        patch.object(Networks, "embed_crops", ours.timed("embedding", Networks.embed_crops)),
    ):
        matcher.enroll_folder(data / "images" / "stage" / "enroll")
        peer: Peer | None = None
        for image in frames_of(data / "video" / name, part, count, ours):
            if peer is None:
                peer = Peer(data, threads, image, len(matcher.identify(image)))
                peer.run(image)
                ours.cpu.clear()
                continue
            started = time.perf_counter()
            with ours.stage("detection"):
                found = matcher.detector.detect(image)
            with ours.stage("decision"):
                faces["lrface"] += len(matcher.identify_faces(image, found))
            between = time.perf_counter()
            with theirs.stage("all"):
                faces["peer"] += peer.run(image)
            ours.latency.append(between - started)
            theirs.latency.append(time.perf_counter() - between)
    if peer is None or not ours.latency:
        raise SystemExit(f"{name} has too few frames: two are needed")
    ours.cpu["detection"] -= ours.cpu["landmarks"]
    ours.cpu["decision"] -= ours.cpu["embedding"]
    theirs.cpu["decoding"] = ours.cpu["decoding"]
    rows = []
    for who, watch in (("lrface", ours), ("peer", theirs)):
        frames = len(watch.latency)
        ms = 1e3 * np.array(watch.latency)
        rows.append({
            "clip": label, "threads": threads, "chain": who, "frames": frames,
            "detector_side": peer.side if who == "peer" else None, "faces_a_frame": round(faces[who] / frames, 2),
            "frames_a_cpu_second": round(frames / sum(watch.cpu.values()), 2),
            "frames_a_second": round(frames / (sum(watch.latency) + watch.cpu["decoding"]), 2),
            "p50_ms": round(float(np.percentile(ms, 50)), 2), "p99_ms": round(float(np.percentile(ms, 99)), 2),
            "ms_by_stage": {stage: round(1e3 * watch.cpu[stage] / frames, 3) for stage in (*STAGES, "all")
                            if stage in watch.cpu},
        })  # fmt: skip
    return rows


def main() -> None:
    """Both chains on each clip, with each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--frames", type=int, default=100, help="of each clip; 0 for all")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()

    rows: list[dict[str, Any]] = []
    for threads in args.threads:
        cv2.setNumThreads(threads)
        for label in CLIPS:
            rows += measure(label, args.data, threads, args.frames)
    print(table(
        ["clip", "threads", "chain", "detector's side", "faces a frame", "frames a CPU second", "frames a second",
         "p50, ms", "p99, ms"],
        [[r["clip"], str(r["threads"]), r["chain"], str(r["detector_side"] or ""), str(r["faces_a_frame"]),
          str(r["frames_a_cpu_second"]), str(r["frames_a_second"]), str(r["p50_ms"]), str(r["p99_ms"])] for r in rows],
    ))  # fmt: skip
    bars = {f"{r['clip']}, {r['threads']} thr., {r['chain']}": r["frames_a_cpu_second"] for r in rows}
    entry = plot(
        "bars", {"bars": bars, "lines": {}}, "Frames of the whole chain", "speed", xlabel="frames a CPU second"
    )
    path = write_result("video", {
        "protocol": "identify in each frame; the peer is SCRFD-500M and EdgeFace-XS; the chains take turns by frame",
        "models": {each.name: each.sha256 for each in Manifest.load().entries},
        "rows": rows, "plots": [entry],
    }, args.out)  # fmt: skip
    print(f"written: {path}")


if __name__ == "__main__":
    main()
