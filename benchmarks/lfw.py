"""LFW verification at low resolution: our models, any ONNX embedder, and the teachers fed the up-scaled face.

    python -m benchmarks.lfw                                # the bundled models and the two teachers
    python -m benchmarks.lfw --model other.onnx             # any embedder: RGB, (x - 127.5) / 127.5, its own input size

Protocol: the standard 6,000 pairs in 10 folds (View 2), each fold's threshold chosen on the other nine; mean and
standard deviation of the accuracy in %, TAR in % at FAR 1e-2 and 1e-3 over all pairs. Faces are detected and aligned
once on the full picture. LR-LR: both faces of a pair at r. HR-LR: the first as the gallery's network sees an ordinary
photo, the second at r. Full: both at 112. Nobody is shown a face's mirror image besides; a network that makes one for
itself (``training.recipe.Recipe.mirror``) pays for it in MACs and speed. Teachers and foreign models are fed the small
face brought back to 112 by bicubic interpolation.

*Aligned* degradation: the canonical 112x112 crop shrunk by area to r x r. *Scene* degradation: the whole picture shrunk
by area until the canonical crop is r pixels wide, there aligned again, as the runtime does, by the landmarks known from
the full picture and by those of lrface's own detector; where it finds no face, the known ones.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from benchmarks.lib.datasets.xqlfw import read_pairs
from benchmarks.lib.lfw_data import lfw_faces, lfw_pictures, middle_face
from benchmarks.lib.macs import count_macs
from benchmarks.lib.peers import PeerEmbeddings, shrunk, spread
from benchmarks.lib.plots import histogram, plot, thin
from benchmarks.lib.results import RESULTS, SHARED, table, write_result
from lrface.alignment import align, native_crop_px
from lrface.detection import FaceDetector, open_detector
from lrface.embedding.embedders import Embedder
from lrface.errors import ImageError
from lrface.metrics import fold_accuracies, roc, tar_at_far
from lrface.models.manifest import Manifest
from lrface.models.serving import level_for
from training.common.manifest import sha256
from training.embedder.teachers import Preprocessing, Teacher

PLAIN = ("full", "LR-LR", "HR-LR")
PEERS = ("edgeface_xs", "both teachers concatenated")

Crops = npt.NDArray[np.uint8]
Embeddings = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Contender:
    """Something that embeds a face seen at r x r pixels.

    Attributes:
        name: for the table.
        low: crops uint8 [n, 112, 112, 3] and r to embeddings of the faces at r.
        high: crops to embeddings of the full faces, in the same space.
        sizes: the r that it is the network for.
        full: from this r on it sees no less of a face than of the full one.
        level: side of its input, whatever the face; 0: as large as the face. What its speed is measured at.
        sha256: of its file; "" for several.
        macs: multiply-accumulates of a face.
    """

    name: str
    low: Callable[[Crops, int], Embeddings]
    high: Callable[[Crops], Embeddings]
    sizes: tuple[int, ...]
    full: int = 112
    level: int = 0
    sha256: str = ""
    macs: int = 0


def scene_crops(
    archive: Path, names: list[str], known: Embeddings, size: int, detector: FaceDetector | None
) -> tuple[Crops, float]:
    """Canonical crops of pictures shrunk until the crop is ``size`` px wide; the share of them found there."""
    crops, found = [], 0
    for image, points in tqdm(zip(lfw_pictures(archive, names), known, strict=True), total=len(names), unit="picture",
                              desc=f"scene {size}"):  # fmt: skip
        scale = min(1.0, size / native_crop_px(points))
        side = [max(1, round(length * scale)) for length in image.shape[1::-1]]
        small = np.asarray(cv2.resize(image, side, interpolation=cv2.INTER_AREA), np.uint8)
        here = (points + 0.5) * (np.array(side, np.float32) / np.array(image.shape[1::-1], np.float32)) - 0.5
        landmarks = middle_face(small, detector) if detector is not None else None
        # A detection elsewhere is not this face.
        if landmarks is None or np.linalg.norm(landmarks.mean(axis=0) - here.mean(axis=0)) > size / 2:
            landmarks = here
        else:
            found += 1
        try:
            crops.append(align(small, landmarks))
        except ImageError:
            crops.append(align(small, here))
    return np.stack(crops), found / len(names)


def bundled(manifest: Manifest, threads: int, sizes: list[int], label: str = "") -> list[Contender]:
    """The manifest's students, each for the sizes that the runtime gives it, in one set or the other."""
    embedders = {level: Embedder(e, manifest.folder, threads=threads) for level, e in manifest.embedders.items()}
    if not embedders:
        return []
    gallery = embedders[manifest.enrolment.level]
    given = {(level_for(size, ranges), size) for ranges in manifest.ranges.values() for size in sizes}
    return [
        Contender(
            entry.name + label, _low(embedders[level]),
            lambda crops: _vectors(gallery, crops),
            tuple(size for size in sizes if (level, size) in given and size <= gallery.level),
            gallery.level, level, entry.sha256, count_macs(manifest.folder / entry.file),
        )
        for level, entry in sorted(manifest.embedders.items(), reverse=True)
    ]  # fmt: skip


