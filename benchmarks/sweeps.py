"""Small runs that are compared with one another: the gain of a loss, of its settings, of a second stage.

    python -m benchmarks.sweeps methods --count 10000

writes ``benchmarks/results/sweep-<what>.json`` with its plots. Figures are of validation people. The runs are defined
in ``training.sweeps``; finished ones are only read.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.lib.plots import histogram, plot
from benchmarks.lib.results import RESULTS, ROOT, SHARED, write_result
from benchmarks.lib.tsne import panels
from training.data.faces import default_cache
from training.embedder.distill import load_student
from training.embedder.recipes import load_recipe
from training.embedder.teachers import Teacher, open_teachers
from training.embedder.training_data import TrainingData, open_training_data
from training.embedder.validate import embed_views, score
from training.recipe import Recipe
from training.sweeps.runs import figures, subset, train, upscaled
from training.sweeps.variants import COSINE, SWEEPS, compose, crrcd

STUDENTS = " The students are those of sweep-methods: small and briefly trained, not the ones that ship."
AXES = {"negatives": "negatives N", "temperature": "temperature"}
PEOPLE, PHOTOS = 10, 40

Embeddings = npt.NDArray[np.float32]


def report(what: str, base: Recipe, data: TrainingData, teachers: list[Teacher], runs: Path, out: Path) -> Path:
    """Run a sweep, or read its runs, and write ``<out>/sweep-<what>.json`` with its plots.

    Args:
        what: of ``COMMANDS``.
        base: the small recipe.
        data: see ``training.sweeps.runs.subset``.
        teachers: of the recipe.
        runs: folder of the runs.
        out: folder of results.
    """
    trained = len(data.faces.rows("train"))
    facts = {
        "command": f"python -m benchmarks.sweeps {what} --count {trained}",
        "data": f"{trained} training faces drawn at random, {len(data.pairs.a)} validation pairs of other people",
        "schedule": asdict(base.schedule), "student": asdict(base.student), "degradation": asdict(base.degradation),
        "teachers": {t.path.name: hashlib.sha256(t.path.read_bytes()).hexdigest() for t in teachers},
        "seed": base.seed, "torch": torch.__version__, "threads": torch.get_num_threads(),
    }  # fmt: skip
    said = {"histograms": _histograms, "tsne": _tsne}.get(what, _table)
    return write_result(f"sweep-{what}", {**facts, **said(what, base, data, teachers, runs)}, out)


def _table(what: str, base: Recipe, data: TrainingData, teachers: list[Teacher], runs: Path) -> dict[str, Any]:
    low = upscaled(teachers, data, base.student.level, runs)
    line = score(low, data.embeddings, data.pairs)
    baseline = figures(compose(base, data, COSINE), data, runs)
    rows: list[dict[str, Any]] = []
    for variant in SWEEPS[what](base, data):
        row = train(variant, data, runs)
        if row["level"] == base.student.level:
            row["gain_over_cosine"] = round(row["lr_lr"] - baseline["lr_lr"], 2)
            row["gain_over_upscaled"] = round(row["lr_lr"] - line["lr_lr"], 2)
        rows.append(row)
        print(f"{what}: {row}")
    protocol = (
        f"Each row is one run of {base.schedule.epochs} epochs of the same {base.student.level}x{base.student.level} "
        "student on the same faces in the same order; figures are of its averaged weights after the last epoch on "
        "validation pairs, aligned degradation by area: accuracy in % over 10 folds, LR-LR, and HR-LR with the "
        "teachers' gallery; TAR in % at FAR 1e-2, LR-LR; mean cosine to the teachers. Gains are points of LR-LR. One "
        "accuracy's standard error on so many pairs is about half a point, less between runs on the same pairs; the "
        "three seeds of sweep-methods show what other initial weights and another order of faces "
        "change, and gains within that mean nothing. Seconds are of training, on a core shared with other work."
    )
    return {
        "protocol": protocol,
        "upscaled_teachers": {name: round(value, 4) for name, value in line.items()},
        "rows": rows,
        "plots": _plots(what, rows, line["lr_lr"], baseline),
    }


def _plots(what: str, rows: list[dict[str, Any]], teachers: float, cosine: dict[str, float]) -> list[dict[str, Any]]:
    if what not in AXES:
        lines = {"cosine alone": cosine["lr_lr"]}
        # Only there: beside it the other sweeps' differences would hardly show.
        lines |= {"teachers, face up-scaled": teachers} if what == "methods" else {}
        data: dict[str, Any] = {"bars": {row["method"]: row["lr_lr"] for row in rows}, "lines": lines}
        return [plot("bars", data, "LR-LR accuracy on validation pairs", xlabel="LR-LR accuracy, %")]
    x = [row["value"] for row in rows]
    curves = {}
    for name, label in (("lr_lr", "LR-LR"), ("hr_lr", "HR-LR")):
        curves[f"{label}, with CRRCD"] = [x, [row[name] for row in rows]]
        curves[f"{label}, cosine alone"] = [[x[0], x[-1]], [cosine[name]] * 2]
    return [plot("swept", curves, f"Accuracy on validation pairs against the {AXES[what]}", xlabel=AXES[what])]


def _views(base: Recipe, data: TrainingData, teachers: list[Teacher], runs: Path) -> dict[str, Embeddings]:
    """The features of teachers and of two students, by network and input."""
    level, device = base.student.level, torch.device("cpu")
    found = {
        "teachers, 112 px": data.embeddings,
        f"teachers, {level} px up-scaled": upscaled(teachers, data, level, runs),
    }
    for label, terms in (("cosine", (COSINE,)), ("CRRCD", (COSINE, crrcd()))):
        recipe = compose(base, data, *terms)
        figures(recipe, data, runs)
        student = load_student(runs / recipe.name)[1]
        found[f"student by {label}, {level} px"] = embed_views(student, data.faces.crops, level, device)
    return found


def _histograms(what: str, base: Recipe, data: TrainingData, teachers: list[Teacher], runs: Path) -> dict[str, Any]:
    pairs, rows, scores = data.pairs, [], {}
    for label, table in _views(base, data, teachers, runs).items():
        found = np.sum(table[pairs.a] * table[pairs.b], axis=1)
        genuine, impostor = found[pairs.same], found[~pairs.same]
        scores[label] = histogram(genuine, impostor)
        rows.append({
            "features": label, "genuine_mean": round(float(genuine.mean()), 4),
            "impostor_mean": round(float(impostor.mean()), 4), "genuine_std": round(float(genuine.std()), 4),
            "impostor_std": round(float(impostor.std()), 4), "decidability": round(decidability(genuine, impostor), 3),
        })  # fmt: skip
    protocol = (
        "Cosines of the validation pairs, both faces seen alike (CRRCD's figure 5). Decidability d': the distance of "
        "the two means over the root of the mean of their variances." + STUDENTS
    )
    return {"protocol": protocol, "rows": rows, "plots": [plot("histograms", scores, "Scores of validation pairs")]}


def decidability(genuine: npt.NDArray[np.floating], impostor: npt.NDArray[np.floating]) -> float:
    """Daugman's d': how far two distributions of scores lie apart, in their common standard deviation."""
    return float((genuine.mean() - impostor.mean()) / np.sqrt((genuine.var() + impostor.var()) / 2))


def _tsne(what: str, base: Recipe, data: TrainingData, teachers: list[Teacher], runs: Path) -> dict[str, Any]:
    chosen, person = people(data)
    views = {label: table[chosen] for label, table in _views(base, data, teachers, runs).items()}
    layouts, rows = panels(views, person, base.seed)
    protocol = (
        f"{len(chosen)} faces of the {person.max() + 1} validation people with most of them, laid out by t-SNE of "
        "their cosine distances, a colour each (CRRCD's figure 4). Silhouette: of the features, before t-SNE; 1 where "
        "people lie far apart, 0 where they overlap." + STUDENTS
    )
    return {"protocol": protocol, "rows": rows, "plots": [plot("scatter", layouts, "Features of ten people, t-SNE")]}


def people(data: TrainingData) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Faces of the validation pairs of the ``PEOPLE`` with most, ``PHOTOS`` each at most, and whose each is, ``[n]``.

    Raises:
        ValueError: fewer than two people have two faces there.
    """
    table, rows = data.faces.table, np.unique(np.concatenate([data.pairs.a, data.pairs.b]))
    names = (table["source"].astype(str) + "/" + table["identity"].astype(str)).to_numpy()[rows]
    rows, names = (side[(table["identity"].astype(str) != "").to_numpy()[rows]] for side in (rows, names))
    found, counts = np.unique(names, return_counts=True)
    most = [found[i] for i in np.argsort(-counts, kind="stable")[:PEOPLE] if counts[i] > 1]
    if len(most) < 2:
        raise ValueError("t-SNE needs two validation people of two faces: give a set with identities")
    groups = [rows[names == name][:PHOTOS] for name in most]
    person = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    return np.concatenate(groups), person


COMMANDS = (*SWEEPS, "histograms", "tsne")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=COMMANDS, help="the sweeps")
    parser.add_argument("--recipe", type=Path, default=ROOT / "training/recipes/sweep.toml", help="what is varied")
    parser.add_argument("--count", type=int, default=10_000, help="training faces, drawn at random")
    parser.add_argument("--faces", type=Path, default=SHARED / "train", help="Parquet files, or people/<name>/*.jpg")
    parser.add_argument("--teachers", type=Path, default=SHARED / "teachers", help="folder of their ONNX files")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="for derived files")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves the choice to torch")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    base = load_recipe(args.recipe)
    data = subset(open_training_data(base.teachers, args.faces, args.teachers, args.cache), args.count, base.seed)
    for what in args.what:
        teachers = open_teachers(base.teachers, args.teachers)
        print(report(what, base, data, teachers, args.cache / "runs" / "sweeps", args.out))


if __name__ == "__main__":
    main()
