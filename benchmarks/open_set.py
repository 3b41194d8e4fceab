"""Who is named and who is not: beside networks of others, and with the calibrated thresholds.

    python -m benchmarks.open_set                           # both tests
    python -m benchmarks.open_set --test peers --cache DIR  # one; DIR keeps the other networks' embeddings

**peers** (`benchmarks.lib.peer_comparison`): FNIR at a *measured* FPIR of 1 % and of .1 %, of lrface, EdgeFace-XS,
reid-0095 and both of them, by the width of the face, on validation people and on LFW's.

**calibrated**: measured FPIR against the FPIR asked for, on people who are in no training and no calibration data.

Galleries of LFW's people, enrolled with one or with up to five ordinary photos; searches by the pictures of them that
are left and by strangers (at most ten each), at 16 and at 32 pixels: the aligned crop shrunk by area, half of them also
with camera degradation (``training.data.views``). Every decision is `FaceMatcher.decide`'s, with the bundled
calibration, which was made from the validation people, without any of LFW. FPIR: strangers named; FNIR: enrolled people
not named rightly. Besides, the effect of a quality gate, which the product has only at enrolment: a face too poor to
decide is never named; ``undecided`` is their share of the searches by enrolled people and ``fnir_decided`` the FNIR of
the others.

The same on the validation people alone: calibrated on one half of them, tested on the other (`half`).

Last, the case of frigate #23450: people enrolled from faces of 22x28 pixels with camera degradation, and searched at
32. The aligned crop is then 33 px wide if that is the face's box, 22 px if it is the whole picture of the face. With
the gate, enrolment refuses what `lrface.enrolment.screening` objects to.

And hubness: of the photos that one large gallery would be enrolled from, those that screening refuses because they
resemble too many others, their share, and their share of the false matches by strangers.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from benchmarks.lib.lfw_data import people_of_pairs
from benchmarks.lib.matching import network_of
from benchmarks.lib.peer_comparison import WIDTHS, Cohort, compare, report
from benchmarks.lib.plots import plot
from benchmarks.lib.results import RESULTS, SHARED, hashes, table, write_result
from lrface.decisions.calibration import Calibration
from lrface.decisions.rates import fmr_for
from lrface.detection import open_detector
from lrface.embedding.embedders import Networks, open_networks
from lrface.enrolment.screening import HUBNESS, HUBNESS_FMR, EnrolmentGate
from lrface.gallery import Contract, Gallery, PhotoTemplate
from lrface.matcher import CANDIDATES, FaceMatcher
from lrface.measuring.measure import embed_people, measure
from lrface.metrics import wilson_interval
from lrface.models.manifest import Manifest
from lrface.types import Face, Identification
from training.data.faces import default_cache, validation_faces
from training.data.views import moved_view
from training.recipe import Degradation

TESTS = ("peers", "calibrated")
SETS = ("validation", "LFW")
RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
FRIGATE = (33, 22)
FEW = 6
"""Photos of a person of the validation set, at most, in a try-out."""

Crops = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]
Searches = list[tuple[Identification, str | None]]


@dataclass(frozen=True)
class Seen:
    """Faces as one camera saw them: unit vectors [n, dim], their qualities [n], their width, network and its level."""

    vectors: npt.NDArray[np.float32]
    quality: Sequence[float | None]
    native_px: float
    network: str
    level: int

    def face(self, row: int) -> Face:
        points = np.zeros((5, 2), np.float32)
        place = (0, 0, 1, 1), 1.0, points, self.native_px, self.level
        return Face(*place, self.vectors[row], quality=self.quality[row], network=self.network)


class People:
    """A set of people, embedded once: as photos by the network of enrolment, and as probes of each size.

    Args:
        person: whose picture each crop is [n].
        crops: uint8 [n, 112, 112, 3].
        sizes: of the probes, in pixels.
        networks: of the runtime.
        rng: of the camera degradation of half of the probes.
    """

    def __init__(
        self,
        person: npt.NDArray[np.str_],
        crops: Crops,
        sizes: Sequence[int],
        networks: Networks,
        rng: np.random.Generator,
    ) -> None:
        self.person, self.crops, self.networks = person, crops, networks
        self.names = np.char.replace(person, "/", " of ")  # a gallery takes no separators of folders
        self.photos = networks.enrolment.embed(crops)
        self.probes = {}
        for size in sizes:
            embedder = network_of(networks, size)
            degraded = rng.permutation(len(crops)) < len(crops) // 2
            views = [seen(crop, size, rng if yes else None) for crop, yes in zip(crops, degraded, strict=True)]
            found = embedder.embed_with_quality(np.stack(views))
            self.probes[size] = Seen(*found, float(size), embedder.entry.name, embedder.level)

    def draw(self, size: int, photos: int, rng: np.random.Generator) -> tuple[dict[str, Rows], Rows, Rows]:
        """A gallery: people with their photos' rows, rows of searches by them, and rows of strangers.

        People with more than ``photos`` pictures are drawn; where they are too few, others with two pictures fill up.
        """
        rows = {str(name): rng.permutation(np.flatnonzero(self.names == name)) for name in np.unique(self.names)}
        order = [str(name) for name in rng.permutation(list(rows))]
        first = [name for name in order if len(rows[name]) > photos]
        chosen = [*first, *(name for name in order if 1 < len(rows[name]) <= photos)][:size]
        enrolled = {name: rows[name][: min(photos, len(rows[name]) - 1)] for name in chosen}
        mated = np.concatenate([rows[name][len(enrolled[name]) :][:3] for name in chosen])
        strangers = np.concatenate([rows[name][:10] for name in order if name not in enrolled])
        return enrolled, mated, strangers


def seen(crop: Crops, size: int, rng: np.random.Generator | None) -> Crops:
    """A crop as aligned from a picture in which it is ``size`` px wide; with ``rng`` also degraded as by a camera."""
    if rng is not None:
        crop = moved_view(crop, size, Degradation(camera=1.0), rng)
    small = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def enrol(matcher: FaceMatcher, people: People, enrolled: dict[str, Rows]) -> None:
    """Fills a gallery in memory from full-size photos."""
    matcher.gallery = Gallery.open(":memory:", matcher.gallery.contract)
    for name, rows in enrolled.items():
        matcher.gallery.add(name, [PhotoTemplate(f"{row}", 112.0, people.photos[row]) for row in rows])


def enrol_small(
    matcher: FaceMatcher, people: People, enrolled: dict[str, Rows], width: int, gate: bool, rng: np.random.Generator
) -> tuple[int, int]:
    """The same from degraded photos ``width`` px wide; returns how many photos and how many people were enrolled."""
    matcher.gallery = Gallery.open(":memory:", matcher.gallery.contract)
    screen, embedder, photos = (
        EnrolmentGate(matcher.gallery.search_index(), matcher.calibration),
        people.networks.enrolment,
        0,
    )
    for name, rows in enrolled.items():
        crops = np.stack([seen(people.crops[row], width, rng) for row in rows])
        vectors, quality = embedder.embed_with_quality(crops)
        kept = [
            i
            for i in range(len(rows))
            if not gate or screen.rejection_reason(name, width, vectors[i], quality[i]) is None
        ]
        if kept:
            matcher.gallery.add(name, [PhotoTemplate(f"{rows[i]}", width, vectors[i]) for i in kept])
            screen.add(name, [vectors[i] for i in kept])
            photos += len(kept)
    return photos, len(matcher.gallery)


def search(matcher: FaceMatcher, people: People, size: int, mated: Rows, strangers: Rows) -> Searches:
    """What the runtime says of each probe, and who it is."""
    probes, rows = people.probes[size], np.concatenate([mated, strangers])
    index = matcher.gallery.search_index()
    matches = index.candidates(probes.vectors[rows], CANDIDATES)
    found = [matcher.decide(probes.face(row), near, index.population) for row, near in zip(rows, matches, strict=True)]
    return list(zip(found, [*people.names[mated].tolist(), *[None] * len(strangers)], strict=True))


def tally(searches: Searches, calibration: Calibration | None) -> collections.Counter[str]:
    """Counts of the decisions, and of what they would be if faces too poor to decide were never named."""
    count: collections.Counter[str] = collections.Counter()
    for face, name in searches:
        least = 0.0 if calibration is None else calibration.band(face.network, face.native_px).min_quality
        poor = face.quality is not None and face.quality < least
        if name is None:
            count["strangers"] += 1
            count["named"] += face.name is not None
            count["named_gate"] += face.name is not None and not poor
        else:
            count["mated"] += 1
            count["missed"] += face.name != name
            count["missed_gate"] += poor or face.name != name
            count["undecided"] += poor
            count["missed_decided"] += not poor and face.name != name
    return count


def rates(total: collections.Counter[str], fpir: float) -> dict[str, float]:
    """Counts into shares."""
    low, high = wilson_interval(total["named"], total["strangers"])
    decided = max(1, total["mated"] - total["undecided"])
    return {
        "fpir": total["named"] / total["strangers"], "fpir_low": low, "fpir_high": high,
        "fpir_over_asked": total["named"] / total["strangers"] / fpir,
        "fpir_gate": total["named_gate"] / total["strangers"], "fnir": total["missed"] / total["mated"],
        "fnir_gate": total["missed_gate"] / total["mated"], "undecided": total["undecided"] / total["mated"],
        "fnir_decided": total["missed_decided"] / decided,
    }  # fmt: skip


def hubs(matcher: FaceMatcher, people: People, count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Do photos that resemble many of a gallery draw strangers too? At a false match rate of 1e-3."""
    enrolled, _, strangers = people.draw(count, 1, rng)
    enrol(matcher, people, enrolled)
    rows, lines = np.concatenate(list(enrolled.values())), []
    population, vectors = matcher.gallery.search_index().population, people.photos
    enrolment = people.networks.enrolment
    for level in (enrolment.level,):
        curve = matcher.calibration.band(enrolment.entry.name, 112.0).curve(1)
        shift = matcher.calibration.shift(population)
        among = vectors[rows] @ vectors[rows].T >= curve.threshold(HUBNESS_FMR) + shift
        drawn = (among.sum(axis=1) - among.diagonal()) / (len(rows) - 1)
        false = (vectors[rows] @ vectors[strangers].T >= curve.threshold(1e-3) + shift).mean(axis=1)
        refused = drawn > HUBNESS
        lines.append({
            "level": level, "people": len(rows), "strangers": len(strangers), "refused": int(refused.sum()),
            "refused_share_of_false_matches": float(false[refused].sum() / max(1e-12, false.sum())),
            "rank_correlation": float(np.nan_to_num(spearmanr(drawn, false).statistic)),
        })  # fmt: skip
    return lines


