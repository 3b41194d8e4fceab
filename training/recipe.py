"""A recipe: one small TOML file that says how a student is made."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from training.losses import LOSSES, LossContext
from training.students import Student
from training.views import Degradation


@dataclass(frozen=True)
class TeacherSpec:
    """A teacher that ``training.teachers`` does not know by name: its file and how it wants its 112x112 crop."""

    file: str
    size: int = 112
    rgb: bool = True
    mean: float = 127.5
    scale: float = 1 / 127.5


@dataclass(frozen=True)
class StudentSpec:
    """The student's network, see ``training.students.Student``."""

    level: int
    dim: int = 256
    widths: tuple[int, int, int] = (48, 128, 256)
    depths: tuple[int, int, int] = (1, 1, 1)


@dataclass(frozen=True)
class LossSpec:
    """One term of the loss: its name in ``training.losses.LOSSES``, its weight, its arguments."""

    name: str
    weight: float = 1.0
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Schedule:
    """AdamW with one cycle: a linear warm-up over ``warmup`` of all steps, then a cosine down to zero.

    Attributes:
        epochs: passes over the training faces.
        batch: samples of a step, of all processes together.
        rate: peak learning rate.
        weight_decay: of all weights.
        warmup: share of the steps, 0..1.
        ema: decay of the average of weights, which is what ships; see ``training.averaging``.

    Raises:
        ValueError: a value out of range.
    """

    epochs: int
    batch: int = 256
    rate: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    ema: float = 0.999

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2:
            raise ValueError(f"epochs {self.epochs}, batch {self.batch}: give 1 epoch or more, batches of 2 or more")
        if self.rate <= 0 or not 0 <= self.warmup <= 1 or not 0 <= self.ema < 1:
            raise ValueError(
                f"rate {self.rate}, warmup {self.warmup}, ema {self.ema}: give a positive rate, the others from 0 to 1"
            )


