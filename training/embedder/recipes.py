"""Reads recipes from TOML files and checks them before a run starts."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from training.embedder.networks import build_network
from training.losses import LOSSES, LossContext
from training.recipe import BankSpec, Degradation, ImageSpec, LossSpec, Recipe, Schedule, StudentSpec, TeacherSpec


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        ValueError: an unknown key, loss or loss argument, or a value of the wrong kind or out of range, with its place.
    """
    return recipe_from(read_toml(path), str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ValueError: the file is not TOML.
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
    if not isinstance(teachers, (list, tuple)):
        raise ValueError(f"{where}: teachers = {teachers!r}; give a list of ONNX files")
    images = raw.pop("images", None)
    parts = {
        "images": None if images is None else build(ImageSpec, images, f"{where}: images"),
        "teachers": tuple(t if isinstance(t, str) else build(TeacherSpec, t, f"{where}: teachers") for t in teachers),
        "student": build(StudentSpec, raw.pop("student", {}), f"{where}: student"),
        "schedule": build(Schedule, raw.pop("schedule", {}), f"{where}: schedule"),
        "bank": build(BankSpec, raw.pop("bank", {}), f"{where}: bank"),
        "degradation": build(Degradation, raw.pop("degradation", {}), f"{where}: degradation"),
    }
    recipe: Recipe = build(Recipe, {**raw, **parts, "losses": losses}, where)
    _check_buildable(recipe, where)
    return recipe


def _check_buildable(recipe: Recipe, where: str) -> None:
    """Build student and losses once, as a check: a run builds them only after hours of preparation.

    Raises:
        ValueError: one of them cannot be built, with its place.
    """
    dim, at = recipe.student.dim, "student"
    context = LossContext(dim, dim, torch.ones(1, dim), torch.ones(1, dim), 2)
    try:
        with torch.device("meta"):  # no weights, no random numbers
            build_network(recipe.student)
        for spec in recipe.losses:
            at = f"losses: {spec.name}"
            if spec.name not in LOSSES:
                raise ValueError(f"unknown loss {spec.name!r}; one of {sorted(LOSSES)}")
            with torch.random.fork_rng(devices=[]):
                loss = LOSSES[spec.name].build(context, **spec.arguments)
            if loss.needs_guide and not (recipe.teachers or recipe.guide):
                raise ValueError("it needs teachers or a guide; without them give losses of classes, cross_entropy")
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
