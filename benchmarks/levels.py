"""Which network for which size of face: measured, not guessed.

    python -m benchmarks.levels

On the validation pairs (never on a test set): one face of each pair is an ordinary photo, embedded by the network of
enrolment; the other is shrunk by area to n x n pixels, enlarged to 112 by bilinear interpolation as the runtime's
alignment does, and embedded by each network. Accuracy, and TAR at FAR 1e-3, for each size and network; the best network
for a size belongs into ``serves`` of the manifest.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.lib.plots import plot
from benchmarks.lib.results import RESULTS, SHARED, hashes, table, write_result
from lrface.embedding.embedders import open_embedders
from lrface.metrics import fold_accuracies, tar_at_far
from lrface.models.manifest import Manifest
from training.data.faces import default_cache, validation_faces
from training.data.pairs import load_pairs

SIZES = [6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 28, 32, 40, 48, 64, 80, 112]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, default=SHARED / "train")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="folder for decoded crops; not in git")
    parser.add_argument("--models", type=Path, default=None, help="a models folder; the bundled one")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--limit", type=int, default=0, help="only so many pairs: a try-out")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()

    manifest = Manifest.load(args.models)
    embedders = open_embedders(manifest)
    faces = validation_faces(args.faces, args.cache)
    pairs = load_pairs(args.faces / "val_pairs.csv", faces)
    keep = np.random.default_rng(0).permutation(len(pairs.a))[: args.limit or None]
    a, b, same, fold = pairs.a[keep], pairs.b[keep], pairs.same[keep], pairs.fold[keep]
    photos, photo = np.unique(a, return_inverse=True)
    probes, probe = np.unique(b, return_inverse=True)
    gallery = {manifest.enrolment.level: embedders[manifest.enrolment.level].embed(np.asarray(faces.crops[photos]))}

    rows: list[dict[str, Any]] = []
    for size in args.sizes:
        seen = np.stack([_through(np.asarray(faces.crops[i]), size) for i in probes])
        for level, embedder in embedders.items():
            low = embedder.embed(seen)
            for other, templates in gallery.items():
                scores = np.sum(templates[photo] * low[probe], axis=1)
                rows.append({
                    "size": size, "probe_level": level, "gallery_level": other,
                    "accuracy": 100 * float(fold_accuracies(scores, same, fold).mean()),
                    "tar_1e-2": 100 * tar_at_far(scores, same, 1e-2), "tar_1e-3": 100 * tar_at_far(scores, same, 1e-3),
                })  # fmt: skip
    ways = [(p, g) for p in embedders for g in gallery]
    value = {(r["size"], r["probe_level"], r["gallery_level"]): r for r in rows}
    print("accuracy in % (TAR in % at FAR 1e-3)")
    print(table(
        ["face, px", *(f"{p} against {g}" for p, g in ways)],
        [[str(s), *(f"{value[s, p, g]['accuracy']:.1f} ({value[s, p, g]['tar_1e-3']:.1f})" for p, g in ways)]
         for s in args.sizes],
    ))  # fmt: skip
    path = write_result("levels", {
        "protocol": "validation pairs, photo against a face of n x n pixels", "pairs": len(a),
        "models": hashes(manifest.embedders.values()), "rows": rows,
        "plots": [plot("accuracy-by-size", _lines(rows), "Photo against a small face, validation")],
    }, args.out)  # fmt: skip
    print(f"written: {path}")


def _lines(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line for each network."""
    return [
        {"label": f"face at {r['probe_level']}, photo at {r['gallery_level']}", "size": r["size"],
         "accuracy": r["accuracy"]}
        for r in rows
    ]  # fmt: skip


def _through(crop: np.ndarray, size: int) -> np.ndarray:
    small = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)


if __name__ == "__main__":
    main()
