"""README's figures and docs/benchmarks.md, from the JSON that the benchmarks wrote: nothing there is typed by hand.

python -m benchmarks.publish.readme
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.lib.results import RESULTS, ROOT, between, read_result, table
from benchmarks.publish.pictures import tsne_plots
from benchmarks.publish.tables import beside_peers, page, required

BEGIN, END = "<!-- figures: written by benchmarks/publish/readme.py -->", "<!-- end of figures -->"
PLOT = "levels-accuracy-by-size.svg"
PEERS_PLOT = "open_set_peers-validation.svg"


def summary(results: Path) -> str:
    """README's table: for each width of face the accuracy on LFW beside the teacher's, and one sentence of FNIR."""
    lfw, found = required("lfw", results), required("open_set", results)
    rows = {(r["model"], r["size"], r["protocol"]): r for r in lfw["rows"]}
    ours = [r for r in lfw["rows"] if r["model"].startswith("lrface-") and not r["model"].endswith(", float32")]
    lines = []
    for r in ours:
        if r["protocol"] not in ("full", "HR-LR"):
            continue
        size, key = r["size"], (r["size"], r["protocol"])
        teacher, both = (rows[name, *key] for name in ("edgeface_xs", "both teachers concatenated"))
        small = rows.get((r["model"], size, "LR-LR"), r)
        speed = f"{r['faces_per_second'] / teacher['faces_per_second']:.1f}"
        lines.append([
            f"{size}x{size}", r["model"], f"{small['accuracy']:.2f}", f"{r['accuracy']:.2f}",
            f"{teacher['accuracy']:.2f}", f"{both['accuracy']:.2f}", speed,
        ])  # fmt: skip
    header = [
        "face, px", "network", "both small, %", "photo against small, %", "EdgeFace-XS, %", "both teachers, %",
        "speed, EdgeFace-XS = 1",
    ]  # fmt: skip
    peers = read_result("open_set_peers", results)
    beside = [beside_peers(peers, "validation", f"docs/figures/{PEERS_PLOT}")] if peers else []
    return "\n\n".join([*beside, table(header, lines), _not_named(found)])


def _not_named(result: dict[str, Any]) -> str:
    """What the default rate costs, in one sentence."""
    rows = [r for r in result["rows"] if r["set"] == "LFW"]
    photos = max(r["photos"] for r in rows)
    people = [min(r["people"] for r in rows), max(r["people"] for r in rows)]
    fnir = {(r["size"], r["people"]): f"{100 * r['fnir']:.0f} %" for r in rows if r["photos"] == photos}
    sizes = sorted({r["size"] for r in rows}, reverse=True)
    parts = [f"{fnir[size, people[0]]} to {fnir[size, people[1]]} at {size} px" for size in sizes]
    return (
        f"At an `fpir` of {100 * result['fpir']:g} %, with {people[0]} to {people[1]} people enrolled from up to"
        f" {photos} photos each, this share of the enrolled people's faces stays unknown: {', '.join(parts)}."
    )


def filled(readme: Path, pages: Path, results: Path) -> dict[Path, str | bytes]:
    """The contents of each file that shows figures: README, docs/benchmarks.md and the plot beside it.

    Args:
        readme: README.md.
        pages: the folder docs/.
        results: folder of the benchmarks' JSON.
    """
    benchmarks = pages / "benchmarks.md"
    hours = [f"training_hours-{entry['name']}.svg" for entry in read_result("training_hours", results).get("plots", [])]
    wanted = (PLOT, PEERS_PLOT, *hours, *tsne_plots(results).values())
    drawn = [plot for plot in wanted if (results / plot).is_file()]
    return {
        readme: between(readme, BEGIN, END, summary(results)),
        benchmarks: between(benchmarks, BEGIN, END, page(results, f"figures/{PLOT}")),
        **{pages / "figures" / plot: (results / plot).read_bytes() for plot in drawn},
    }


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout whose README.md and docs/ are written")
    args = parser.parse_args()
    for path, contents in filled(args.root / "README.md", args.root / "docs", args.results).items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
        print(f"written: {path}")


if __name__ == "__main__":
    main()
