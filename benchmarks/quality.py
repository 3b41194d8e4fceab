"""Which faces are too poor to decide: error against reject, by the network's own quality and by what a picture shows.

    python -m benchmarks.quality

Every photo of the validation people (never a test set) once as a camera may see it: 8 to 64 pixels wide, blurred,
noisy, compressed. It is compared with its person's template of five other, ordinary photos and matches where at most
one stranger in 1,000 would look as similar (by the bundled calibration). Then the poorest are rejected, a growing share
of them, by one measure after the other, and FNMR is that of the rest (error-versus-reject, ISO/IEC 29794-1): the lower
the curve, the better the measure knows which faces will not be recognised. ``similarity`` is what no measure can know:
the cosine to the person's own template.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from benchmarks.lib.matching import network_of
from benchmarks.lib.plots import plot
from benchmarks.lib.results import RESULTS, SHARED, hashes, table, write_result
from lrface.alignment import shrink
from lrface.decisions.calibration import Calibration, Population
from lrface.detection import FaceDetector, open_detector
from lrface.embedding.embedders import open_networks
from lrface.embedding.templates import fuse
from lrface.models.manifest import Manifest
from training.data.faces import default_cache, validation_faces

PHOTOS = 5
FMR = 1e-3
SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
Crop = npt.NDArray[np.uint8]
Measure = npt.NDArray[np.float64]


def degraded(crop: Crop, rng: np.random.Generator) -> tuple[Crop, int]:
    """A canonical crop shrunk to a random width and degraded as by a camera, and that width in pixels."""
    width = round(float(np.exp(rng.uniform(np.log(8), np.log(64)))))
    small = np.asarray(cv2.resize(crop, (width, width), interpolation=cv2.INTER_AREA), np.uint8)
    if rng.random() < 0.5:
        small = np.asarray(cv2.GaussianBlur(small, (0, 0), rng.uniform(0.3, 1.5)), np.uint8)
    small = np.clip(small + rng.normal(0, rng.uniform(0, 8), small.shape), 0, 255).astype(np.uint8)
    data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8), width


def sharpness(crop: Crop, level: int) -> float:
    """Variance of the Laplacian of the crop at its level, in grey levels squared: the usual measure of blur."""
    grey = cv2.cvtColor(shrink(crop, level), cv2.COLOR_BGR2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def detector_score(small: Crop, detector: FaceDetector) -> float:
    """The detector's best score for a face in the middle of a picture; 0 where it finds none."""
    margin = small.shape[0]
    found = detector.detect(
        np.asarray(cv2.copyMakeBorder(small, margin, margin, margin, margin, cv2.BORDER_REPLICATE), np.uint8)
    )
    return float(found.scores[0]) if len(found) else 0.0


