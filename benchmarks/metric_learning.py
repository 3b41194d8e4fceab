"""Cross-resolution metric learning: recall among classes that were never trained, by the papers' methods.

    python -m benchmarks.metric_learning --images cars=FOLDER cub=FOLDER sop=FOLDER --widths 96 64 48 32 16

trains a teacher and an assistant at 96 px and a student by each method at each width, on the first half of the classes,
and writes ``benchmarks/results/metric_learning.json``. Folders: ``<class>/<picture>``, or Cars196, CUB-200-2011 and
Stanford Online Products as released. Runs are kept in ``--cache``: a later call continues.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.lib.image_runs import (
    ALONE,
    ENLARGED,
    TWO_STAGES,
    ImageRuns,
    Measured,
    arguments,
    budget_of,
    gains,
    sets,
)
from benchmarks.lib.plots import plot
from benchmarks.lib.results import table, write_result
from benchmarks.lib.tsne import panels
from lrface.metrics import recall_at

RANKS = (1, 2, 4, 8)
PAPER = {  # HORKD, Recall@1: ours at 256 px, ours at 96 px, the student without distillation
    "cars": (82.23, 73.41, 46.70),
    "cub": (57.82, 53.53, 51.70),
    "sop": (68.13, 66.42, 61.70),
}
SHOWN, PICTURES = 10, 40
"""Classes of the t-SNE figure, and pictures of each at most."""


def rows_of(name: str, runs: ImageRuns, found: list[Measured]) -> list[dict[str, Any]]:
    rows = []
    for each in found:
        recall = recall_at(each.features, runs.held.identities, RANKS)
        row: dict[str, Any] = {"set": name, "network": each.network, "width": each.width}
        row |= {f"recall_{k}": round(100 * value, 2) for k, value in recall.items()}
        row["nmi"] = round(100 * nmi(each.features, runs.held.identities, runs.budget.seed), 2)
        row |= {"epochs": each.epochs, "seconds": round(each.seconds), "million_parameters": each.million_parameters}
        rows.append(row)
    return rows


def nmi(features: npt.NDArray[np.float32], identities: npt.NDArray[np.object_], seed: int) -> float:
    """Normalised mutual information, 0..1, of the classes and as many k-means clusters of features ``[n, d]``."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import normalized_mutual_info_score

    clusters = KMeans(len(set(identities)), n_init=1, random_state=seed).fit_predict(features)
    return float(normalized_mutual_info_score(identities.astype(str), clusters))


def tsne(name: str, runs: ImageRuns, found: list[Measured]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The figure of ten new classes seen by teacher and students of the smallest width, and the silhouettes."""
    names, number = np.unique(runs.held.identities.astype(str), return_inverse=True)
    chosen = np.concatenate([np.flatnonzero(number == i)[:PICTURES] for i in range(min(SHOWN, len(names)))])
    least = min(runs.budget.widths)
    shown = [each for each in found if each.network == "teacher"]
    wanted = (ENLARGED, ALONE, TWO_STAGES, "CRRCD")
    shown += [each for each in found if each.width == least and each.network in wanted]
    views = {f"{each.network}, {each.width} px": each.features[chosen] for each in shown}
    layouts, rows = panels(views, number[chosen], runs.budget.seed)
    title = f"Features of {len(set(number[chosen]))} classes of {name} that were never trained, t-SNE"
    return plot("scatter", layouts, title, f"tsne-{name}"), [{"set": name, **row} for row in rows]


PROTOCOL = (
    "Zero-shot: the first half of the classes is trained, the second half searched: every picture of it against all "
    "others (Recall@k in %), and k-means of as many clusters as classes (NMI in %). Pictures are squeezed to a square "
    "and shrunk by area. No set chooses anything: every run is measured after its last epoch, once, with one seed. "
    "Students have the assistant's architecture. All are trained from random weights, none on ImageNet. Cross-entropy "
    "of classes is in every run, with a tenth of its weight beside a guide; the other losses have the weights of "
    "benchmarks.sweeps. Gains are points of Recall@1. Seconds are of training, on a core shared with other work."
)


def main() -> None:
    args = arguments(__doc__, [96, 64, 48, 32, 16]).parse_args()
    budget = budget_of(args)
    rows: list[dict[str, Any]] = []
    plots, silhouettes, facts = [], [], {}
    for name, folder in sets(args).items():
        runs = ImageRuns(Path(folder), "classes", budget, args.cache)
        found = runs.all()
        rows += rows_of(name, runs, found)
        entry, apart = tsne(name, runs, found)
        plots.append(entry)
        silhouettes += apart
        facts[name] = runs.facts()
    gains(rows, "recall_1")
    result = {
        "protocol": PROTOCOL, "sets": facts, "paper_recall_1": {name: PAPER[name] for name in facts if name in PAPER},
        "rows": rows, "silhouettes": silhouettes, "seed": budget.seed, "torch": torch.__version__,
        "threads": torch.get_num_threads(), "plots": plots,
    }  # fmt: skip
    shown = ("set", "network", "width", "recall_1", "recall_2", "recall_4", "recall_8", "nmi", "gain_over_alone")
    print(table(list(shown), [[str(row.get(key, "")) for key in shown] for row in rows]))
    print(write_result("metric_learning", result, args.out))


if __name__ == "__main__":
    main()
