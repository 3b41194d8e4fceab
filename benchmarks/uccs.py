"""Identification on UCCS, or on a stand-in for it.

    python -m benchmarks.uccs --root <folder of the release>   # either release of the challenge (lib/datasets/uccs.py)
    python -m benchmarks.uccs                                  # a stand-in of the validation people: NOT UCCS
    python -m benchmarks.uccs --people people                  # a stand-in of people/<name>/*.jpg

*HORKD's protocol* (Ge et al., AAAI 2020): 180 subjects drawn at random, each one's faces split 4:1, the aligned face
shrunk by area to r x r, top-1 and top-5 error of the smaller part; mean and standard deviation over the seeds. The
paper trains on the larger part; here nothing is trained, a subject is the mean of the larger part's embeddings. With
fewer subjects all are taken, and the result says how many. The stand-in's faces are small before they are shrunk.

*Watch list* (the challenge's open set): named training faces, or the gallery, are enrolled at the size they have; faces
are found in the validation scenes by the bundled detector (IoU 0.5 with the labelled box). Detection and identification
rate: named faces found, ranked first and above the threshold; against false positives a picture: strangers and false
detections above it.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.lib.crops import FaceCrop, crop_face, crop_pictures
from benchmarks.lib.datasets.records import STRANGER, FaceRecord
from benchmarks.lib.datasets.uccs import NAME, Uccs, read_uccs
from benchmarks.lib.matching import Chain, Templates
from benchmarks.lib.plots import histogram, plot, thin
from benchmarks.lib.results import RESULTS, SHARED, table, write_result
from benchmarks.lib.uccs_standin import STANDIN, Standin, build
from lrface.detection import FaceDetector, open_detector
from lrface.geometry import box_iou
from lrface.inputs.images import read_image
from lrface.metrics import UNRANKED, cmc, dir_at, dir_curve, mate_ranks, rank_error, wilson_interval
from lrface.models.manifest import Manifest
from lrface.types import Array, FloatArray

SUBJECTS, PARTS, MATCHED = 180, 5, 0.5
PER_PICTURE = (0.01, 0.1, 1.0)

Rows = list[dict[str, Any]]
Plots = list[dict[str, Any]]


def horkd_ranks(
    vectors: FloatArray, people: npt.NDArray[np.str_], subjects: int, seed: int
) -> tuple[npt.NDArray[np.int64], int, int]:
    """HORKD's protocol once.

    Args:
        vectors: float32 ``[n, dim]``, unit embeddings of named faces.
        people: str ``[n]``, who each shows.
        subjects: how many to draw of those with five faces or more.
        seed: of the draw and the split.

    Returns:
        The mate's rank of each test face, how many faces are enrolled, and of how many subjects.

    Raises:
        ValueError: fewer than two subjects have five faces.
    """
    rng = np.random.default_rng(seed)
    names, counts = np.unique(people, return_counts=True)
    usable = names[counts >= PARTS]
    if len(usable) < 2:
        raise ValueError(f"{len(usable)} subjects have {PARTS} faces or more: HORKD's 4:1 split needs two")
    means, tests, mates, enrolled = [], [], [], 0
    for i, name in enumerate(rng.permutation(usable)[:subjects]):
        rows = rng.permutation(np.flatnonzero(people == name))
        count = round(len(rows) / PARTS)
        mean = vectors[rows[count:]].mean(axis=0)
        means.append(mean / np.linalg.norm(mean))
        tests.append(vectors[rows[:count]])
        mates += [i] * count
        enrolled += len(rows) - count
    return mate_ranks(np.concatenate(tests) @ np.stack(means).T, np.array(mates))[1], enrolled, len(means)


def horkd(
    release: Uccs, chain: Chain, detector: FaceDetector, sizes: list[int], seeds: list[int]
) -> tuple[Rows, Plots]:
    """HORKD's protocol at several sizes."""
    order, cuts = [], list[FaceCrop]()
    for rows, here in crop_pictures(release.labelled, detector):
        order += rows
        cuts += here
    crops, widths = np.stack([cut.crop for cut in cuts]), [cut.native_px for cut in cuts]
    people = np.array([release.labelled[i].subject for i in order])
    out, curves = [], {}
    for size in sizes:
        vectors = chain.embed_at(crops, size)
        runs = [horkd_ranks(vectors, people, SUBJECTS, seed) for seed in seeds]
        errors = 100 * np.array([[rank_error(ranks, k) for k in (1, 5)] for ranks, _, _ in runs])
        out.append({
            "test": "HORKD", "size": size, "subjects": runs[0][2],
            "enrolled": runs[0][1], "searches": len(runs[0][0]),
            "median_native_px": float(np.median(widths)), "not_detected": sum(not cut.found for cut in cuts),
            "top1_error": float(errors[:, 0].mean()), "top1_std": float(errors[:, 0].std()),
            "top5_error": float(errors[:, 1].mean()), "top5_std": float(errors[:, 1].std()),
        })  # fmt: skip
        depth = min(50, runs[0][2])
        curves[f"{size}x{size}"] = [
            list(range(1, depth + 1)),
            cmc(np.concatenate([r for r, _, _ in runs]), depth).tolist(),
        ]
    return out, [plot("cmc", curves, "HORKD's protocol, all seeds together")]


