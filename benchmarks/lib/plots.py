"""The plots of the benchmarks: curves go into the JSON, and are drawn from there.

A result's ``"plots"`` is a list of `plot` entries, whose data are what the `draw_*` functions take as plain lists:
``results.write_result`` draws them, and ``publish.report`` draws them again from the JSON alone. Curves are thinned by
`thin`, scores by `histogram`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Values = Sequence[float] | npt.NDArray[np.floating]
Curves = Mapping[str, Sequence[Values]]
Rows = Sequence[Mapping[str, Any]]
Target = Path | IO[bytes]
SIZES = [6, 8, 10, 12, 16, 24, 32, 48, 64, 112]


def thin(x: Values, y: Values, points: int = 200) -> list[list[float]]:
    """At most about ``points`` of a curve's, densest at its beginning (where rates are small), of four digits each."""
    rows = np.unique(np.geomspace(1, len(x), points).round().astype(int)) - 1
    return [[float(f"{value:.4g}") for value in np.asarray(axis, float)[rows]] for axis in (x, y)]


def histogram(genuine: Values, impostor: Values, bins: int = 80) -> list[list[float]]:
    """Edges ``[bins + 1]`` in similarity, and the densities of genuine and of impostor scores ``[bins]`` each."""
    edges = np.linspace(min(np.min(genuine), np.min(impostor)), max(np.max(genuine), np.max(impostor)), bins + 1)
    counts = (np.histogram(scores, edges, density=True)[0] for scores in (genuine, impostor))
    return [[float(f"{value:.4g}") for value in line] for line in (edges, *counts)]


def draw_roc(curves: Curves, target: Target) -> None:
    """ROC: ``{label: (far, tar)}``, 0..1."""
    with _axes(target, xlabel="false accept rate", ylabel="true accept rate", xscale="log") as axis:
        for label, (far, tar) in curves.items():
            axis.plot(*_positive(far, tar), label=label, drawstyle="steps-post")
        axis.set_ylim(top=1.0)


def draw_det(curves: Curves, target: Target) -> None:
    """DET, both axes logarithmic: ``{label: (fmr, fnmr)}``, 0..1."""
    scales = {"xscale": "log", "yscale": "log"}
    with _axes(target, xlabel="false-match rate", ylabel="false-non-match rate", **scales) as axis:
        for label, (fmr, fnmr) in curves.items():
            x, y = _positive(fmr, fnmr)
            axis.plot(*_positive(y, x)[::-1], label=label)


def draw_dir(curves: Curves, target: Target, xlabel: str = "false positives a picture") -> None:
    """Open-set identification: ``{label: (false positives a trial, detection and identification rate)}``."""
    with _axes(target, xlabel=xlabel, ylabel="detection and identification rate", xscale="log") as axis:
        for label, (false, found) in curves.items():
            axis.plot(*_positive(false, found), label=label, drawstyle="steps-post")
        axis.set_ylim(0, 1)


def draw_cmc(curves: Curves, target: Target) -> None:
    """CMC: ``{label: (rank, share of searches)}``."""
    with _axes(target, xlabel="rank", ylabel="mate within rank", xscale="log") as axis:
        for label, (rank, share) in curves.items():
            axis.plot(rank, share, label=label, drawstyle="steps-post")
        last = max(max(rank) for rank, _ in curves.values())
        ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if tick <= last]
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
        axis.set_ylim(top=1.0)


def draw_histograms(scores: Curves, target: Target) -> None:
    """Scores of genuine and of impostor pairs, one below the other: ``{label: histogram(genuine, impostor)}``."""
    with _figure(target, len(scores)) as axes:
        for axis, (label, (edges, genuine, impostor)) in zip(axes, scores.items(), strict=True):
            axis.stairs(impostor, edges, fill=True, alpha=0.5, label="impostor")
            axis.stairs(genuine, edges, fill=True, alpha=0.5, label="genuine")
            axis.set(ylabel="density", title=label)
            axis.legend()
        axes[-1].set_xlabel("similarity (cosine)")


def draw_accuracy_by_size(rows: Rows, target: Target) -> None:
    """Accuracy against the width of the face: rows of ``label``, ``size`` (pixels) and ``accuracy`` (%)."""
    with _axes(target, xlabel="width of the aligned crop, pixels", ylabel="accuracy, %", xscale="log") as axis:
        for label in dict.fromkeys(row["label"] for row in rows):
            line = sorted((row["size"], row["accuracy"]) for row in rows if row["label"] == label)
            axis.plot(*zip(*line, strict=True), "o-", ms=3, label=label)
        low, high = (choose(row["size"] for row in rows) for choose in (min, max))
        ticks = [tick for tick in SIZES if low <= tick <= high]
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()


def draw_accuracy_against_cost(rows: Rows, target: Target, xlabel: str = "million multiply-accumulates a face") -> None:
    """Accuracy against cost: rows of ``label``, ``cost``, ``accuracy`` (%) and ``group`` (one colour each)."""
    with _axes(target, xlabel=xlabel, ylabel="accuracy, %", xscale="log") as axis:
        for group in dict.fromkeys(row["group"] for row in rows):
            points = [row for row in rows if row["group"] == group]
            axis.scatter([row["cost"] for row in points], [row["accuracy"] for row in points], s=18, label=group)
        for row in rows:
            axis.annotate(
                row["label"], (row["cost"], row["accuracy"]), xytext=(4, 3), textcoords="offset points", size=7
            )


