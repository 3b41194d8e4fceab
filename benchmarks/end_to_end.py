"""End to end, from enrolment photos to names in pictures and a clip: television stills (cast), a talk show (stage).

    python -m benchmarks.end_to_end

Enrols the portraits of ``../shared/data/images/<set>/enroll`` through ``FaceMatcher`` and identifies the people of the
group pictures, at their full size and shrunk until the median face is as wide as asked for, and of ``video/stage.mp4``
frame by frame. The reference identity of a face is that of both teachers together on the full-resolution face
(cosine of the concatenated embeddings to the mean of a person's portraits: at least .35 and the best by .10 is that
person, below .20 a stranger, anything between is left out). It is a reference by machine, 99.6 % right on LFW, not by
hand. In the clip a face that overlaps one of the frame before or after is the same face, so it counts as a stranger
only if the teachers find a stranger in all of its frames.
"""

from __future__ import annotations

import argparse
import collections
import itertools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from benchmarks.lib.results import RESULTS, SHARED, hashes, table, write_result
from lrface import FaceMatcher
from lrface.alignment import align
from lrface.detection import FaceDetector, open_detector
from lrface.inputs.images import read_image
from lrface.inputs.video import VideoSource
from lrface.models.manifest import Manifest
from training.embedder.teachers import Teacher, embed_all

SURE, APART, STRANGER = 0.35, 0.10, 0.20
UNSURE = "?"
Image = npt.NDArray[np.uint8]


class Reference:
    """The teachers' identification of full-resolution faces."""

    def __init__(self, people: Path, teachers: list[Teacher], detector: FaceDetector) -> None:
        self._teachers, self._detector = teachers, detector
        self.names = sorted(folder.name for folder in people.iterdir() if folder.is_dir())
        means = []
        for name in self.names:
            crops = []
            for photo in sorted((people / name).iterdir()):
                image = read_image(photo)
                found = detector.detect(image)
                if len(found):
                    crops.append(align(image, found.landmarks[int(np.argmax(found.boxes[:, 2] - found.boxes[:, 0]))]))
            mean = embed_all(teachers, np.stack(crops)).mean(axis=0)
            means.append(mean / np.linalg.norm(mean))
        self._means = np.stack(means)

    def faces(self, image: Image) -> list[tuple[npt.NDArray[np.float32], str | None]]:
        """Box [4] and name (None: stranger, UNSURE) of every face of a full-resolution picture."""
        found = self._detector.detect(image)
        if not len(found):
            return []
        crops = np.stack([align(image, points) for points in found.landmarks])
        scores = embed_all(self._teachers, crops) @ self._means.T
        out: list[tuple[npt.NDArray[np.float32], str | None]] = []
        for box, row in zip(found.boxes, scores, strict=True):
            first = int(np.argmax(row))
            second = float(np.partition(row, -2)[-2]) if len(row) > 1 else -1.0
            if row[first] < STRANGER:
                out.append((box, None))
            elif row[first] >= SURE and row[first] - second >= APART:
                out.append((box, self.names[first]))
            else:
                out.append((box, UNSURE))
        return out


def mark_unsure_strangers(truths: list[list[tuple[npt.NDArray[np.float32], str | None]]]) -> None:
    """A stranger that overlaps, in the frame before or after, somebody who may be enrolled is unsure."""
    both_ways = (list(itertools.pairwise(truths)), [(b, a) for a, b in itertools.pairwise(truths)][::-1])
    for seen, faces in itertools.chain(*both_ways):
        for i, (box, name) in enumerate(faces):
            if name is None and any(other is not None and overlap(box, place) >= 0.3 for place, other in seen):
                faces[i] = (box, UNSURE)


def overlap(a: Any, b: Any) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return float(both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both))


