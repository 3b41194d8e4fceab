"""What the hours of training brought: the cosine to the teachers against the views that a network had seen.

    python -m benchmarks.training_hours

reads the logs in ``training/checkpoints``, joins each run to the one that it began with, and writes
``benchmarks/results/training_hours.json``. Nothing is trained and no face is needed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lib.plots import plot
from benchmarks.lib.results import RESULTS, ROOT, table, write_result
from training.common.files import read_log

CHECKPOINTS = ROOT / "training" / "checkpoints"
NETWORKS = {"lrface-112": ("lrface-112-4", 112), "lrface-64": ("lrface-64", 64)}
"""The last run of each, which need not have shipped, and the side of its input."""
SHOWN = (48, 32, 24, 16, 12, 8)
MORE_HOURS = 10.0


def chain(name: str, level: int, folder: Path) -> list[dict[str, Any]]:
    """The runs of one network, the first one first, each begun with the weights of the one before.

    Args:
        name: of the last run.
        level: side of the network's input; a run of another level ends the chain.
        folder: where the runs lie.
    """
    found: list[dict[str, Any]] = []
    while name and (folder / name / "recipe.json").is_file():
        recipe = json.loads((folder / name / "recipe.json").read_text())
        if recipe["student"]["level"] != level:
            break
        log = read_log(folder / name)
        found.insert(0, {"run": name, "batch": recipe["schedule"]["batch"], "log": log})
        name = recipe.get("init", "")
    return found


def curve(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each line of the logs: views and hours so far, and the cosine by the width of the face."""
    rows: list[dict[str, Any]] = []
    views = hours = 0.0
    for run in runs:
        before = views
        for line in run["log"]:
            views, hours = before + line["steps"] * run["batch"], hours + line["seconds"] / 3600
            cosines = {key.removeprefix("val_"): value for key, value in line.items() if key.startswith("val_cosine_")}
            rows.append({"run": run["run"], "views": round(views), "hours": round(hours, 2), **cosines})
    return rows


def ends(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last row of each run, in order."""
    return list({row["run"]: row for row in rows}.values())


def expected(rows: list[dict[str, Any]], width: int, views: float) -> float | None:
    """The cosine after so many views, if ``1 - cosine`` goes on to fall as a power of the views.

    The power is the one between the last two runs' ends, where the rate had fallen to zero in both. Where the network
    grew between them, what the growth brought counts as what the views brought.
    """
    last_two, key = ends(rows)[-2:], f"cosine_{width}"
    if len(last_two) < 2 or any(key not in row for row in last_two):
        return None
    (x0, x1), (y0, y1) = ([row["views"] for row in last_two], [1 - row[key] for row in last_two])
    power = min(0.0, float(np.log(y1 / y0) / np.log(x1 / x0)))
    return float(1 - y1 * (views / x1) ** power)


def main() -> None:
    """Read the logs, print the ends of the runs, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=Path, default=CHECKPOINTS, help="folder of the runs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results")
    args = parser.parse_args()
    found, finished, guesses, plots = [], [], [], []
    for network, (run, level) in NETWORKS.items():
        rows = curve(chain(run, level, args.checkpoints))
        if not rows:
            raise SystemExit(f"{args.checkpoints / run}: no log of a run; name the folder of the runs")
        found += [{"network": network, **row} for row in rows]
        finished += [{"network": network, **row} for row in ends(rows)]
        widths = [level, *(width for width in SHOWN if width < level)]
        *earlier, last = ends(rows)
        if earlier:
            pace = (last["views"] - earlier[-1]["views"]) / (last["hours"] - earlier[-1]["hours"])
            past = [row for row in rows if row["run"] != last["run"]]
            # What the rule would have said before the last run shows how far it can be trusted.
            for known, views in ((past, last["views"]), (rows, round(last["views"] + pace * MORE_HOURS))):
                cosines = {f"cosine_{w}": round(c, 3) for w in widths if (c := expected(known, w, views)) is not None}
                if cosines:
                    runs = [row["run"] for row in ends(known)[-2:]]
                    guesses.append({"network": network, "runs": runs, "views": views, **cosines})
        lines = {}
        for width in widths:
            points = [(row["views"] / 1e6, row[f"cosine_{width}"]) for row in rows if f"cosine_{width}" in row]
            if points:
                lines[f"{width} px"] = [list(axis) for axis in zip(*points, strict=True)]
        title = f"{network}: cosine to the teachers on validation faces, by the width of the face"
        plots.append(plot(
            "curves", lines, title, network, xlabel="million views seen", ylabel="cosine to the teachers",
        ))  # fmt: skip
    columns = ["network", "run", "views", "hours", *(f"cosine_{width}" for width in (112, 64, *SHOWN))]
    print(table(columns, [[str(row.get(column, "")) for column in columns] for row in finished]))
    result = {
        "protocol": "Mean cosine to the teachers of the sharp face, averaged weights, on validation faces shrunk by "
        "area to each width. The networks grew between runs (see training/checkpoints/README.md), and the machines "
        "differ: hours are those of one thread of whatever processor there was.",
        "rows": found, "ends": finished, "more_hours": MORE_HOURS, "expected": guesses, "plots": plots,
    }  # fmt: skip
    print(f"written: {write_result('training_hours', result, args.out)}")


if __name__ == "__main__":
    main()