def error_versus_reject(
    measure: Measure, matched: npt.NDArray[np.bool_], shares: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """FNMR of what is left when a share of the faces, the poorest by a measure, is rejected; ties in random order."""
    order = np.lexsort((np.random.default_rng(0).random(len(measure)), measure))
    missed = ~matched[order]
    return np.array([missed[int(share * len(missed)) :].mean() for share in shares])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, default=SHARED / "train")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="folder for decoded crops; not in git")
    parser.add_argument("--models", type=Path, default=None, help="a models folder; the bundled one")
    parser.add_argument("--limit", type=int, default=0, help="only so many people: a try-out, no figure")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()

    manifest = Manifest.load(args.models)
    networks, calibration = open_networks(manifest), Calibration.of(manifest)
    detector = open_detector(manifest=manifest)
    faces = validation_faces(args.faces, args.cache)
    rows = np.flatnonzero((faces.table["identity"] != "").to_numpy())
    table_rows = faces.table.iloc[rows]
    person = (table_rows["source"].astype(str) + "/" + table_rows["identity"].astype(str)).to_numpy().astype(str)
    if args.limit:
        keep = np.isin(person, np.unique(person)[: args.limit])
        rows, person = rows[keep], person[keep]
    crops, rng = np.asarray(faces.crops[rows]), np.random.default_rng(args.seed)
    smalls, widths = zip(*(degraded(crop, rng) for crop in crops), strict=True)
    views = np.stack([cv2.resize(s, crops.shape[1:3], interpolation=cv2.INTER_LINEAR) for s in smalls]).astype(np.uint8)
    levels = np.array([network_of(networks, width).level for width in widths])

    similarity, false_match_rate = np.zeros(len(rows)), np.ones(len(rows))
    measures: dict[str, Measure] = {"width": np.array(widths, np.float64), "sharpness": np.zeros(len(rows))}
    if all(entry.quality for entry in manifest.embedders.values()):
        measures["quality"] = np.zeros(len(rows))
    nobody, clean = Population(0), networks.enrolment.embed(crops)
    for level in np.unique(levels).tolist():
        mine, embedder = np.flatnonzero(levels == level), networks.embedders[level]
        vectors, quality = embedder.embed_with_quality(views[mine])
        for vector, estimate, i in zip(vectors, quality, mine, strict=True):
            others = np.flatnonzero((person == person[i]) & (np.arange(len(person)) != i))
            template = fuse(clean[rng.permutation(others)[:PHOTOS]].sum(axis=0)[None])[0]
            similarity[i] = vector @ template
            false_match_rate[i] = calibration.false_match_rate(
                similarity[i], embedder.entry.name, float(widths[i]), PHOTOS, nobody
            )
            measures["sharpness"][i] = sharpness(views[i], level)
            if estimate is not None and "quality" in measures:
                measures["quality"][i] = estimate
    measures["detector"] = np.array([detector_score(small, detector) for small in tqdm(smalls, desc="detector")])
    measures["similarity"] = similarity
    matched = false_match_rate <= FMR

    result: list[dict[str, Any]] = []
    grid = np.linspace(0, 0.6, 61)
    curves: dict[str, list[list[float]]] = {}
    for name, measure in measures.items():
        for label, part in [("all", levels > 0), *((str(level), levels == level) for level in np.unique(levels))]:
            fnmr = error_versus_reject(measure[part], matched[part], np.array(SHARES))
            whole = error_versus_reject(measure[part], matched[part], grid)
            result.append({
                "measure": name, "level": label, "faces": int(part.sum()), "mean_fnmr_to_0.6": float(whole.mean()),
                **{f"fnmr_at_{share:g}": float(value) for share, value in zip(SHARES, fnmr, strict=True)},
            })  # fmt: skip
            if label == "all":
                curves[name] = [grid.round(3).tolist(), whole.round(4).tolist()]
    gates = []
    for level in np.unique(levels).tolist():
        network, part = networks.embedders[level].entry.name, levels == level
        least = np.array([calibration.band(network, float(width)).min_quality for width in widths])
        if "quality" in measures:
            poor = part & (measures["quality"] < least)
            gates.append({
                "level": level, "gate": float(least[part].mean()), "rejected": float(poor.sum() / part.sum()),
                "matched_of_rejected": float(matched[poor].mean()) if poor.any() else 0.0,
            })  # fmt: skip
    print(table(
        ["measure", "level", "faces", *(f"FNMR, %, {100 * share:.0f} % rejected" for share in SHARES), "mean, %"],
        [[r["measure"], r["level"], str(r["faces"]), *(f"{100 * r[f'fnmr_at_{share:g}']:.1f}" for share in SHARES),
          f"{100 * r['mean_fnmr_to_0.6']:.1f}"] for r in result],
    ))  # fmt: skip
    for entry in gates:
        rejected, matching = 100 * entry["rejected"], 100 * entry["matched_of_rejected"]
        print(
            f"the gate of level {entry['level']}, {entry['gate']:.3f}, rejects {rejected:.1f} % of the faces, of which "
            f"{matching:.1f} % would have matched"
        )
    path = write_result("quality", {
        "protocol": f"validation photos, each degraded once at 8 to 64 px, against {PHOTOS} others; FMR {FMR:g}",
        "people": len(np.unique(person)), "limit": args.limit, "seed": args.seed,
        "models": hashes((*manifest.embedders.values(), manifest.detector)),
        "rows": result, "gates": gates,
        "plots": [plot("curves", curves, "Error against reject, validation people", xlabel="share of faces rejected",
                       ylabel="FNMR of the rest")],
    }, args.out)  # fmt: skip
    print(f"written: {path}")


if __name__ == "__main__":
    main()
