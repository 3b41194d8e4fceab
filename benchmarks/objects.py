"""Low-resolution object recognition: classification where the classes are closed, by the papers' methods.

    python -m benchmarks.objects --images cifar100=FOLDER svhn=FOLDER --high 32 --widths 16 8

trains a teacher and an assistant on the whole pictures and a student by each method at each width, and writes
``benchmarks/results/objects.json``. Folders: ``<class>/<picture>`` (a fifth of each class is held out), ``train/``
beside ``test/``, or CIFAR-100's binary version and SVHN as released. Runs are kept in ``--cache``: a later call
continues.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.lib.image_runs import ImageRuns, Measured, arguments, budget_of, gains, sets
from benchmarks.lib.results import table, write_result

PAPER = {  # HORKD's table
    "cifar100": {
        "ResNet-50 at 32x32, teacher": 77.76,
        "HORKD, ResNet-18 at 16x16": 74.65,
        "HORKD, VGG-11 at 16x16": 69.87,
    }
}


def rows_of(name: str, runs: ImageRuns, found: list[Measured]) -> list[dict[str, Any]]:
    rows = []
    for each in found:
        row: dict[str, Any] = {"set": name, "network": each.network, "width": each.width}
        if each.classifier is not None:
            right = (each.features @ each.classifier.T).argmax(1) == runs.held.classes
            row["accuracy"] = round(100 * float(right.mean()), 2)
        row |= {"epochs": each.epochs, "seconds": round(each.seconds), "million_parameters": each.million_parameters}
        rows.append(row)
    return rows


PROTOCOL = (
    "Closed classes: the accuracy in % of the network's own classifier on held-out pictures, shrunk by area. No set "
    "chooses anything: every run is measured after its last epoch, once, with one seed. Students have the assistant's "
    "architecture. Cross-entropy is in every run, with a tenth of its weight beside a guide; the other losses have the "
    "weights of benchmarks.sweeps. Gains are points of accuracy. Seconds are of training, on a core shared with other "
    "work."
)


def main() -> None:
    args = arguments(__doc__, [16, 8]).parse_args()
    budget = budget_of(args)
    rows: list[dict[str, Any]] = []
    facts = {}
    for name, folder in sets(args).items():
        runs = ImageRuns(Path(folder), "pictures", budget, args.cache)
        rows += rows_of(name, runs, runs.all())
        facts[name] = runs.facts()
    gains(rows, "accuracy")
    result = {
        "protocol": PROTOCOL, "sets": facts, "paper_accuracy": {name: PAPER[name] for name in facts if name in PAPER},
        "rows": rows, "seed": budget.seed, "torch": torch.__version__, "threads": torch.get_num_threads(),
    }  # fmt: skip
    shown = ("set", "network", "width", "accuracy", "gain_over_alone", "gain_over_cosine", "gain_over_enlarged")
    print(table(list(shown), [[str(row.get(key, "")) for key in shown] for row in rows]))
    print(write_result("objects", result, args.out))


if __name__ == "__main__":
    main()
