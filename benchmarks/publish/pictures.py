"""The sections of docs/benchmarks.md on pictures of other things than faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.lib.results import read_result, table

NAMES = {
    "cars": "Cars196, 8,132 pictures of its training half, of 128x96 pixels",
    "cub": "CUB-200-2011, 100 of its classes",
}


def pictures(results: Path) -> list[str]:
    """The sections of the benchmarks that were run."""
    found = []
    if result := read_result("metric_learning", results):
        plots = {name: f"figures/{plot}" for name, plot in tsne_plots(results).items()}
        found.append(metric_learning(result, plots))
    if result := read_result("objects", results):
        found.append(objects(result))
    return found


def tsne_plots(results: Path) -> dict[str, str]:
    """The files of the t-SNE figures, by the set's name."""
    sets = read_result("metric_learning", results).get("sets", {})
    return {name: f"metric_learning-tsne-{name}.svg" for name in sets}


def metric_learning(result: dict[str, Any], plots: dict[str, str]) -> str:
    """Recall among classes that were never trained.

    Args:
        result: of ``benchmarks.metric_learning``.
        plots: links to the t-SNE figures, by the set's name.
    """
    lines = [
        "## Pictures of other things: recall among new classes\n",
        "HORKD's metric learning, small: random weights, few epochs, one seed. It shows that losses and loop work on"
        " pictures of anything; it is no repetition of the paper's table. Gains are points of Recall@1 over the student"
        " alone, over cosine regression, and over the teacher that sees the small picture enlarged. Command:"
        f" `{result['command']}`.",
    ]
    for name, facts in result["sets"].items():
        rows = [row for row in result["rows"] if row["set"] == name]
        lines.append(
            f"\n**{NAMES.get(name, name)}**: {facts['trained']:,} pictures of {facts['trained_classes']} classes"
            f" trained, {facts['held_out']:,} of {facts['held_out_classes']} others searched.\n"
        )
        header = ["network", "width", "Recall@1 / 2 / 4 / 8, %", "NMI, %", "gains", "epochs", "seconds"]
        lines.append(table(header, [_line(row) for row in rows]))
        if name in result["paper_recall_1"]:
            ours = max(row["recall_1"] for row in rows if row["network"] not in ("teacher",))
            large, small, alone = result["paper_recall_1"][name]
            lines.append(
                f"\nHORKD's paper, Recall@1 in %: {large} at 256 px and {small} at 96 px, its student without"
                f" distillation {alone}; the best below the teacher here: {ours}. The distance: small networks from"
                f" random weights that see at most {facts['high']} px, a part of the set, few epochs: none of"
                " them has learnt all it could."
            )
        if name in plots:
            lines.append(
                f"\n![Features of ten classes that were never trained, a panel for each network]({plots[name]})"
            )
    return "\n".join(lines)


def objects(result: dict[str, Any]) -> str:
    """Accuracy on closed classes, of ``benchmarks.objects``."""
    rows = [
        [row["set"], row["network"], f"{row['width']}", f"{row['accuracy']:.2f}", _gains(row), f"{row['epochs']}",
         f"{row['seconds']}"]
        for row in result["rows"]
    ]  # fmt: skip
    return (
        "## Pictures of other things: closed classes\n\n"
        "One seed. Gains are points of accuracy over the student alone, over cosine regression, and over the teacher"
        f" that sees the small picture enlarged. Command: `{result['command']}`.\n\n"
        + table(["set", "network", "width", "accuracy, %", "gains", "epochs", "seconds"], rows)
    )


def _line(row: dict[str, Any]) -> list[str]:
    recalls = " / ".join(f"{row[f'recall_{k}']:.1f}" for k in (1, 2, 4, 8))
    return [row["network"], f"{row['width']}", recalls, f"{row['nmi']:.1f}", _gains(row), f"{row['epochs']}",
            f"{row['seconds']}"]  # fmt: skip


def _gains(row: dict[str, Any]) -> str:
    keys = ("gain_over_alone", "gain_over_cosine", "gain_over_enlarged")
    if not any(key in row for key in keys):
        return "-"
    return " / ".join(f"{row[key]:+.1f}" if key in row else "-" for key in keys)