def tally(
    matcher: FaceMatcher, image: Image, truth: list[tuple[npt.NDArray[np.float32], str | None]], scale: float
) -> tuple[collections.Counter[str], list[float]]:
    """Right, unknown, wrong, missed of enrolled people; named, unknown of strangers; and the faces' native widths."""
    small = image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    faces = matcher.identify(small)
    count: collections.Counter[str] = collections.Counter()
    for box, name in truth:
        best = max(faces, key=lambda face: overlap(face.box, box * scale), default=None)
        found = best if best is not None and overlap(best.box, box * scale) >= 0.3 else None
        if name == UNSURE:
            count["unsure"] += 1
        elif found is None:
            count["missed" if name else "stranger missed"] += 1
        elif name is None:
            count["stranger named" if found.name else "stranger unknown"] += 1
        elif found.name is None:
            count["unknown"] += 1
        else:
            count["right" if found.name == name else "wrong"] += 1
            count[f"named {found.name}"] += 1
    for face in faces:
        if face.name and not any(overlap(face.box, box * scale) >= 0.3 for box, _ in truth):
            count["named, no reference face"] += 1
    return count, [face.native_px for face in faces]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--models", type=Path, default=None, help="models folder  [default: the bundled one]")
    parser.add_argument("--widths", type=int, nargs="*", default=[48, 32, 24, 16],
                        help="median widths of the canonical crop to shrink the group pictures to")  # fmt: skip
    parser.add_argument("--stride", type=int, default=1, help="of the clip's frames")
    parser.add_argument("--limit", type=int, default=0, help="only so many frames of the clip, for a trial")
    parser.add_argument("--fpir", type=float, default=0.01)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()

    manifest = Manifest.load(args.models)
    teachers = [Teacher(path) for path in sorted((args.data / "teachers").glob("*.onnx"))]
    finder = open_detector(str(args.data / "detectors" / "yunet_n_dynamic.onnx"))
    rows: list[dict[str, Any]] = []

    def add(what: str, count: collections.Counter[str], widths: list[float]) -> None:
        rows.append({"what": what, "median_native_px": float(np.median(widths)) if widths else 0.0, **count})

    people = args.data / "images" / "cast" / "enroll"
    reference = Reference(people, teachers, finder)
    pictures = [read_image(path) for path in sorted((args.data / "images" / "cast" / "probe").iterdir())]
    truths = [reference.faces(picture) for picture in pictures]
    with FaceMatcher.open(":memory:", models=args.models, fpir=args.fpir) as matcher:
        print(matcher.enroll_folder(people))
        for width in [0, *args.widths]:
            total: collections.Counter[str] = collections.Counter()
            widths: list[float] = []
            for picture, truth in zip(pictures, truths, strict=True):
                sizes = [face.native_px for face in matcher.identify(picture)] if width else []
                count, native = tally(matcher, picture, truth, width / float(np.median(sizes)) if width else 1.0)
                total += count
                widths += native
            add(f"cast, {f'faces of {width} px' if width else 'full size'}", total, widths)

    people = args.data / "images" / "stage" / "enroll"
    reference = Reference(people, teachers, finder)
    with FaceMatcher.open(":memory:", models=args.models, fpir=args.fpir) as matcher:
        print(matcher.enroll_folder(people))
        source = VideoSource(args.data / "video" / "stage.mp4", stride=args.stride)
        frames = [frame.image for frame in itertools.islice(source, args.limit or None)]
        truths = [reference.faces(image) for image in tqdm(frames, desc="reference", unit="frame")]
        mark_unsure_strangers(truths)
        for scale in (1.0, 0.5):
            total, widths = collections.Counter(), []
            for image, truth in zip(tqdm(frames, desc=f"stage x{scale}", unit="frame"), truths, strict=True):
                count, native = tally(matcher, image, truth, scale)
                total += count
                widths += native
            add(f"stage, frames at {scale:g}", total, widths)

    kinds = ["right", "unknown", "wrong", "missed", "stranger unknown", "stranger named", "stranger missed", "unsure",
             "named, no reference face"]  # fmt: skip
    print(table(
        ["what", "median crop px", *kinds],
        [[r["what"], f"{r['median_native_px']:.0f}", *(str(r.get(kind, 0)) for kind in kinds)] for r in rows],
    ))  # fmt: skip
    path = write_result("end_to_end", {
        "protocol": "reference by both teachers on full-resolution faces found by YuNet-n; IoU 0.3", "fpir": args.fpir,
        "stride": args.stride, "limit": args.limit,
        "models": hashes(manifest.entries), "rows": rows,
    }, args.out)  # fmt: skip
    print(f"written: {path}")


if __name__ == "__main__":
    main()