def assign(boxes: Array, truth: Array) -> dict[int, int]:
    """Detections and labelled boxes of one picture, each used once, by falling overlap: row of a box to its label's."""
    overlap, pairs = box_iou(boxes, truth), {}
    while overlap.size and overlap.max() >= MATCHED:
        i, j = np.unravel_index(overlap.argmax(), overlap.shape)
        pairs[int(i)] = int(j)
        overlap[i], overlap[:, j] = 0, 0
    return pairs


def watch_list(release: Uccs, chain: Chain, detector: FaceDetector) -> tuple[Rows, Plots]:
    """The open-set protocol on whole scenes."""
    faces = chain.embed_records(release.enrolled, detector, enrolled=True, what="enrol")
    gallery = Templates(faces, [record.subject for record in release.enrolled])
    pictures: dict[Path, list[FaceRecord]] = {}
    for record in release.probes:
        pictures.setdefault(record.picture, []).append(record)
    cuts, mates, missed, false = [], [], 0, 0
    for path, records in pictures.items():
        image = read_image(path)
        seen = detector.detect(image)
        labels = assign(seen.boxes, np.array([record.box for record in records], np.float32))
        missed += sum(
            record.subject in gallery.people and i not in labels.values() and record.face_id not in release.excluded
            for i, record in enumerate(records)
        )
        for i, box in enumerate(seen.boxes):
            label = records[labels[i]] if i in labels else None
            if label is None or label.face_id not in release.excluded:
                x1, y1, x2, y2 = (float(value) for value in box)
                cuts.append(crop_face(image, FaceRecord(path, box=(x1, y1, x2, y2)), seen))
                mates.append(label.subject if label else STRANGER)
                false += label is None
    found = chain.search(chain.embed(cuts), mates, gallery)
    own = np.concatenate([found.own[found.mated], np.full(missed, -np.inf)])
    rank = np.concatenate([found.rank[found.mated], np.full(missed, UNRANKED)])
    negatives = found.top[~found.mated]
    rows: Rows = []
    for limit in PER_PICTURE:
        rate, threshold = dir_at(own, rank, negatives, limit, len(pictures))
        low, high = wilson_interval(round(rate * len(own)), len(own))
        rows.append({
            "test": "watch list", "false_positives_a_picture": limit, "dir": 100 * rate,
            "dir_95": [100 * low, 100 * high], "threshold": threshold, "pictures": len(pictures),
            "enrolled_people": len(gallery.people), "enrolled_faces": len(release.enrolled),
            "mated": len(own), "mated_not_detected": missed,
            "strangers_detected": len(negatives) - false, "false_detections": false,
        })  # fmt: skip
    if not (found.mated.any() and len(negatives)):
        return rows, []  # nobody was detected, or no stranger: there is nothing to draw
    false_rate, dir_rate, _ = dir_curve(own, rank, negatives, len(pictures))
    return rows, [
        plot("dir", {"rank 1": thin(false_rate, dir_rate)}, "Watch list"),
        plot("histograms", {"watch list": histogram(found.own[found.mated], negatives)},
             "Scores of mates, and the best scores of strangers and false detections"),
    ]  # fmt: skip


