"""Small runs beside one another: what a loss, its settings or a second stage is worth.

Every sweep trains variants of one small recipe on the same random part of the training faces. A run lies in
``<cache>/runs/sweeps/<name>``, its name a hash of all that decides it: sweeps share runs, an interrupted one resumes,
a finished one is only read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from training.data.classes import class_labels
from training.data.faces import FaceSet
from training.embedder.targets import project, projection
from training.embedder.workplace import Workplace
from training.recipe import LossSpec, Recipe

COSINE = LossSpec("order1")
PUBLISHED = {"alpha": 0.02, "beta": 0.01, "gamma": 1.0}
# What stands beside order 1 is weighted so that late in the first epoch its gradient at the student's features is about
# half of order 1's, measured with a student of widths 32, 64, 128. It is this project's choice: the papers' weights are
# unknown or for another scale. CRRCD's sigmoid critic has collapsed by then (a constant critic is a minimum of one
# positive against N negatives, log(1 + N) + N log(1 + 1 / N)): its sweeps use CRD's, and one row shows the sigmoid.
BALANCED = {"alpha": 15.0, "beta": 25.0, "gamma": 40.0}
CRRCD_WEIGHT = {"sigmoid": 0.3, "crd": 0.1}
RELATIONAL_WEIGHT, KD_WEIGHT, RKD_WEIGHT, CRD_WEIGHT = 0.15, 0.3, 1.5, 0.05
NEGATIVES = (64, 256, 1024, 4096)
TEMPERATURES = (0.02, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True)
class Variant:
    """One run of a sweep.

    Attributes:
        label: in the table and the plot.
        recipe: named by ``named``.
        value: of what is swept, where that is a number.
        assistant: the recipe that ``recipe.guide`` names, trained first.
    """

    label: str
    recipe: Recipe
    value: float | None = None
    assistant: Recipe | None = None


def named(recipe: Recipe, faces: FaceSet) -> Recipe:
    """The recipe under a name of its own for each way to train and each set of faces."""
    said = json.dumps(asdict(replace(recipe, name="")), sort_keys=True) + faces.key
    return replace(recipe, name=f"{recipe.losses[-1].name}-{hashlib.sha256(said.encode()).hexdigest()[:12]}")


def compose(base: Recipe, place: Workplace, *losses: LossSpec) -> Recipe:
    """The small recipe with these losses, under a name of its own."""
    return named(replace(base, losses=losses), place.faces)


def sums_of_the_paper(base: Recipe, place: Workplace) -> dict[str, float]:
    """HORKD's published weights, were they meant for sums over a batch: see ``training.losses.horkd``."""
    rows = place.faces.rows("train")
    features = project(place.embeddings, projection(place.embeddings[rows], base.student.dim))
    classes = len(class_labels(place.faces, rows, features, base.seed)[1])
    others = base.schedule.batch - 1
    alpha, beta, gamma = PUBLISHED.values()
    return {"alpha": round(others * alpha, 4), "beta": round(others**2 * beta, 4), "gamma": classes * gamma}


def orders(base: Recipe, place: Workplace) -> list[Variant]:
    """HORKD's ablation: order 1 with every choice of the others."""
    weights = {"2": "alpha", "3": "beta", "C": "gamma"}
    found = [Variant("1", compose(base, place, COSINE))]
    for chosen in ("2", "3", "C", "23", "2C", "3C", "23C"):
        given = {name: BALANCED[name] if order in chosen else 0.0 for order, name in weights.items()}
        found.append(Variant("+".join(["1", *chosen]), compose(base, place, LossSpec("horkd", 1.0, given))))
    return found


def negatives(base: Recipe, place: Workplace) -> list[Variant]:
    """CRRCD's figure 3, first half: N."""
    return [Variant(f"N = {n}", compose(base, place, COSINE, crrcd(n)), n) for n in NEGATIVES]


def temperature(base: Recipe, place: Workplace) -> list[Variant]:
    """CRRCD's figure 3, second half: tau."""
    return [Variant(f"tau = {t}", compose(base, place, COSINE, crrcd(temperature=t)), t) for t in TEMPERATURES]


def stages(base: Recipe, place: Workplace) -> list[Variant]:
    """Teachers to student, against teachers to assistant (which sees twice the pixels) to student."""
    bigger = replace(base, student=replace(base.student, level=2 * base.student.level))
    assistant = compose(bigger, place, COSINE)
    return [
        Variant("one stage", compose(base, place, COSINE)),
        Variant("two stages", compose(replace(base, guide=assistant.name), place, COSINE), assistant=assistant),
        Variant(f"the assistant, {bigger.student.level} px", assistant),
    ]


def methods(base: Recipe, place: Workplace) -> list[Variant]:
    """Both papers' methods, their sum and their neighbours, each beside order 1, and order 1 alone with three seeds."""
    losses = {
        "cosine (order 1)": (COSINE,),
        "cosine + relational KL": (COSINE, LossSpec("relational_kl", RELATIONAL_WEIGHT)),
        "cosine + KD": (COSINE, LossSpec("kd", KD_WEIGHT)),
        "cosine + RKD": (COSINE, LossSpec("rkd_distance", RKD_WEIGHT), LossSpec("rkd_angle", 2 * RKD_WEIGHT)),
        "cosine + CRD": (COSINE, LossSpec("crd", CRD_WEIGHT)),
        "HORKD, published weights as means": (LossSpec("horkd", 1.0, PUBLISHED),),
        "HORKD, published weights as sums": (LossSpec("horkd", 1.0, sums_of_the_paper(base, place)),),
        "HORKD, balanced": (LossSpec("horkd", 1.0, BALANCED),),
        "cosine + CRRCD": (COSINE, crrcd()),
        "cosine + CRRCD, sigmoid critic": (COSINE, crrcd(critic="sigmoid")),
        "HORKD, published weights as means + CRRCD": (LossSpec("horkd", 1.0, PUBLISHED), crrcd()),
    }
    found = [Variant(label, compose(base, place, *terms)) for label, terms in losses.items()]
    again = [replace(base, seed=base.seed + i) for i in (1, 2)]
    return found + [Variant(f"cosine (order 1), seed {r.seed}", compose(r, place, COSINE)) for r in again]


SWEEPS: dict[str, Callable[[Recipe, Workplace], list[Variant]]] = {
    "orders": orders,
    "negatives": negatives,
    "temperature": temperature,
    "stages": stages,
    "methods": methods,
}


def crrcd(negatives: int = 1024, temperature: float = 0.1, critic: str = "crd") -> LossSpec:
    """CRRCD's loss; its default queue of 4,096 samples has room for all negatives."""
    chosen = {"critic": critic, "negatives": negatives, "temperature": temperature}
    return LossSpec("crrcd", CRRCD_WEIGHT[critic], chosen)
