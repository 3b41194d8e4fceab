"""Public sets of small faces, read as they are released: TinyFace, QMUL-SurvFace, SCface, XQLFW.

    python -m benchmarks.released --set tinyface --root <its folder>

None of them may be passed on, so none is here: ask their authors, and name the folder. What must lie in it is said in
``benchmarks/lib/datasets/<set>.py``. Faces are found by the bundled detector in the given pictures (those of XQLFW are
aligned); where it finds nothing, the picture is taken to be filled by an upright face, and counted as not detected.
Nothing is trained. Writes ``benchmarks/results/released-<set>.json``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lib.datasets.records import IdentificationTest, VerificationTest
from benchmarks.lib.datasets.scface import read_scface
from benchmarks.lib.datasets.survface import read_survface, read_survface_pairs
from benchmarks.lib.datasets.tinyface import read_tinyface
from benchmarks.lib.datasets.xqlfw import read_xqlfw
from benchmarks.lib.matching import Chain, Templates
from benchmarks.lib.plots import histogram, plot, thin
from benchmarks.lib.results import RESULTS, table, write_result
from lrface.detection import FaceDetector, open_detector
from lrface.metrics import cmc, dir_curve, fnir_at_fpir, fold_accuracies, rank_error, roc, tar_interval, wilson_interval
from lrface.models.manifest import Manifest

READERS: dict[str, Callable[[Path], IdentificationTest | VerificationTest]] = {
    "tinyface": read_tinyface,
    "survface": read_survface,
    "survface-pairs": read_survface_pairs,
    "scface": read_scface,
    "xqlfw": read_xqlfw,
}
DEPTH = 50

Rows = list[dict[str, Any]]
Plots = list[dict[str, Any]]


def identification(test: IdentificationTest, chain: Chain, detector: FaceDetector) -> tuple[Rows, Plots]:
    """Closed-set errors of each condition, and FNIR at each FPIR where there are strangers; in %."""
    enrolled = chain.embed_records(test.gallery, detector, enrolled=True, what="enrol")
    gallery = Templates(enrolled, [record.subject for record in test.gallery])
    rows: Rows = []
    ranked, opened = {}, {}
    for condition, records in test.probes.items():
        probes = chain.embed_records(records, detector, what=condition)
        found = chain.search(probes, [record.subject for record in records], gallery)
        own, rank, top = found.own[found.mated], found.rank[found.mated], found.top[~found.mated]
        row = {
            "condition": condition, "people": len(gallery.people), "mated": len(own), "strangers": len(top),
            "median_native_px": float(np.median(probes.native_px)), "not_detected": int(np.sum(~probes.found)),
        }  # fmt: skip
        for k in test.ranks:
            error = rank_error(rank, k)
            low, high = wilson_interval(round(error * len(rank)), len(rank))
            row |= {f"rank{k}_error": 100 * error, f"rank{k}_error_95": [100 * low, 100 * high]}
        for fpir in test.fpirs if len(top) else ():
            fnir, threshold = fnir_at_fpir(own, rank, top, fpir, test.at_rank)
            row |= {f"fnir_at_fpir_{fpir:g}": 100 * fnir, f"threshold_at_fpir_{fpir:g}": threshold}
        rows.append(row)
        depth = min(DEPTH, len(gallery.people))
        ranked[condition] = [list(range(1, depth + 1)), cmc(rank, depth).tolist()]
        if len(top):
            opened[condition] = thin(*dir_curve(own, rank, top, at_rank=test.at_rank)[:2])
    plots = [plot("cmc", ranked, f"{test.name}, closed set")]
    if opened:
        title = f"{test.name}, open set, mate within rank {test.at_rank}"
        plots.append(plot("dir", opened, title, xlabel="false-positive identification rate"))
    return rows, plots


def verification(test: VerificationTest, chain: Chain, detector: FaceDetector) -> tuple[Rows, Plots]:
    """Accuracy over the folds where there are any, and TAR with its 95 % interval at each FAR; in %."""
    faces = chain.embed_records(test.faces, detector, what=test.name)
    vectors = faces.vectors
    scores = np.sum(vectors[test.a] * vectors[test.b], axis=1)
    row: dict[str, Any] = {
        "condition": "all", "pairs": len(scores), "median_native_px": float(np.median(faces.native_px)),
        "not_detected": int(np.sum(~faces.found)),
    }  # fmt: skip
    if test.fold is not None:
        accuracy = 100 * fold_accuracies(scores, test.same, test.fold)
        row |= {"accuracy": float(accuracy.mean()), "std": float(accuracy.std()), "folds": accuracy.tolist()}
    for far in test.fars:
        tar, low, high = (100 * value for value in tar_interval(scores, test.same, far))
        row |= {f"tar_at_far_{far:g}": tar, f"tar_at_far_{far:g}_95": [low, high]}
    false, true, _ = roc(scores, test.same)
    return [row], [
        plot("roc", {test.name: thin(false, true)}, test.name),
        plot("histograms", {test.name: histogram(scores[test.same], scores[~test.same])}, test.name),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=sorted(READERS), required=True, dest="name")
    parser.add_argument("--root", type=Path, required=True, help="the set's folder, laid out as released")
    parser.add_argument("--models", type=Path, default=None, help="a models folder; the bundled one")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()

    test = READERS[args.name](args.root)
    manifest = Manifest.load(args.models)
    chain, detector = Chain(manifest, args.threads), open_detector(manifest=manifest, threads=args.threads)
    if isinstance(test, IdentificationTest):
        rows, plots = identification(test, chain, detector)
    else:
        rows, plots = verification(test, chain, detector)
    figures = [key for key, value in rows[0].items() if isinstance(value, float | int)]
    print(test.name)
    print(table(
        ["condition", *figures],
        [[r["condition"], *(f"{r[k]:.2f}" if isinstance(r[k], float) else str(r[k]) for k in figures)] for r in rows],
    ))  # fmt: skip
    path = write_result(f"released-{args.name}", {
        "data": test.name, "models": chain.models, "rows": rows, "plots": plots,
        "protocol": f"{test.name} as released, bundled detector, nothing trained; rates in %",
    }, args.out)  # fmt: skip
    print(f"written: {path}")


if __name__ == "__main__":
    main()