def peer_contender(
    embeddings: PeerEmbeddings, name: str, teachers: list[Teacher], sizes: tuple[int, ...], digest: str = ""
) -> Contender:
    """Embedders of full faces, fed up-scaled ones, concatenated."""

    def low(crops: Crops, size: int) -> Embeddings:
        return embeddings.joined(teachers, crops, size)

    macs = sum(count_macs(teacher.path) for teacher in teachers)
    return Contender(name, low, lambda crops: low(crops, crops.shape[1]), sizes, sha256=digest, macs=macs)


def faces_per_second(embed: Callable[[Crops], Any], crops: Crops, seconds: float = 2.0) -> float:
    """Throughput in batches of 32: the median of repeated batches, after a warm-up."""
    batch = np.ascontiguousarray(crops[:32])
    embed(batch)
    times, end = list[float](), time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        embed(batch)
        times.append(time.perf_counter() - start)
    return len(batch) / float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, default=SHARED / "lfw", help="folder of the zip and pairs.txt")
    parser.add_argument("--models", type=Path, default=None, help="a models folder; the bundled one")
    parser.add_argument("--model", type=Path, action="append", default=[], help="any ONNX embedder besides; may repeat")
    parser.add_argument("--teachers", type=Path, default=SHARED / "teachers")
    parser.add_argument("--detector", default=str(SHARED / "detectors" / "yunet_n_dynamic.onnx"),
                        help="aligns the faces; 'bundled' for lrface's own")  # fmt: skip
    parser.add_argument("--sizes", type=int, nargs="+", default=[112, 32, 24, 16, 12, 8])
    parser.add_argument("--scene", type=int, nargs="*", help="sizes of scene degradation; all")
    parser.add_argument("--limit", type=int, default=0, help="only so many pairs of each fold: a try-out, no figure")
    parser.add_argument(
        "--cache",
        type=Path,
        default=None,
        help="folder for the teachers' embeddings; not in git",
    )
    parser.add_argument("--threads", type=int, default=1, help="of each network; what speed is measured with")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()

    names, same, fold = read_pairs(args.lfw / "pairs.txt")
    if args.limit:
        half = len(names) // len(np.unique(fold)) // 2
        keep = np.flatnonzero(np.arange(len(names)) % half < args.limit)
        names, same, fold = [names[i] for i in keep], same[keep], fold[keep]
    pictures = sorted({name for pair in names for name in pair})
    row = {name: i for i, name in enumerate(pictures)}
    a, b = (np.array([row[pair[side]] for pair in names]) for side in (0, 1))
    detector = open_detector(None if args.detector == "bundled" else args.detector, threads=args.threads)
    archive = args.lfw / "lfw-deepfunneled.zip"
    crops, points = lfw_faces(archive, pictures, detector)

    manifest = Manifest.load(args.models)
    contenders = bundled(manifest, args.threads, args.sizes)
    exact = manifest.folder / "float32"
    if exact.exists():
        done = {contender.sha256 for contender in contenders}  # a network may ship as float32
        others = bundled(Manifest.load(exact), args.threads, args.sizes, ", float32")
        contenders += [contender for contender in others if contender.sha256 not in done]
    embeddings, sizes = PeerEmbeddings(crops, args.cache), tuple(args.sizes)
    for path in args.model:
        teacher = Teacher(path, Preprocessing(size=_input_size(path)), args.threads)
        contenders.append(peer_contender(embeddings, path.stem, [teacher], sizes, sha256(path)))
    teachers = [Teacher(path, threads=args.threads) for path in sorted(args.teachers.glob("*.onnx"))]
    for teacher in teachers:
        contenders.append(peer_contender(embeddings, teacher.path.stem, [teacher], sizes, sha256(teacher.path)))
    if len(teachers) > 1:
        contenders.append(peer_contender(embeddings, "both teachers concatenated", teachers, sizes))

    rows: list[dict[str, Any]] = []
    curves: dict[str, list[list[float]]] = {}
    histograms: dict[str, list[list[float]]] = {}
    own = {entry.name for entry in manifest.embedders.values()}

    def measure(
        contender: Contender, size: int, protocol: str, first: Embeddings, low: Embeddings, rate: float
    ) -> None:
        scores = np.sum(first[a] * low[b], axis=1)
        accuracy = 100 * fold_accuracies(scores, same, fold)
        rows.append({
            "model": contender.name, "sha256": contender.sha256, "size": size, "protocol": protocol,
            "accuracy": float(accuracy.mean()), "std": float(accuracy.std()),
            "tar_1e-2": 100 * tar_at_far(scores, same, 1e-2), "tar_1e-3": 100 * tar_at_far(scores, same, 1e-3),
            "faces_per_second": rate, "macs": contender.macs,
        })  # fmt: skip
        label = f"{contender.name}, {size}x{size}" + ("" if protocol in ("full", "LR-LR") else f", {protocol}")
        if contender.name in own or contender.name in PEERS:
            far, tar, _ = roc(scores, same)
            curves[label] = thin(far, tar)
            if protocol in ("full", "LR-LR"):
                histograms[label] = histogram(scores[same], scores[~same])
        print(f"{contender.name} {size} {protocol}: {rows[-1]['accuracy']:.2f}", file=sys.stderr)

    # Scene degradation costs a detector's run a picture: our own networks only.
    scenes: dict[tuple[int, str], tuple[Crops, float]] = {}
    for size in args.sizes if args.scene is None else args.scene:
        for how, finder in (("known landmarks", None), ("own detector", open_detector(threads=args.threads))):
            scenes[size, how] = scene_crops(archive, pictures, points, size, finder)
    for contender in contenders:
        high = contender.high(crops)
        for size in (size for size in args.sizes if size in contender.sizes):
            low = contender.low(crops, size)
            rate = faces_per_second(
                _at_size(contender, contender.level or size),
                crops[:4] if args.limit else crops,
                0.0 if args.limit else 2.0,
            )
            both, mixed = ("full", "") if size == crops.shape[1] else ("LR-LR", "HR-LR" * (size < contender.full))
            measure(contender, size, both, low, low, rate)
            if mixed:
                measure(contender, size, mixed, high, low, rate)
            for (side, how), (seen, _) in scenes.items():
                if side == size and contender.name in own:
                    low = contender.low(seen, size)
                    measure(contender, size, f"scene {both}, {how}", low, low, rate)
                    if mixed:
                        measure(contender, size, f"scene {mixed}, {how}", high, low, rate)
    rows.sort(key=lambda r: (-r["size"], PLAIN.index(r["protocol"]) if r["protocol"] in PLAIN else len(PLAIN)))
    peer = {r["size"]: r["faces_per_second"] for r in rows if r["model"].startswith("edgeface_xs")}
    print(table(
        ["r", "protocol", "model", "accuracy", "TAR@FAR 1e-2 / 1e-3", "faces/s", "x EdgeFace-XS"],
        [[str(r["size"]), r["protocol"], r["model"], f"{r['accuracy']:.2f} +- {r['std']:.2f}",
          f"{r['tar_1e-2']:.1f} / {r['tar_1e-3']:.1f}", f"{r['faces_per_second']:.0f}",
          f"{r['faces_per_second'] / peer[r['size']]:.1f}" if r["size"] in peer else "-"] for r in rows],
    ))  # fmt: skip
    path = write_result("lfw", {
        "protocol": "degradation by area, 10 folds, no mirroring outside the networks; throughput in batches of 32"
        " incl. resizing",
        "found_in_scene": {size: share for (size, how), (_, share) in scenes.items() if how == "own detector"},
        "detector": Path(args.detector).name, "threads": args.threads, "pairs": len(names),
        "seed": None, "rows": rows, "plots": _plots(rows, curves, histograms),
    }, args.out)  # fmt: skip
    print(f"written: {path}")


