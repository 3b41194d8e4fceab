"""What a run learns: the features of its guide, which are the teachers' or another run's."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from training.common.files import replacing
from training.data.faces import FaceSet
from training.embedder.networks import build_network
from training.embedder.recipes import recipe_from
from training.embedder.targets import project, projection
from training.embedder.validate import embed_views
from training.recipe import Recipe

Embeddings = npt.NDArray[np.float32]


@dataclass(frozen=True)
class DistillationTargets:
    """What a run learns.

    Attributes:
        guides: the guide's unit features, float32 ``[len(faces), e]``.
        targets: the teachers' unit embeddings in the student's space, float32 ``[len(faces), dim]``, for validation;
            the guide's where there are no teachers.
        basis: from the teachers' embeddings to that space, float32 ``[d, dim]``.
    """

    guides: Embeddings
    targets: Embeddings
    basis: Embeddings


def load_student(run: Path) -> tuple[Recipe, nn.Module, Embeddings]:
    """The recipe, the averaged student and the projection ``[d, dim]`` of a run's last checkpoint.

    Raises:
        ValueError: the folder holds none.
    """
    if not (run / "checkpoint.pt").exists():
        raise ValueError(f"{run} holds no checkpoint: distil that recipe first")
    recipe = recipe_from(json.loads((run / "recipe.json").read_text()), str(run / "recipe.json"))
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)
    student = build_network(recipe.student)
    student.load_state_dict(state["ema"])
    return recipe, student.eval(), state["basis"].numpy()


def distillation_targets(
    recipe: Recipe, faces: FaceSet, embeddings: Embeddings, run: Path, device: torch.device
) -> DistillationTargets:
    """From the teachers, or from the run that is the guide (HORKD's second stage: the assistant teaches).

    Pictures may have neither: then there is nothing to learn but their classes, and the guides are zeros.

    Args:
        recipe: what is trained.
        faces: what the guide sees.
        embeddings: the teachers' unit embeddings ``[len(faces), d]``; d is 0 without teachers.
        run: the run's folder, beside that of the guide.
        device: of the guide.

    Raises:
        ValueError: the guide's run is missing, or of another space.
    """
    if not (recipe.guide or recipe.teachers):
        nothing = np.zeros((len(faces), 1), np.float32)
        return DistillationTargets(nothing, nothing, np.zeros((0, recipe.student.dim), np.float32))
    if not recipe.guide:
        basis = _kept_space(recipe, run)
        if basis is None:
            basis = projection(embeddings[faces.rows("train")], recipe.student.dim)
        targets = project(embeddings, basis)
        return DistillationTargets(targets, targets, basis)
    guide_run = run.parent / recipe.guide
    guide_recipe, guide, basis = load_student(guide_run)
    ours, theirs = ((each.student.dim, each.teachers) for each in (recipe, guide_recipe))
    if ours != theirs:
        raise ValueError(f"guide {recipe.guide} has dim and teachers {theirs}, the student {ours}: they must be equal")
    # Named by the checkpoint's hash: a guide that was trained further has other features.
    digest = hashlib.sha256((guide_run / "checkpoint.pt").read_bytes()).hexdigest()[:12]
    kept = guide_run / f"features-{faces.key}-{digest}.npy"
    if not kept.exists():
        found = embed_views(guide.to(device), faces.crops, guide_recipe.student.level, device, f"guide {recipe.guide}")
        with replacing(kept) as part:
            np.save(part, found)
    features = np.load(kept)
    return DistillationTargets(features, project(embeddings, basis) if recipe.teachers else features, basis)


def _kept_space(recipe: Recipe, run: Path) -> Embeddings | None:
    """The projection of this run's own checkpoint, or of the run it starts from if that has the same teachers.

    Computed anew on another processor or from other faces it differs a little: the given weights would aim beside it,
    and the networks of one space would not be comparable.
    """
    for folder in (run, run.parent / recipe.init):
        if (folder / "checkpoint.pt").exists() and (folder / "recipe.json").exists():
            made_by = recipe_from(json.loads((folder / "recipe.json").read_text()), str(folder))
            if (made_by.student.dim, made_by.teachers) == (recipe.student.dim, recipe.teachers):
                state = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
                basis: Embeddings = state["basis"].numpy()
                return basis
    return None
