"""Frames a second of the whole chain on clips: decoding, detection, landmarks, embedding, decision.

    python -m benchmarks.video [--frames N] [--threads 1 2] [--detect-every 1 3]

``lrface`` identifies in each frame, with the people of ``../shared/data/images/stage`` enrolled; ``tracks, every n`` is
what ``lrface.watch(detect_every=n)`` does: it searches for faces in every n-th frame, and embeds those with new or
better views. Faces a frame are then those shown, also where their boxes moved with their tracks. The peer is what
InsightFace runs: SCRFD-500M at the smallest of some input sizes at which it finds as many faces as lrface (else at the
largest; the first frame decides), and EdgeFace-XS on each aligned face, both by onnxruntime on the same threads;
comparing with a gallery is left out for it. The chains take turns frame by frame, so that other work on the machine
hits both. ``frames a CPU second`` counts the process's time on all cores, latency is by the clock and without decoding.
``decision`` includes cutting the crops. ``street twice`` shows two moments of street.mp4, one above the other:
about 14 faces, for which 25 frames a second on two cores are the goal. Writes ``benchmarks/results/video.json``.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np

from benchmarks.lib.plots import plot
from benchmarks.lib.results import RESULTS, SHARED, hashes, table, write_result
from lrface import FaceMatcher
from lrface.alignment import align_faces
from lrface.detection import FaceDetector, detect_roughly, open_detector, refine_further
from lrface.detection.landmark_refinement import LandmarkRefiner
from lrface.embedding.embedders import Networks, embed_faces
from lrface.inputs.video import Frame, VideoSource
from lrface.models.manifest import Manifest
from lrface.models.sessions import open_session
from lrface.tracks.detection_pace import DetectionPace
from lrface.tracks.following import TrackFollower
from lrface.types import ImageArray

PEER_SIDES = (640, 960, 1280, 1920)
"""Long sides of SCRFD's input in pixels, in the order in which they are tried."""
AS_MANY = 0.95
CLIPS: dict[str, tuple[str, tuple[slice, slice] | None]] = {
    "street, 1920x1080": ("street.mp4", None),
    "street, 1280x720 of it": ("street.mp4", (slice(180, 900), slice(320, 1600))),
    "street twice, 1280x720": ("street.mp4", (slice(480, 840), slice(300, 1580))),
    "stage, 640x360": ("stage.mp4", None),
}
TWICE = {"street twice, 1280x720": 52}
"""Clips of which two moments are shown, one above the other, so many frames apart: twice as many faces."""
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


class Chain:
    """A chain that is measured.

    Attributes:
        watch: Its times.
        faces: In all its frames.
    """

    def __init__(self, name: str, run: Callable[[Frame, Stopwatch], int]) -> None:
        self.name, self._run = name, run
        self.watch, self.faces = Stopwatch(), 0

    def run(self, frame: Frame) -> None:
        """One frame through the chain."""
        started = time.perf_counter()
        self.faces += self._run(frame, self.watch)
        self.watch.latency.append(time.perf_counter() - started)


class Stages:
    """Counts what all chains of lrface have in common; ``watch`` is that of the chain that runs."""

    def __init__(self) -> None:
        self.watch = Stopwatch()

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """A method that is counted."""

        def counted(*given: Any) -> Any:
            with self.watch.stage(name):
                return call(*given)

        return counted


def by_frame(matcher: FaceMatcher, stages: Stages, frame: Frame, watch: Stopwatch) -> int:
    """Identifies the faces of one frame by itself; how many there are."""
    stages.watch = watch
    with watch.stage("detection"):
        found = matcher.detector.detect(frame.image)
    with watch.stage("decision"):
        return len(matcher.identify_faces(frame.image, found))


def by_track(
    matcher: FaceMatcher, stages: Stages, follower: TrackFollower, pace: DetectionPace, frame: Frame, watch: Stopwatch
) -> int:
    """Follows the faces into one frame; how many are shown there."""
    stages.watch = watch
    if not pace.due(frame):
        with watch.stage("decision"):
            return len(follower.carry(frame))
    with watch.stage("detection"):
        found = detect_roughly(matcher.detector, frame.image)
    with watch.stage("decision"):
        rows = follower.wanted(frame, found)
    with watch.stage("detection"):
        wanted = refine_further(matcher.detector, frame.image, found[rows])
    with watch.stage("decision"):
        faces = embed_faces(frame.image, wanted, matcher.networks, matcher.calibration.alignment_penalty)
        follower.update(frame, found, dict(zip(rows, faces, strict=True)))
    return len(follower.seen)


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