def _plots(
    rows: list[dict[str, Any]], curves: dict[str, list[list[float]]], histograms: dict[str, list[list[float]]]
) -> list[dict[str, Any]]:
    found = []
    plain = {label: line for label, line in curves.items() if "scene" not in label}
    found.append(plot("roc", plain, "LFW"))
    found.append(plot("det", {k: (x, [1 - y for y in tar]) for k, (x, tar) in plain.items()}, "LFW"))
    found.append(plot("histograms", histograms, "LFW, genuine and impostor pairs"))
    for name, column, xlabel, scale in (
        ("macs", "macs", "million multiply-accumulates a face", 1e-6),
        ("speed", "faces_per_second", "faces a second, one thread, batches of 32", 1.0),
    ):
        lines = [
            {
                "label": r["model"],
                "cost": r[column] * scale,
                "accuracy": r["accuracy"],
                "group": f"{r['size']}x{r['size']}",
            }
            for r in rows
            if r["protocol"] in ("full", "LR-LR") and r[column]
        ]
        found.append(plot("accuracy-against-cost", lines, "LFW, both faces small", name, xlabel=xlabel))
    return found


def _low(embedder: Embedder) -> Callable[[Crops, int], Embeddings]:
    return lambda crops, size: _vectors(embedder, _as_seen(crops, size, embedder.level))


def _at_size(contender: Contender, size: int) -> Callable[[Crops], Embeddings]:
    return lambda crops: contender.low(crops, size)


def _as_seen(crops: Crops, size: int, level: int) -> Crops:
    """The full crops of faces that are ``size`` pixels wide in their picture, as alignment makes them."""
    if size == level:  # the network's own shrinking by area is all
        return crops
    return np.stack([cv2.resize(crop, (112, 112), interpolation=cv2.INTER_LINEAR) for crop in shrunk(crops, size)])


def _vectors(embedder: Embedder, crops: Crops) -> Embeddings:
    # A batch is what speed is measured with: one thread.
    return spread(embedder.embed, crops) if len(crops) > 256 else embedder.embed(crops)


def _input_size(path: Path) -> int:
    import onnxruntime as ort

    side = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_inputs()[0].shape[-1]
    return side if isinstance(side, int) else 112


if __name__ == "__main__":
    main()
