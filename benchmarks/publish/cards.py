"""The model cards' measured figures, from the JSON that the benchmarks wrote: nothing there is typed by hand.

python -m benchmarks.publish.cards
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.landmark_refinement import ERROR_HEADER, HEADER, error_figures, figures
from benchmarks.lib.results import RESULTS, between, read_result, table
from training.common.manifest import MEASURED, MODELS

Entry = dict[str, Any]

CHOSEN_ON = (
    "None was trained on or quantised on, but **versions of the detector, forms in int8 among them, were compared on"
    " them during development**, so its figures on them are somewhat optimistic. So are its false alarms: **its"
    " threshold was chosen on the held-out scenes**, those without people among them."
)
"""What was chosen on the pictures of `benchmarks.detection`."""


def section(entry: Entry, exact: Entry | None, results: Path) -> str:
    """What was measured with this very file, in Markdown; "" if nothing was.

    Args:
        entry: of the manifest.
        exact: its float32 form's, if that is another file.
        results: folder of the benchmarks' JSON.
    """
    kinds: dict[str, Callable[[], str]] = {
        "embedder": lambda: _embedder(entry, exact or entry, read_result("lfw", results)),
        "detector": lambda: _detector(entry, read_result("detection", results)),
        "landmarker": lambda: _landmarker(entry, read_result("landmark_refinement", results)),
    }
    return kinds[entry["kind"]]()


def _embedder(entry: Entry, exact: Entry, result: dict[str, Any]) -> str:
    precision = {entry["sha256"]: "int8", exact["sha256"]: "float32"}
    lines = [
        [
            row["protocol"], f"{row['size']}x{row['size']}", precision[row["sha256"]],
            f"{row['accuracy']:.2f} +- {row['std']:.2f}", f"{row['tar_1e-2']:.1f} / {row['tar_1e-3']:.1f}",
        ]
        for row in result.get("rows", []) if row.get("sha256") in precision
    ]  # fmt: skip
    if not lines:
        return ""
    return (
        "LFW, a test set only: 10-fold accuracy in % and TAR in % at FAR 1e-2 / 1e-3; no mirroring but what a network"
        " does itself; HR: the photo by the largest network of the space; scene: the whole picture shrunk"
        " (`python -m benchmarks.lfw`).\n\n" + table(["LFW", "faces", "precision", "accuracy", "TAR"], lines)
    )


def _detector(entry: Entry, result: dict[str, Any]) -> str:
    own = [row for row in result.get("rows", []) if row["sha256"] == entry["sha256"]]
    if not own:
        return ""
    row, alarms = own[0], own[0]["false_alarms"]
    heights = list(row["ap"])
    return (
        f"{row['pictures']} WIDER FACE validation pictures, original aspect, long side 640. {CHOSEN_ON} AP at IoU 0.5"
        " by face height in pixels; at the threshold, faces of 16 px and more: precision"
        f" {row['precision']:.3f}, recall {row['recall']:.3f}. False alarms there: {alarms['count']} in"
        f" {alarms['pictures']} held-out scenes without people, {alarms['per_1000']:.0f} in a thousand"
        " (`python -m benchmarks.detection`).\n\n"
        + table(heights, [[f"{row['ap'][height]:.3f}" for height in heights]])
    )


def _landmarker(entry: Entry, result: dict[str, Any]) -> str:
    if result.get("models", {}).get(entry["name"]) != entry["sha256"]:
        return ""
    return (
        "Validation people pasted into held-out scenes, found by the bundled detector. Accuracy in % on those of"
        f" {result['pairs']:,} validation pairs of which both faces were found, LR-LR, by the shipped embedder; error"
        " of the alignment: a landmark's distance in % of the eyes', median"
        " (`python -m benchmarks.landmark_refinement`).\n\n"
        + table(HEADER, [figures(row) for row in result["rows"]])
        + "\n\nHow well the expected error predicts: rank correlation with the similarity of two photos of a person;"
        " their FNMR in % at FMR 1 %, of all and without the poorest fifth; accuracy in % on the third of all pairs"
        " with the largest expected error.\n\n" + table(ERROR_HEADER, [error_figures(row) for row in result["rows"]])
    )


def filled(models: Path, results: Path) -> dict[Path, str]:
    """The text of each card with its section written again.

    Raises:
        SystemExit: it is no models folder, or a card has no such section.
    """
    if not (models / "manifest.json").is_file():
        raise SystemExit(f"{models} holds no manifest.json: name a models folder")
    shipped, exact = (
        {entry["name"]: entry for entry in json.loads(file.read_text())["models"]} if file.is_file() else {}
        for file in (models / "manifest.json", models / "float32" / "manifest.json")
    )
    cards = {models / entry["card"]: section(entry, exact.get(name), results) for name, entry in shipped.items()}
    return {path: between(path, MEASURED[0], MEASURED[1], figures) for path, figures in cards.items()}


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--models", type=Path, default=MODELS, help="a models folder; the bundled one")
    args = parser.parse_args()
    for path, text in filled(args.models, args.results).items():
        path.write_text(text)
        print(f"written: {path}")


if __name__ == "__main__":
    main()
