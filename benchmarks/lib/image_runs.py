"""Runs of the papers' methods on pictures with classes: teacher, assistant, and a student by each method and width.

A run lies in a folder that a hash of all that decides it names: an interrupted benchmark continues, a finished run is
only read.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from benchmarks.lib.results import RESULTS, ROOT
from training.common.files import read_log
from training.data.classes import class_labels
from training.data.faces import FaceSet, default_cache
from training.data.images import load_images
from training.data.views import aligned_view, enlarged
from training.embedder.distill import distill, load_student
from training.embedder.recipes import load_recipe
from training.embedder.validate import embed_views
from training.embedder.validate_images import classifier_of, held_out
from training.recipe import Degradation, ImageSpec, LossSpec, Recipe
from training.sweeps.variants import BALANCED, COSINE, KD_WEIGHT, RKD_WEIGHT, crrcd, named

RECIPES = ROOT / "training" / "recipes" / "images"
ALONE, COSINE_ONLY, TWO_STAGES = "student alone", "cosine (order 1)", "HORKD, two stages"
ENLARGED = "teacher, picture enlarged"
CLASSES = LossSpec("cross_entropy")
# A student's own classes beside a guide: its gradient is then about that of order 1 (see training.sweeps.variants).
BESIDE = LossSpec("cross_entropy", 0.1)
RKD = (LossSpec("rkd_distance", RKD_WEIGHT), LossSpec("rkd_angle", 2 * RKD_WEIGHT))
HORKD = LossSpec("horkd", 1.0, BALANCED)
METHODS: dict[str, tuple[LossSpec, ...]] = {
    ALONE: (CLASSES,),
    COSINE_ONLY: (BESIDE, COSINE),
    "KD": (BESIDE, LossSpec("kd", KD_WEIGHT)),
    "RKD": (BESIDE, *RKD),
    "HORKD, one stage": (BESIDE, HORKD),
    TWO_STAGES: (BESIDE, HORKD),
    "CRRCD": (BESIDE, LossSpec("kd", KD_WEIGHT), crrcd()),
}

Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Budget:
    """How long is trained, and on what.

    Attributes:
        high: side in pixels that teacher and assistant see.
        widths: of the students.
        methods: of ``METHODS``, that train students.
        teacher: epochs of the teacher.
        assistant: epochs of the assistant.
        student: epochs of each student.
        mirror: whether views are mirrored.
        seed: of all runs.
    """

    high: int
    widths: tuple[int, ...]
    methods: tuple[str, ...]
    teacher: int
    assistant: int
    student: int
    mirror: bool
    seed: int


@dataclass(frozen=True)
class Measured:
    """A network on the held-out pictures.

    Attributes:
        network: or the method that trained it.
        width: side of the pictures that it saw, in pixels.
        features: unit length, float32 ``[n, dim]``.
        classifier: unit weights ``[classes, dim]``.
        seconds: of training; 0 where nothing was trained.
        epochs: likewise.
        million_parameters: of the network.
    """

    network: str
    width: int
    features: Features
    classifier: Features | None
    seconds: float
    epochs: int
    million_parameters: float


@dataclass(frozen=True)
class Held:
    """The held-out pictures: their rows, names of classes, numbers of trained classes (-1 if new), ``[n]`` each."""

    rows: Labels
    identities: npt.NDArray[np.object_]
    classes: Labels


class ImageRuns:
    """The runs on one set.

    Args:
        source: the set's folder.
        hold_out: see ``training.recipe.ImageSpec``.
        budget: how long is trained.
        cache: folder for derived files and runs.
    """

    def __init__(self, source: Path, hold_out: str, budget: Budget, cache: Path) -> None:
        self.budget = budget
        self.spec = ImageSpec(budget.high, hold_out)
        self.images: FaceSet = load_images(source, self.spec, cache)
        self.runs = cache / "runs" / "images"
        rows, zeros = self.images.rows("train"), np.zeros((len(self.images), 1), np.float32)
        held, classes = held_out(self.images, class_labels(self.images, rows, zeros, budget.seed)[0])
        self.held = Held(held, self.images.table["identity"].to_numpy()[held], classes)

    def all(self) -> list[Measured]:
        """Teacher, assistant, the teacher on enlarged small pictures, and every method at every width."""
        budget, found = self.budget, []
        teacher = self._recipe("teacher-96", budget.high, budget.teacher, (CLASSES,))
        found.append(self._measured("teacher", teacher, budget.high))
        assistant = self._recipe("assistant-96", budget.high, budget.assistant, METHODS[TWO_STAGES], teacher.name)
        found.append(self._measured("assistant (HORKD from the teacher)", assistant, budget.high))
        for width in budget.widths:
            found.append(self._enlarged(teacher, width))
            for method in budget.methods:
                guide = "" if method == ALONE else assistant.name if method == TWO_STAGES else teacher.name
                recipe = self._recipe("student-16", width, budget.student, METHODS[method], guide)
                found.append(self._measured(method, recipe, width))
        return found

    def facts(self) -> dict[str, Any]:
        """The set and the recipes' settings, for the result."""
        rows = self.images.rows("train")
        names = self.images.table["identity"].to_numpy()
        networks = {name: load_recipe(RECIPES / f"{name}.toml").student for name in ("teacher-96", "student-16")}
        return {
            "pictures": len(self.images), "trained": len(rows), "trained_classes": len(set(names[rows])),
            "held_out": len(self.held.rows), "held_out_classes": len(set(self.held.identities)), "set": self.images.key,
            **asdict(self.budget),
            "teacher_network": asdict(networks["teacher-96"]), "student_network": asdict(networks["student-16"]),
        }  # fmt: skip

    def _recipe(self, base: str, width: int, epochs: int, losses: tuple[LossSpec, ...], guide: str = "") -> Recipe:
        given = load_recipe(RECIPES / f"{base}.toml")
        degradation: Degradation = replace(given.degradation, mirror=self.budget.mirror)
        recipe = replace(
            given, images=self.spec, guide=guide, losses=losses, degradation=degradation, seed=self.budget.seed,
            student=replace(given.student, level=width), schedule=replace(given.schedule, epochs=epochs),
        )  # fmt: skip
        return named(recipe, self.images)

    def _measured(self, label: str, recipe: Recipe, width: int) -> Measured:
        run = self.runs / recipe.name
        print(f"{label}, {width} px: {recipe.name}", flush=True)
        distill(recipe, self.images, np.zeros((len(self.images), 0), np.float32), None, run)
        _, student, _ = load_student(run)
        state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)
        weights = classifier_of(state["objective"])
        classifier = None if weights is None else torch.nn.functional.normalize(weights, dim=1).numpy()
        features = embed_views(student, self.images.crops[self.held.rows], width, torch.device("cpu"))
        seconds = sum(line["seconds"] for line in read_log(run))
        millions = sum(p.numel() for p in student.parameters()) / 1e6
        return Measured(label, width, features, classifier, seconds, recipe.schedule.epochs, millions)

    def _enlarged(self, teacher: Recipe, width: int) -> Measured:
        run = self.runs / teacher.name
        _, network, _ = load_student(run)
        crops = self.images.crops[self.held.rows]
        views = np.stack([enlarged(aligned_view(crop, width), self.budget.high, cv2.INTER_CUBIC) for crop in crops])
        features = embed_views(network, views, self.budget.high, torch.device("cpu"))
        weights = classifier_of(torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)["objective"])
        classifier = None if weights is None else torch.nn.functional.normalize(weights, dim=1).numpy()
        return Measured(ENLARGED, width, features, classifier, 0.0, 0, 0.0)


