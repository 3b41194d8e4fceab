"""Strangers who come back: are they known again, and is anybody taken for somebody else?

    python -m benchmarks.strangers [--people N]

People of LFW with eight photos or more walk by twice, nobody is enrolled: first one track of each, then another one of
each, of other photos, shrunk as whole pictures until the aligned face is so many pixels wide. ``known again``: second
tracks that get the identifier of the same person's first; ``new``: those that get a new one; ``somebody else's``: those
that get another person's. ``merged``: first tracks that get the identifier of somebody who walked by before. Photos of
other days differ more than two visits on one day. Writes ``benchmarks/results/strangers.json``.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lib.lfw_data import lfw_faces
from benchmarks.lib.results import RESULTS, SHARED, table, write_result
from benchmarks.tracks import lfw_people, lfw_views
from lrface.matcher import FaceMatcher
from lrface.models.manifest import Manifest
from lrface.tracks.decision import band_of, can_fuse
from lrface.tracks.following import SAME_STRANGER_FMR
from lrface.tracks.strangers import Strangers
from lrface.tracks.template import View, fuse_views

VIEWS = (1, 2, 4)
WIDTHS = (24, 16, 12)
PHOTOS = 2 * max(VIEWS)


def visits(matcher: FaceMatcher, tracks: Sequence[Sequence[Sequence[View]]]) -> Counter[str]:
    """Counts what becomes of tracks; ``tracks[visit][person]`` are the views of one."""
    strangers, owners = Strangers(), dict[str, int]()
    total: Counter[str] = Counter()
    for visit, people in enumerate(tracks):
        first = dict(owners)
        for person, views in enumerate(people):
            fused = can_fuse(matcher.calibration, views[0].network)
            template = fuse_views(views if fused else [max(views, key=lambda view: view.weight)])
            band = band_of(matcher.calibration, template)
            effective = template.effective_views(band.same_person)
            same = band.curve(effective, 1).threshold(SAME_STRANGER_FMR)
            key = strangers.identify(template.vector, same, 60.0 * visit, set()) or ""
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
    parser.add_argument("--people", type=int, default=0, help="only so many; 0: all")
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with FaceMatcher.open(":memory:") as matcher:
        archive = args.data / "lfw" / "lfw-deepfunneled.zip"
        people = [files[:PHOTOS] for files in lfw_people(archive).values() if len(files) >= PHOTOS][
            : args.people or None
        ]
        names = [file for files in people for file in files]
        _, points = lfw_faces(archive, names, matcher.detector)
        for width in args.widths:
            views = np.array(lfw_views(matcher, archive, names, points, width), object).reshape(len(people), PHOTOS)
            for count in VIEWS:
                tracks = [[list(row[start : start + count]) for row in views] for start in (0, PHOTOS // 2)]
                found = visits(matcher, tracks)
                rows.append({"px": width, "views": count, "people": len(people), **{
                    key: found[key] for key in ("again", "new", "else", "merged")
                }})  # fmt: skip
    print(table(
        ["px", "views", "people", "known again", "new", "somebody else's", "merged"],
        [[str(r[key]) for key in ("px", "views", "people", "again", "new", "else", "merged")] for r in rows],
    ))  # fmt: skip
    path = write_result("strangers", {
        "protocol": f"LFW's people walk by twice as strangers, at a false-match rate of {SAME_STRANGER_FMR:g}",
        "models": {entry.name: entry.sha256 for entry in Manifest.load().embedders.values()},
        "rows": rows,
    }, args.out)  # fmt: skip
    print(f"written: {path}")


if __name__ == "__main__":
    main()