@dataclass(frozen=True)
class BankSpec:
    """Mixtures that go into each batch beside the training faces, see ``training.bank``.

    Attributes:
        teacher: name of the low-resolution teacher's recipe (``python -m training adapt``), which lies in ``adapt/``
            beside the student's; empty: no mixtures.
        shards: how much of the bank is used, in shards of 12,800 views.
        share: of each batch, below 1.

    Raises:
        ValueError: a value out of range.
    """

    teacher: str = ""
    shards: int = 12
    share: float = 0.6

    def __post_init__(self) -> None:
        if self.shards < 1 or not 0 <= self.share < 1:
            raise ValueError(f"shards {self.shards}, share {self.share}: give 1 or more, and a share below 1")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a run produces, its data aside.

    Attributes:
        name: of the model that it makes.
        teachers: ONNX files below ``--teachers`` (or absolute), concatenated: names of known ones, or tables.
        student, degradation, losses, schedule: see their classes.
        bank: mixtures beside the training faces.
        init: name of the recipe whose student this one continues from, "" for random weights; what does not fit in
            shape starts anew.
        guide: name of the recipe whose student teaches this one, fed its own level's view of the sharp face, in place
            of the teachers: HORKD's second stage. "" for the teachers.
        mirror: the exported network looks at the face and at its mirror image, and means their features: more accurate,
            at twice the cost.
        quality: weight of ``training.objective.length_loss``.
        seed: of weights, order and views.
        space: whose embeddings may be compared: give it to recipes of the same teachers, data and dim, to no others;
            empty stands for the recipe's name, which is comparable with nothing else.
        license: of the weights, as the manifest states it.
        terms: what the card says of the terms of data and teachers.
    """

    name: str
    teachers: tuple[str | TeacherSpec, ...]
    student: StudentSpec
    losses: tuple[LossSpec, ...]
    schedule: Schedule
    degradation: Degradation = field(default_factory=Degradation)
    bank: BankSpec = field(default_factory=BankSpec)
    init: str = ""
    guide: str = ""
    mirror: bool = False
    quality: float = 0.0
    seed: int = 1
    space: str = ""
    license: str = "not stated"
    terms: str = "not stated: say in the recipe what data and teachers allow"


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        ValueError: an unknown key, loss or loss argument, or a value of the wrong kind or out of range, with its place.
    """
    return recipe_from(read_toml(path), str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ValueError: it is none.
    """
    with path.open("rb") as file:
        try:
            return tomllib.load(file)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path}: not TOML: {error}") from error


def recipe_from(raw: dict[str, Any], where: str) -> Recipe:
    """A recipe from its plain tables, checked; ``where`` names them in an error. Raises as ``load_recipe``."""
    raw = dict(raw)
    listed = raw.pop("losses", [])
    if not isinstance(listed, (list, tuple)) or not listed:
        raise ValueError(f"{where}: no [[losses]]; name at least one of {sorted(LOSSES)}")
    losses = tuple(build(LossSpec, item, f"{where}: losses") for item in listed)
    teachers = raw.pop("teachers", [])
    if not isinstance(teachers, (list, tuple)) or not teachers:
        raise ValueError(f"{where}: no teachers; give a list of ONNX files")
    parts = {
        "teachers": tuple(t if isinstance(t, str) else build(TeacherSpec, t, f"{where}: teachers") for t in teachers),
        "student": build(StudentSpec, raw.pop("student", {}), f"{where}: student"),
        "schedule": build(Schedule, raw.pop("schedule", {}), f"{where}: schedule"),
        "bank": build(BankSpec, raw.pop("bank", {}), f"{where}: bank"),
        "degradation": build(Degradation, raw.pop("degradation", {}), f"{where}: degradation"),
    }
    recipe: Recipe = build(Recipe, {**raw, **parts, "losses": losses}, where)
    _try_out(recipe, where)
    return recipe


def _try_out(recipe: Recipe, where: str) -> None:
    """Build student and losses once to see whether they can be: a run does so only after hours of preparation.

    Raises:
        ValueError: they cannot, with the place.
    """
    dim, at = recipe.student.dim, "student"
    try:
        with torch.device("meta"):  # no weights, no random numbers
            Student(**asdict(recipe.student))
        for spec in recipe.losses:
            at = f"losses: {spec.name}"
            if spec.name not in LOSSES:
                raise ValueError(f"unknown loss {spec.name!r}; one of {sorted(LOSSES)}")
            with torch.random.fork_rng(devices=[]):
                LOSSES[spec.name].build(LossContext(dim, dim, torch.ones(1, dim)), **spec.arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {at}: {error}") from error


def build(kind: type[Any], values: dict[str, Any], where: str) -> Any:
    """A dataclass from plain values, each checked against its annotation.

    Raises:
        ValueError: an unknown key or a value of the wrong kind or out of range, with its place.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where}: {values!r}, expected a table")
    known = {f.name: f for f in fields(kind)}
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"{where}: unknown {', '.join(unknown)}; known are {', '.join(known)}")
    checked = {}
    for name, value in values.items():
        want = str(known[name].type)
        if want.startswith("tuple"):
            value = _as_tuple(value, want, f"{where}: {name}")
        elif want == "float" and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        elif want.split("[")[0] in ("int", "float", "str", "bool", "dict") and not want.startswith(
            type(value).__name__
        ):
            raise ValueError(f"{where}: {name} = {value!r} is a {type(value).__name__}, expected {want}")
        checked[name] = value
    try:
        return kind(**checked)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _as_tuple(value: Any, want: str, where: str) -> tuple[Any, ...]:
    inner = want.removeprefix("tuple[").removesuffix("]").split(", ")
    right = isinstance(value, (list, tuple)) and (inner[-1] == "..." or len(value) == len(inner))
    if not right or (inner[0] == "int" and any(type(each) is not int for each in value)):
        raise ValueError(f"{where} = {value!r}, expected a list like {want}")
    return tuple(value)