def gains(rows: list[dict[str, Any]], key: str) -> None:
    """Enter each row's gain in points of ``key`` over three others of its set and width: rows as they are written."""
    bases = {
        "gain_over_alone": ALONE,
        "gain_over_cosine": COSINE_ONLY,
        "gain_over_enlarged": ENLARGED,
    }
    by = {(row["set"], row["width"], row["network"]): row[key] for row in rows}
    for row in rows:
        for name, base in bases.items():
            other = by.get((row["set"], row["width"], base))
            if other is not None and row["network"] != base:
                row[name] = round(row[key] - other, 2)


def arguments(description: str | None, widths: list[int]) -> argparse.ArgumentParser:
    """The options that both benchmarks on pictures have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", nargs="+", required=True, metavar="NAME=FOLDER", help="sets of pictures, or digits")
    parser.add_argument("--high", type=int, default=96, help="side that teacher and assistant see, pixels")
    parser.add_argument("--widths", type=int, nargs="+", default=widths, help="sides that students see, pixels")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS, help="that train the students")
    parser.add_argument("--teacher-epochs", type=int, default=60, help="epochs of the teacher")
    parser.add_argument("--assistant-epochs", type=int, default=40, help="epochs of the assistant")
    parser.add_argument("--epochs", type=int, default=40, help="epochs of each student")
    parser.add_argument("--no-mirror", action="store_true", help="pictures that must not be mirrored, digits for one")
    parser.add_argument("--seed", type=int, default=1, help="of all runs")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="for derived files and runs")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves the choice to torch")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results")
    return parser


def budget_of(args: argparse.Namespace) -> Budget:
    """The budget that the options ask for."""
    if args.threads:
        torch.set_num_threads(args.threads)
        cv2.setNumThreads(args.threads)
    return Budget(
        args.high, tuple(args.widths),
        tuple(args.methods), args.teacher_epochs, args.assistant_epochs, args.epochs, not args.no_mirror,
        args.seed,
    )  # fmt: skip


def sets(args: argparse.Namespace) -> Mapping[str, Path]:
    """Folders by the sets' names; ``digits`` alone is scikit-learn's, written to the cache as pictures.

    Raises:
        SystemExit: an entry is neither.
    """
    found = {}
    for entry in args.images:
        name, equals, folder = entry.partition("=")
        if not equals and name != "digits":
            raise SystemExit(f"--images {entry}: give NAME=FOLDER, or digits")
        found[name] = Path(folder) if equals else write_digits(args.cache / "digits")
    return found


def write_digits(folder: Path, count: int = 1797) -> Path:
    """The first of scikit-learn's 1,797 digits of 8x8 pixels as ``<digit>/<number>.png``."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (picture, digit) in enumerate(zip(digits.images[:count], digits.target[:count], strict=True)):
        target = folder / str(digit) / f"{number:04d}.png"
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(target), np.asarray(picture * (255 / 16), np.uint8))
    return folder
