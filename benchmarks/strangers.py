"""Strangers who come back: are they known again, and is anybody taken for somebody else?

    python -m benchmarks.strangers [--people 40 400] [--draws 10]

People of LFW walk by twice, nobody is enrolled: first one track of each, then another one of each, of other photos,
shrunk as whole pictures until the aligned face is so many pixels wide. So many people are drawn of those with enough
photos, several times, and all counted together. ``known again``: second tracks that get the identifier of the same
person's first; ``new``: those that get a new one; ``somebody else's``: those that get another person's. ``merged``:
first tracks that get the identifier of somebody who walked by before. A share of ``fpir`` may get a wrong identifier.
Photos of other days differ more than two visits on one day. Writes ``benchmarks/results/strangers.json``.
"""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lib.lfw_data import lfw_faces
from benchmarks.lib.results import RESULTS, SHARED, hashes, table, write_result
from benchmarks.tracks import lfw_people, lfw_views
from lrface.decisions.rates import DEFAULT_FPIR
from lrface.matcher import FaceMatcher
from lrface.models.manifest import Manifest
from lrface.tracks.decision import can_fuse, curve_between
from lrface.tracks.strangers import Strangers
from lrface.tracks.template import View, fuse_views

VIEWS = (1, 2, 4)
WIDTHS = (32, 24, 16, 12, 8)
PEOPLE = (40, 400)


def visits(matcher: FaceMatcher, tracks: Sequence[Sequence[Sequence[View]]], fpir: float) -> Counter[str]:
    """Counts what becomes of tracks; ``tracks[visit][person]`` are the views of one."""
    strangers, owners = Strangers(), dict[str, int]()
    total: Counter[str] = Counter()
    for visit, people in enumerate(tracks):
        first = dict(owners)
        for person, views in enumerate(people):
            fused = can_fuse(matcher.calibration, views[0].network)
            template = fuse_views(views if fused else [max(views, key=lambda view: view.weight)])
            curve = curve_between(matcher.calibration, template)
            key = strangers.identify(template.vector, curve, fpir, 60.0 * visit, set()) or ""
            if not visit:
                total["merged"] += key in owners
                owners.setdefault(key, person)
            elif key not in first:
                total["new"] += 1
            else:
                total["again" if first[key] == person else "else"] += 1
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--models", type=Path, default=None, help="a models folder; the bundled one")
    parser.add_argument("--people", type=int, nargs="+", default=list(PEOPLE), help="who walk by")
    parser.add_argument("--draws", type=int, default=10, help="of these people")
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS))
    parser.add_argument("--limit", type=int, default=0, help="only so many people to draw from: a try-out, no figure")
    parser.add_argument("--fpir", type=float, default=DEFAULT_FPIR)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with FaceMatcher.open(":memory:", models=args.models) as matcher:
        archive = args.data / "lfw" / "lfw-deepfunneled.zip"
        known = [files[: 2 * max(VIEWS)] for files in lfw_people(archive).values()]
        several = [files for files in known if len(files) >= 2 * VIEWS[1]][: args.limit or None]
        names = [file for files in several for file in files]
        places = np.split(np.arange(len(names)), np.cumsum([len(files) for files in several])[:-1])
        _, points = lfw_faces(archive, names, matcher.detector)
        for width in args.widths:
            views = lfw_views(matcher, archive, names, points, width)
            for count, people in itertools.product(VIEWS, args.people):
                able = [own for own in places if len(own) >= 2 * count]
                if len(able) < people:
                    continue
                rng, found = np.random.default_rng([width, count, people]), Counter[str]()
                for _ in range(args.draws):
                    drawn = [able[i] for i in rng.permutation(len(able))[:people]]
                    tracks = [[[views[i] for i in own[k : k + count]] for own in drawn] for k in (0, count)]
                    found += visits(matcher, tracks, args.fpir)
                rows.append({"px": width, "views": count, "people": people, "visits": args.draws * people, **{
                    key: found[key] / (args.draws * people) for key in ("again", "new", "else", "merged")
                }})  # fmt: skip
    print(table(
        ["px", "views", "people", "known again, %", "new, %", "somebody else's, %", "merged, %"],
        [[*(str(r[key]) for key in ("px", "views", "people")),
          *(f"{100 * r[key]:.1f}" for key in ("again", "new", "else", "merged"))] for r in rows],
    ))  # fmt: skip
    path = write_result("strangers", {
        "protocol": "LFW's people walk by twice as strangers; shares of all visits",
        "fpir": args.fpir, "draws": args.draws, "limit": args.limit,
        "models": hashes(Manifest.load(args.models).entries),
        "rows": rows,
    }, args.out)  # fmt: skip
    print(f"written: {path}")


if __name__ == "__main__":
    main()