def half_calibrated(people: People, half: npt.NDArray[np.bool_], manifest: Manifest, seed: int) -> Calibration:
    """A calibration from some of the photos, as ``python -m training calibrate`` makes it."""
    rng = np.random.default_rng(seed)
    made = measure(manifest, embed_people(manifest, people.crops[half], people.person[half], rng), rng)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calibration.json"
        path.write_text(json.dumps(made))
        return Calibration.load(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--test", choices=TESTS, nargs="+", default=TESTS, help="which; both")
    parser.add_argument("--sets", choices=SETS, nargs="+", default=SETS, help="people of the test peers; both sets")
    parser.add_argument("--lfw", type=Path, default=SHARED / "lfw", help="folder of the zip and pairs.txt")
    parser.add_argument("--faces", type=Path, default=SHARED / "train", help="of the validation people")
    parser.add_argument(
        "--cache", type=Path, default=default_cache(), help="folder for other networks' embeddings; not in git"
    )
    parser.add_argument("--teachers", type=Path, default=SHARED / "teachers", help="the other networks' ONNX files")
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS), help="of the faces beside peers, pixels")
    parser.add_argument("--probes", type=int, default=2500, help="searches of each set beside peers, at most")
    parser.add_argument("--models", type=Path, default=None, help="a models folder; the bundled one")
    parser.add_argument("--detector", type=Path, default=SHARED / "detectors" / "yunet_n_dynamic.onnx")
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--people", type=int, nargs="+", default=[20, 100, 500], help="sizes of the galleries")
    parser.add_argument("--fpir", type=float, default=0.01)
    parser.add_argument("--searches", type=int, default=20_000, help="by strangers, at least, for each line")
    parser.add_argument(
        "--limit",
        type=int,
        default=0,
        help=f"only so many people of LFW, and half as many of the others with {FEW} photos: a try-out, no figure",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()

    manifest = Manifest.load(args.models)
    detector = open_detector(str(args.detector))
    faces = validation_faces(args.faces, args.cache)
    source = faces.table["source"].astype(str).to_numpy()
    rows = np.flatnonzero((faces.table["identity"] != "").to_numpy())
    person = (source + np.array("/") + faces.table["identity"].astype(str).to_numpy()).astype(str)
    if args.limit:
        chosen = np.unique(person[rows])[: args.limit // 2]
        rows = np.sort(np.concatenate([rows[person[rows] == name][:FEW] for name in chosen]))
    cohorts = []
    if "peers" in args.test and "validation" in args.sets:
        rng = np.random.default_rng(args.seed)
        crops = np.asarray(faces.crops[rows])
        cohorts.append(Cohort("validation", person[rows], source[rows], crops, args.probes, rng))
    if "calibrated" in args.test or "LFW" in args.sets:
        names, crops = people_of_pairs(args.lfw, detector, args.limit)
        if "peers" in args.test and "LFW" in args.sets:
            rng = np.random.default_rng(args.seed)
            cohorts.append(Cohort("LFW", names, np.full(len(names), "lfw"), crops, args.probes, rng))
    if cohorts:
        found_rows = compare(cohorts, manifest, args.teachers, args.cache, args.widths)
        print(f"written: {report(found_rows, manifest, args.limit, args.seed, args.out)}")
    if "calibrated" not in args.test:
        return

    rng = np.random.default_rng(args.seed)
    networks = open_networks(manifest)
    matcher = FaceMatcher(
        Gallery.open(":memory:", Contract.of(manifest)), detector, networks, Calibration.of(manifest), args.fpir
    )
    sets = {"LFW": People(names, crops, args.sizes, networks, rng)}
    # One source: people of two may be the same.
    rows = rows[source[rows] == max(set(source[rows]), key=lambda name: int(np.count_nonzero(source[rows] == name)))]
    person = person[rows]
    order = rng.permutation(np.unique(person))
    first = np.isin(person, order[: len(order) // 2])
    whole = People(person, np.asarray(faces.crops[rows]), [], networks, rng)
    sets["half"] = People(person[~first], np.asarray(faces.crops[rows])[~first], args.sizes, networks, rng)
    calibrations = {"LFW": matcher.calibration, "half": half_calibrated(whole, first, manifest, args.seed)}

    lines: list[dict[str, Any]] = []
    curves: dict[str, list[list[float]]] = {}
    for (label, people), size, count, photos in itertools.product(sets.items(), args.sizes, args.people, (1, 5)):
        everybody = len(np.unique(people.person))
        if count > everybody // 2:
            continue
        matcher.calibration = calibrations[label]
        total: collections.Counter[str] = collections.Counter()
        shares: list[float] = []
        galleries = 0
        while total["strangers"] < args.searches:
            enrolled, mated, strangers = people.draw(count, photos, rng)
            enrol(matcher, people, enrolled)
            found = search(matcher, people, size, mated, strangers)
            total += tally(found, matcher.calibration)
            shares += [face.false_match_rate or 0.0 for face, name in found if name is None]
            galleries += 1
        lines.append({"set": label, "size": size, "people": count, "photos": photos, "galleries": galleries,
                      "searches": total["strangers"], **rates(total, args.fpir)})  # fmt: skip
        # A stranger is named at a rate if the false match of the best candidate is as rare as the rate demands.
        named = [float(np.mean(np.array(shares) <= fmr_for(rate, count))) for rate in RATES]
        curves[f"{label}, {size} px, {count} people, {photos} photo{'s' * (photos > 1)}"] = [list(RATES), named]
        print(label, size, count, photos, f"{lines[-1]['fpir_over_asked']:.2f}", file=sys.stderr)
    matcher.calibration = calibrations["LFW"]
    poor: list[dict[str, Any]] = []
    for width, photos in itertools.product(FRIGATE, (1, 5)):
        result: dict[str, Any] = {"width": width, "photos": photos}
        for gate in (False, True):
            total, taken, there = collections.Counter(), 0, 0
            for seed in range(max(1, args.searches // 4000)):
                drawn = np.random.default_rng([args.seed, seed])
                enrolled, mated, strangers = sets["LFW"].draw(min(args.people), photos, drawn)
                kept = enrol_small(matcher, sets["LFW"], enrolled, width, gate, drawn)
                taken, there = taken + kept[0], there + kept[1]
                if kept[1]:
                    total += tally(search(matcher, sets["LFW"], max(args.sizes), mated, strangers), None)
            result |= {
                f"{key}{'_gate' if gate else ''}": value
                for key, value in {
                    "photos_taken": taken, "people_taken": there, "strangers": total["strangers"],
                    "named": total["named"], "fnir": total["missed"] / max(1, total["mated"]),
                }.items()
            }  # fmt: skip
        poor.append(result)
    print(table(
        ["set", "px", "people", "photos", "FPIR over asked", "FPIR, %", "with gate, %", "FNIR, %", "with gate, %",
         "undecided, %", "FNIR of the decided, %"],
        [[r["set"], str(r["size"]), str(r["people"]), str(r["photos"]), f"{r['fpir_over_asked']:.2f}",
          *(f"{100 * r[key]:.2f}" for key in ("fpir", "fpir_gate", "fnir", "fnir_gate", "undecided", "fnir_decided"))]
         for r in lines],
    ))  # fmt: skip
    print(table(
        ["enrolled from, px", "photos", "photos taken / with gate", "people taken / with gate",
         "strangers named of", "without gate", "with gate", "FNIR, %", "with gate, %"],
        [[str(r["width"]), str(r["photos"]), f"{r['photos_taken']} / {r['photos_taken_gate']}",
          f"{r['people_taken']} / {r['people_taken_gate']}", str(r["strangers"]), str(r["named"]),
          str(r["named_gate"]), f"{100 * r['fnir']:.1f}", f"{100 * r['fnir_gate']:.1f}"] for r in poor],
    ))  # fmt: skip
    found_hubs = hubs(matcher, sets["LFW"], max(args.people), rng)
    print(table(
        ["level", "photos", "refused as hubs", "their share of false matches, %", "rank correlation"],
        [[str(r["level"]), str(r["people"]), str(r["refused"]), f"{100 * r['refused_share_of_false_matches']:.1f}",
          f"{r['rank_correlation']:.2f}"] for r in found_hubs],
    ))  # fmt: skip
    lfw_curves = {label: curve for label, curve in curves.items() if label.startswith("LFW")} or curves
    path = write_result("open_set", {
        "protocol": "strangers and held-out pictures, half of the probes with camera degradation; FaceMatcher decides",
        "fpir": args.fpir, "searches": args.searches, "limit": args.limit, "seed": args.seed,
        "models": hashes(manifest.embedders.values()),
        "rows": lines, "frigate_23450": poor, "hubs": found_hubs,
        "plots": [plot("curves", {"as asked": [list(RATES), list(RATES)], **lfw_curves},
                       "Strangers named against strangers that may be named (LFW)", xlabel="FPIR asked for",
                       ylabel="FPIR measured", xscale="log", yscale="log")],
    }, args.out)  # fmt: skip
    print(f"written: {path}")


if __name__ == "__main__":
    main()