def main() -> None:
    from training.data.faces import default_cache, load_faces, validation_faces

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="a release of UCCS; else a stand-in is made")
    parser.add_argument("--people", type=Path, help="make the stand-in of <name>/*.jpg; else of the validation people")
    parser.add_argument("--faces", type=Path, default=SHARED / "train", help="where the validation people are")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="folder for aligned crops; not in git")
    parser.add_argument("--models", type=Path, default=None, help="a models folder; the bundled one")
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--photos", type=int, default=Standin.photos, help="of a person in the stand-in: few for a try")
    parser.add_argument(
        "--limit", type=int, default=0, help="only so many people in the stand-in: a try-out, no figure"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()

    manifest = Manifest.load(args.models)
    chain, detector = Chain(manifest, args.threads), open_detector(manifest=manifest, threads=args.threads)
    with tempfile.TemporaryDirectory(prefix="uccs-standin-") as scratch:
        how = Standin(photos=args.photos)
        if args.root is None:
            faces = (
                validation_faces(args.faces, args.cache) if args.people is None else load_faces(args.people, args.cache)
            )
            people = faces.table["identity"].to_numpy(str)
            rows = np.flatnonzero(np.isin(people, np.unique(people)[: args.limit or None]))
            build(faces.crops[rows], people[rows], Path(scratch), how)
        release = read_uccs(args.root or Path(scratch))
        closed, plots = horkd(release, chain, detector, args.sizes, args.seeds)
        opened, more = watch_list(release, chain, detector)
    data = NAME if args.root else STANDIN
    print(f"{data}\n\nHORKD's protocol, {closed[0]['subjects']} subjects, nothing trained, error in %")
    print(f"median width of the faces before they are shrunk: {closed[0]['median_native_px']:.0f} px")
    print(table(
        ["face", "top-1", "top-5", "enrolled faces", "searches"],
        [[f"{r['size']}x{r['size']}", f"{r['top1_error']:.2f} +- {r['top1_std']:.2f}",
          f"{r['top5_error']:.2f} +- {r['top5_std']:.2f}", str(r["enrolled"]), str(r["searches"])] for r in closed],
    ))  # fmt: skip
    print(f"\nWatch list of {opened[0]['enrolled_people']} people, {opened[0]['pictures']} pictures")
    print(table(
        ["false positives a picture", "detection and identification rate, %", "95 %", "threshold"],
        [[f"{r['false_positives_a_picture']:g}", f"{r['dir']:.1f}", f"{r['dir_95'][0]:.1f}-{r['dir_95'][1]:.1f}",
          f"{r['threshold']:.3f}"] for r in opened],
    ))  # fmt: skip
    title = "" if args.root else " (stand-in, not UCCS)"
    path = write_result("uccs", {
        "data": data, "standin": None if args.root else asdict(how), "limit": args.limit,
        "protocol": "HORKD: random subjects, 4:1, nothing trained, aligned degradation; watch list: enrolled from the"
        " training part, bundled detector on whole validation scenes, IoU 0.5",
        "seeds": args.seeds, "models": chain.models, "rows": closed + opened,
        "plots": [{**entry, "title": entry["title"] + title} for entry in plots + more],
    }, args.out)  # fmt: skip
    print(f"written: {path}")


if __name__ == "__main__":
    main()