def draw_curves(curves: Curves, target: Target, **axes: str) -> None:
    """Any lines: ``{label: (x, y)}``; ``axes`` are matplotlib's ``xlabel``, ``ylabel``, ``xscale``, ``yscale``."""
    with _axes(target, **axes) as axis:
        for label, (x, y) in curves.items():
            axis.plot(x, y, label=label)


def draw_swept(curves: Curves, target: Target, xlabel: str = "", ylabel: str = "accuracy, %") -> None:
    """What each of a few values of a setting leads to, the setting logarithmic: ``{label: (values, results)}``."""
    with _axes(target, xlabel=xlabel, ylabel=ylabel, xscale="log") as axis:
        for label, (x, y) in curves.items():
            axis.plot(x, y, "o-", ms=3, label=label)
        ticks = sorted({value for x, _ in curves.values() for value in x})
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()


def draw_bars(data: Mapping[str, Mapping[str, float]], target: Target, xlabel: str = "accuracy, %") -> None:
    """Bars from left to right, the first on top: ``bars`` and vertical ``lines``, both ``{label: value}``."""
    bars, lines = data["bars"], data["lines"]
    values = [*bars.values(), *lines.values()]
    margin = 0.1 * (max(values) - min(values)) + 0.1
    with _axes(target, xlabel=xlabel) as axis:
        drawn = axis.barh(range(len(bars)), list(bars.values()), color="#8fb4d9")
        axis.bar_label(drawn, fmt="%.2f", fontsize=8, padding=2)
        axis.set_yticks(range(len(bars)), list(bars), fontsize=8)
        axis.invert_yaxis()
        # Differences are small: the axis does not begin at zero.
        axis.set_xlim(min(values) - margin, max(values) + 2 * margin)
        for (label, value), style in zip(lines.items(), ("--", ":", "-."), strict=False):
            axis.axvline(value, color="k", lw=1, ls=style, label=f"{label}: {value:.2f}")


def draw_scatter(panels: Mapping[str, Sequence[Sequence[Values]]], target: Target) -> None:
    """Points in the plane, a panel a label, a colour a group: ``{label: [(x, y) of each group]}``."""
    with _figure(target, -(-len(panels) // 2), 2) as axes:
        for axis in axes[len(panels) :]:
            axis.remove()
        for axis, (label, groups) in zip(axes, panels.items(), strict=False):
            for x, y in groups:
                axis.scatter(x, y, s=5)
            axis.set(title=label, xticks=[], yticks=[])


KINDS: dict[str, Callable[..., None]] = {
    "roc": draw_roc,
    "det": draw_det,
    "dir": draw_dir,
    "cmc": draw_cmc,
    "curves": draw_curves,
    "swept": draw_swept,
    "bars": draw_bars,
    "scatter": draw_scatter,
    "histograms": draw_histograms,
    "accuracy-by-size": draw_accuracy_by_size,
    "accuracy-against-cost": draw_accuracy_against_cost,
}


def plot(kind: str, data: Any, title: str, name: str = "", **labels: str) -> dict[str, Any]:
    """One entry of a result's ``"plots"``.

    Args:
        kind: of `KINDS`.
        data: what the kind's function draws, as plain lists.
        title: caption.
        name: of the file, after the result's; the kind where there is one plot of it.
        labels: further arguments of the kind's function.
    """
    return {"name": name or kind, "kind": kind, "title": title, "labels": labels, "data": data}


def draw_plot(entry: Mapping[str, Any], target: Target) -> None:
    """Draw one entry of a result's ``"plots"``.

    Raises:
        ValueError: the kind is not known.
    """
    if entry["kind"] not in KINDS:
        raise ValueError(f"{entry['kind']!r} is no kind of plot: one of {', '.join(KINDS)}")
    KINDS[entry["kind"]](entry["data"], target, **entry["labels"])


@contextmanager
def _figure(target: Target, rows: int = 1, columns: int = 1) -> Iterator[list[Any]]:
    """Axes row by row; the picture (SVG unless the file's name says otherwise) is the same on every run."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, max(4.2, 2.3 * rows)), dpi=110, layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, sharex=columns == 1).flat)
    yield axes
    kind = (target.suffix[1:] if isinstance(target, Path) else "") or "svg"
    if isinstance(target, Path):
        target.parent.mkdir(parents=True, exist_ok=True)
    undated = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    with matplotlib.rc_context({"svg.hashsalt": "lrface"}):
        figure.savefig(target, format=kind, metadata=undated)


@contextmanager
def _axes(target: Target, **settings: Any) -> Iterator[Any]:
    with _figure(target) as (axis,):
        axis.grid(alpha=0.3)
        axis.set(**settings)
        yield axis
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8)


def _positive(x: Values, y: Values) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The points whose ``x`` has a place on a logarithmic axis."""
    xs, ys = np.asarray(x, float), np.asarray(y, float)
    return xs[xs > 0], ys[xs > 0]
