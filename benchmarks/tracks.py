"""Identification of tracks against single frames: LFW people, and clips against themselves.

    python -m benchmarks.tracks

LFW: people with ten photos or more are enrolled with two; tracks are drawn of their other photos, shrunk as whole
pictures until the aligned face is so many pixels wide (aligned there by the landmarks known from the full picture).
Photos of another day differ more than neighbouring frames: an upper bound of what frames give. Beyond the photos that
a person has, photos are seen again, a little narrower. Strangers are people with five photos or more. FNIR is the share
of tracks of enrolled people that are not named rightly in the end, at the threshold that lrface asks for and at the one
where 1 % of strangers' tracks are named; FPIR is the share of strangers' tracks that were named at any time.

Head poses: two people are enrolled from a clip each, and identified in the clip that shows both, shrunk.

Halves: the tracks of the first half of a clip are enrolled, and identified in its second half by a new run. The truth
of a face is the track that runs through both halves; of tracks that begin later nothing is known, so a name is not
judged. A frame alone: each frame's faces by ``FaceMatcher.identify_faces``.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from benchmarks.lfw import scene_crops
from benchmarks.lib.lfw_data import lfw_faces
from benchmarks.lib.plots import plot
from benchmarks.lib.results import RESULTS, SHARED, hashes, table, write_result
from lrface.detection import FaceDetector, detect_roughly, open_detector, refine_further
from lrface.embedding.embedders import embed_faces
from lrface.errors import LrfaceError
from lrface.gallery import Contract, Gallery
from lrface.gallery.protocol import SearchedPeople
from lrface.gallery.records import PhotoTemplate
from lrface.inputs.video import Frame, VideoSource
from lrface.matcher import FaceMatcher
from lrface.models.manifest import Manifest
from lrface.tracks.decision import CANDIDATES, TrackDecision, decide_track
from lrface.tracks.following import TrackFollower
from lrface.tracks.template import View, fuse_views
from lrface.types import Box, FloatArray, ImageArray

VIEWS = (1, 2, 4, 8, 16)
WIDTHS = (32, 24, 16, 12, 8)
ENROLLED, LEAST_PHOTOS, LEAST_STRANGER = 2, 10, 5
NARROWER = 0.92
HALVES = ("stage.mp4", "classroom.gif", "face-demographics-walking.gif")
BOTH = "head-pose-face-detection-female-and-male.gif"

Namer = Callable[[Frame], Sequence[tuple[Box, str | None]]]


def lfw_people(archive: Path) -> dict[str, list[str]]:
    """The pictures of each person."""
    people: dict[str, list[str]] = collections.defaultdict(list)
    for name in sorted(zipfile.ZipFile(archive).namelist()):
        if name.endswith(".jpg"):
            people[name.split("/")[1]].append("/".join(name.split("/")[1:]))
    return dict(people)


def lfw_tracks(matcher: FaceMatcher, archive: Path, widths: Sequence[int], draws: int, limit: int, fpir: float,
               seed: int) -> list[dict[str, Any]]:  # fmt: skip
    """A row for each width and number of views."""
    people = lfw_people(archive)
    mates = [name for name, files in people.items() if len(files) >= LEAST_PHOTOS][: limit or None]
    strangers = [name for name, files in people.items() if LEAST_STRANGER <= len(files) < LEAST_PHOTOS][: limit or None]
    names = [file for name in (*mates, *strangers) for file in people[name]]
    owner = np.array([file.split("/")[0] for file in names])
    crops, points = lfw_faces(archive, names, matcher.detector)
    clean = matcher.networks.enrolment.embed(crops[np.isin(owner, mates)])
    rows: list[dict[str, Any]] = []
    for width in widths:
        views = lfw_views(matcher, archive, names, points, width)
        again = lfw_views(matcher, archive, names, points, NARROWER * width)
        for count in VIEWS:
            rng = np.random.default_rng([seed, width, count])
            total: collections.Counter[str] = collections.Counter()
            genuine, impostor = list[float](), list[float]()
            for _ in range(draws):
                order = {name: rng.permutation(np.flatnonzero(owner == name)) for name in (*mates, *strangers)}
                index = _enrolled(matcher.gallery.contract, {name: clean[order[name][:ENROLLED]] for name in mates})
                for name, photos in order.items():
                    used = photos[ENROLLED:] if name in mates else photos
                    track = [*(views[i] for i in used), *(again[i] for i in used)][:count]
                    steps = [n for n in VIEWS if n < len(track)] + [len(track)]
                    decisions = [_decide(matcher, track[:n], index, fpir) for n in steps]
                    last = decisions[-1]
                    if name in mates:
                        total["mated"] += 1
                        total["missed"] += last.name != name
                        total["wrong"] += last.name not in (name, None)
                        right = last.candidates and last.candidates[0].name == name
                        genuine.append(last.similarity or -1.0 if right else -1.0)
                    else:
                        total["strangers"] += 1
                        total["named"] += any(each.name is not None for each in decisions)
                        impostor.append(last.similarity or -1.0)
            threshold = float(np.quantile(impostor, 0.99, method="higher"))
            rows.append({
                "set": "LFW", "px": width, "views": count, "mated": total["mated"], "strangers": total["strangers"],
                "fnir": total["missed"] / total["mated"], "wrong": total["wrong"],
                "fpir": total["named"] / total["strangers"],
                "fnir_at_measured_fpir": float(np.mean(np.array(genuine) <= threshold)),
            })  # fmt: skip
    return rows


def _enrolled(contract: Contract, people: Mapping[str, FloatArray]) -> SearchedPeople:
    """People by name, with the embeddings of their photos [n, dim]."""
    with Gallery.open(":memory:", contract) as gallery:
        for name, vectors in people.items():
            gallery.add(
                name, [PhotoTemplate(f"{name}{i}".encode().hex()[-64:], 112.0, v) for i, v in enumerate(vectors)]
            )
        return gallery.search_index()


def lfw_views(matcher: FaceMatcher, archive: Path, names: list[str], points: Any, width: float) -> list[View]:
    """The view of each photo, shrunk until the face is so wide."""
    crops, _ = scene_crops(archive, names, points, round(width), None)
    embedded = matcher.networks.embed_crops(crops, [float(round(width))] * len(crops))
    return [View(each.vector, each.quality, float(round(width)), each.network) for each in embedded if each is not None]


def _decide(matcher: FaceMatcher, views: Sequence[View], index: SearchedPeople, fpir: float) -> TrackDecision:
    fused = matcher.calibration.tracks.get(views[0].network)
    template = fuse_views(views if fused else [max(views, key=lambda view: view.weight)])
    matches = index.candidates(template.vector[None], CANDIDATES)[0]
    return decide_track(template, matches, matcher.calibration, index.population, fpir)


def frames_of(clip: Path, scale: float = 1.0, limit: int = 0) -> list[Frame]:
    """The frames of a clip, shrunk by area."""
    with VideoSource(str(clip)) as source:
        found = list(itertools.islice(source, limit or None))
    if scale >= 1.0:
        return found
    return [Frame(f.index, f.time_s, _shrunk(f.image, scale)) for f in found]


def _shrunk(image: ImageArray, scale: float) -> ImageArray:
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def by_track(matcher: FaceMatcher) -> tuple[TrackFollower, Namer]:
    """Names faces by their tracks."""
    follower = TrackFollower(matcher)

    def name(frame: Frame) -> list[tuple[Box, str | None]]:
        found = detect_roughly(matcher.detector, frame.image)
        rows = follower.wanted(frame, found)
        wanted = refine_further(matcher.detector, frame.image, found[rows])
        faces = embed_faces(frame.image, wanted, matcher.networks, matcher.calibration.alignment_penalty)
        follower.update(frame, found, dict(zip(rows, faces, strict=True)))
        return [(face.box, face.name) for face in follower.seen]

    return follower, name


def by_frame(matcher: FaceMatcher) -> Namer:
    """Names the faces of each frame by itself."""
    return lambda frame: [
        (face.box, face.name) for face in matcher.identify_faces(frame.image, matcher.detector.detect(frame.image))
    ]


def tally(frames: Sequence[Frame], name: Namer, truth: Callable[[int, Box], str | None]) -> dict[str, int]:
    """Faces of known people that were named rightly, wrongly or not at all, and names given to others."""
    total = {"faces": 0, "right": 0, "wrong": 0, "others": 0, "others_named": 0}
    for i, frame in enumerate(frames):
        for box, given in name(frame):
            expected = truth(i, box)
            if expected is None:
                total["others"] += 1
                total["others_named"] += given is not None
                continue
            total["faces"] += 1
            total["right"] += given == expected
            total["wrong"] += given not in (expected, None)
    return total


def measured(matcher: FaceMatcher, frames: Sequence[Frame], truth: Callable[[int, Box], str | None],
             what: Mapping[str, Any]) -> list[dict[str, Any]]:  # fmt: skip
    """The rows of a clip: by track and by single frame."""
    follower, name = by_track(matcher)
    rows = [{**what, "by": "track", **tally(frames, name, truth)}]
    rows[0] |= {"embedded": follower.embedded, "detected": follower.faces}
    return [*rows, {**what, "by": "frame", **tally(frames, by_frame(matcher), truth)}]


def head_poses(
    folder: Path, models: Path | None, detector: FaceDetector, widths: Sequence[int], limit: int
) -> list[dict[str, Any]]:
    """Two people: the woman stands in the left half of the picture."""
    rows: list[dict[str, Any]] = []
    with FaceMatcher.open(":memory:", models=models, detector=detector) as matcher:
        for person in ("female", "male"):
            frames = frames_of(folder / f"head-pose-face-detection-{person}.gif")
            _enroll(matcher, person, [frame.image for frame in frames[:: max(1, len(frames) // 5)]][:5])
        whole = frames_of(folder / BOTH, limit=limit)
        usual = np.median([face.native_px for frame in whole[::8] for face in matcher.analyze(frame.image)])
        for width in widths:
            scale = min(1.0, width / float(usual))
            frames = [Frame(f.index, f.time_s, _shrunk(f.image, scale)) for f in whole]
            half = frames[0].image.shape[1] / 2
            rows += measured(matcher, frames, partial(_left_or_right, half), {"set": "head poses", "px": width})
    return rows


def _left_or_right(half: float, _frame: int, box: Box) -> str:
    return "female" if box[0] + box[2] < 2 * half else "male"


def _enroll(matcher: FaceMatcher, name: str, pictures: Sequence[ImageArray]) -> bool:
    try:
        return bool(matcher.enroll(name, list(pictures), force=True))
    except LrfaceError:
        return False


def halves(clip: Path, models: Path | None, detector: FaceDetector, limit: int) -> list[dict[str, Any]]:
    """The first half of a clip enrols, its second half identifies."""
    frames = frames_of(clip, limit=limit)
    middle = len(frames) // 2
    with FaceMatcher.open(":memory:", models=models, detector=detector) as matcher:
        follower, name = by_track(matcher)
        tracks: list[list[tuple[Box, int]]] = []
        for frame in frames:
            name(frame)
            tracks.append([(face.box, face.track or 0) for face in follower.seen])
        seen: dict[int, list[ImageArray]] = collections.defaultdict(list)
        for frame, found in zip(frames[:middle], tracks, strict=False):
            for box, track in found:
                seen[track].append(_around(frame.image, box, [other for other, number in found if number != track]))
        later = {number for found in tracks[middle:] for _, number in found}
        for track, pictures in seen.items():
            if len(pictures) >= 3:
                _enroll(matcher, f"track {track}", pictures[:: -(-len(pictures) // 5)])
        enrolled = {person.name for person in matcher.people()}
        what = {"set": clip.stem, "px": 0, "enrolled": len(enrolled),
                "still_there": sum(f"track {number}" in enrolled for number in later)}  # fmt: skip

        def truth(i: int, box: Box) -> str | None:
            known = [f"track {number}" for other, number in tracks[middle + i] if np.allclose(other, box, atol=0.5)]
            return known[0] if known and known[0] in enrolled else None

        if not enrolled:
            return []
        return measured(matcher, frames[middle:], truth, what)


def _around(image: ImageArray, box: Box, others: Sequence[Any]) -> ImageArray:
    """The part of a picture around one face; other faces are painted over."""
    x1, y1, x2, y2 = box
    side = max(x2 - x1, y2 - y1)
    canvas = image.copy()
    for a, b, c, d in others:
        canvas[max(0, int(b)) : int(d) + 1, max(0, int(a)) : int(c) + 1] = 128
    part = canvas[max(0, int(y1 - side)) : int(y2 + side), max(0, int(x1 - side)) : int(x2 + side)]
    return np.ascontiguousarray(part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--models", type=Path, default=None, help="a models folder; the bundled one")
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS))
    parser.add_argument("--draws", type=int, default=5, help="of enrolment photos and tracks")
    parser.add_argument("--limit", type=int, default=0, help="only so many people and frames: a try-out, no figure")
    parser.add_argument("--fpir", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()

    manifest, detector = Manifest.load(args.models), open_detector(manifest=Manifest.load(args.models))
    with FaceMatcher.open(":memory:", models=args.models, detector=detector) as matcher:
        archive = args.data / "lfw" / "lfw-deepfunneled.zip"
        lfw = lfw_tracks(matcher, archive, args.widths, args.draws, args.limit, args.fpir, args.seed)
        fused = sorted(matcher.calibration.tracks)
    print(table(
        ["px", "views", "FNIR, %", "FNIR at a measured FPIR of 1 %, %", "FPIR of tracks, %", "wrong names"],
        [[str(r["px"]), str(r["views"]), f"{100 * r['fnir']:.1f}", f"{100 * r['fnir_at_measured_fpir']:.1f}",
          f"{100 * r['fpir']:.2f}", str(r["wrong"])] for r in lfw],
    ))  # fmt: skip
    videos = args.data / "video"
    clips = head_poses(videos, args.models, detector, [width for width in args.widths if width >= 16], args.limit)
    for clip in tqdm(HALVES, desc="halves", unit="clip"):
        clips += halves(videos / clip, args.models, detector, args.limit)
    print(table(
        ["clip", "px", "by", "faces", "named rightly, %", "wrong names", "others named", "embedded of"],
        [[r["set"], str(r["px"] or "-"), r["by"], str(r["faces"]), f"{100 * r['right'] / max(1, r['faces']):.1f}",
          str(r["wrong"]), f"{r['others_named']} of {r['others']}",
          f"{r['embedded']} of {r['detected']}" if "embedded" in r else "all"] for r in clips],
    ))  # fmt: skip
    curves = {
        f"{width} px": [[float(r["views"]) for r in lfw if r["px"] == width],
                        [100 * r["fnir_at_measured_fpir"] for r in lfw if r["px"] == width]]
        for width in args.widths
    }  # fmt: skip
    path = write_result("tracks", {
        "protocol": "tracks of enrolled people and of strangers; clips against themselves, by track and by frame",
        "fpir": args.fpir, "draws": args.draws, "limit": args.limit, "seed": args.seed, "thresholds_of_tracks": fused,
        "models": hashes(manifest.entries),
        "rows": [*lfw, *clips],
        "plots": [plot("swept", curves, "Enrolled people whose track is not named, at a measured FPIR of 1 % (LFW)",
                       xlabel="views of the track", ylabel="not named, %")],
    }, args.out)  # fmt: skip
    print(f"written: {path}")


if __name__ == "__main__":
    main()