def frames_of(
    clip: Path, part: tuple[slice, slice] | None, later: int, count: int, watch: Stopwatch
) -> Iterator[Frame]:
    """The first frames of a clip, or a part of each; their decoding is counted.

    Args:
        clip: Which.
        part: Rows and columns; None: all.
        later: Shows the frame that comes so many later, too, below; 0: not.
        count: Of frames; 0: all.
        watch: Counts.
    """
    with ExitStack() as stack:
        moments = [iter(stack.enter_context(VideoSource(str(clip)))) for _ in range(1 + (later > 0))]
        for _ in range(later):
            next(moments[1], None)
        for _ in itertools.count() if count == 0 else range(count + 1):  # the first is not counted
            with watch.stage("decoding"):
                frames = [frame for each in moments if (frame := next(each, None)) is not None]
            if len(frames) < len(moments):
                return
            parts = [frame.image if part is None else frame.image[part] for frame in frames]
            yield Frame(frames[0].index, frames[0].time_s, np.ascontiguousarray(np.concatenate(parts)))


def measure(label: str, data: Path, threads: int, count: int, detect_every: Sequence[int]) -> list[dict[str, Any]]:
    """The rows of one clip: lrface in each frame, with tracks, and the peer."""
    name, part = CLIPS[label]
    decoding, stages, chains = Stopwatch(), Stages(), list[Chain]()
    side = 0
    with (
        FaceMatcher.open(":memory:", threads=threads) as matcher,
        patch.object(LandmarkRefiner, "refine", stages.timed("landmarks", LandmarkRefiner.refine)),
        patch.object(Networks, "embed_crops", stages.timed("embedding", Networks.embed_crops)),
    ):
        matcher.enroll_folder(data / "images" / "stage" / "enroll")
        for frame in frames_of(data / "video" / name, part, TWICE.get(label, 0), count, decoding):
            if not chains:  # what is done once is not counted
                peer = Peer(data, threads, frame.image, len(matcher.identify(frame.image)))
                peer.run(frame.image)
                side = peer.side
                decoding.cpu.clear()
                chains = [Chain("lrface", partial(by_frame, matcher, stages))]
                for every in detect_every:
                    follower, pace = TrackFollower(matcher), DetectionPace(every)
                    run = partial(by_track, matcher, stages, follower, pace)
                    chains.append(Chain(f"tracks, every {every}", run))
                chains.append(Chain("peer", partial(by_peer, peer)))
                continue
            for chain in chains:
                chain.run(frame)
    if not chains or not chains[0].watch.latency:
        raise SystemExit(f"{name} has too few frames: two are needed")
    rows = []
    for chain in chains:
        cpu, latency = chain.watch.cpu, chain.watch.latency
        cpu["detection"] -= cpu["landmarks"]
        cpu["decision"] -= cpu["embedding"]
        cpu["decoding"] = decoding.cpu["decoding"]
        frames = len(latency)
        ms = 1e3 * np.array(latency)
        rows.append({
            "clip": label, "threads": threads, "chain": chain.name, "frames": frames,
            "detector_side": side if chain.name == "peer" else None, "faces_a_frame": round(chain.faces / frames, 2),
            "frames_a_cpu_second": round(frames / sum(cpu.values()), 2),
            "frames_a_second": round(frames / (sum(latency) + cpu["decoding"]), 2),
            "p50_ms": round(float(np.percentile(ms, 50)), 2), "p99_ms": round(float(np.percentile(ms, 99)), 2),
            "ms_by_stage": {stage: round(1e3 * cpu[stage] / frames, 3) for stage in (*STAGES, "all") if cpu[stage]},
        })  # fmt: skip
    return rows


def by_peer(peer: Peer, frame: Frame, watch: Stopwatch) -> int:
    """The peer on one frame; how many faces it finds."""
    with watch.stage("all"):
        return peer.run(frame.image)


def main() -> None:
    """Both chains on each clip, with each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--frames", type=int, default=100, help="of each clip; 0 for all")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--detect-every", type=int, nargs="*", default=[1, 3], help="of the chain with tracks")
    parser.add_argument("--clips", nargs="*", choices=list(CLIPS), default=list(CLIPS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()

    rows: list[dict[str, Any]] = []
    for threads in args.threads:
        cv2.setNumThreads(threads)
        for label in args.clips:
            rows += measure(label, args.data, threads, args.frames, args.detect_every)
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
        "protocol": "lrface by frame and by track; the peer: SCRFD-500M and EdgeFace-XS. They take turns by frame",
        "models": hashes(Manifest.load().entries),
        "rows": rows, "plots": [entry],
    }, args.out)  # fmt: skip
    print(f"written: {path}")


if __name__ == "__main__":
    main()
