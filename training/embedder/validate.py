"""Validation figures on people outside the training split: the validation pairs, never LFW."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from tqdm import tqdm

from lrface.metrics import fold_accuracies, tar_at_far
from training.data.faces import FaceSet
from training.data.pairs import Pairs
from training.data.views import aligned_view, to_input, view_at
from training.recipe import Recipe

VALIDATED_WIDTHS = (48, 32, 24, 16, 12, 8)
"""Of the faces on which a network is validated that reads many widths, beside its level, in pixels."""


def validation_widths(recipe: Recipe) -> tuple[int, ...]:
    """Widths of the faces on which a recipe's student is validated: its level alone, or those that it reads."""
    narrowest, level = recipe.degradation.narrowest, recipe.student.level
    return (level, *(width for width in VALIDATED_WIDTHS if narrowest and narrowest <= width < level))


def embed_views(
    model: nn.Module, crops: npt.NDArray[np.uint8], level: int, device: torch.device, progress: str = ""
) -> npt.NDArray[np.float32]:
    """Unit embeddings ``[n, dim]`` of aligned views of crops uint8 ``[n, 112, 112, 3]``; ``progress`` titles a bar."""
    model.eval()
    out = []
    with torch.inference_mode():
        for i in tqdm(range(0, len(crops), 256), desc=progress, disable=not progress, unit="batch"):
            views = np.stack([aligned_view(crop, level) for crop in crops[i : i + 256]])
            x = torch.from_numpy(to_input(views)).to(device, memory_format=torch.channels_last)
            out.append(nn.functional.normalize(model(x).float(), dim=1).cpu().numpy())
    return np.concatenate(out)


def validate(
    model: nn.Module, level: int, faces: FaceSet, pairs: Pairs, targets: npt.NDArray[np.float32], device: torch.device
) -> dict[str, float]:
    """Accuracy in %, LR-LR and HR-LR (teachers' embedding of the sharp other face), TAR, mean cosine to the teachers.

    Args:
        model: the student.
        level: its input's side in pixels.
        faces: where the pairs' crops are.
        pairs: validation pairs.
        targets: the teachers' embeddings ``[len(faces), dim]`` in the student's space.
        device: where the model is.
    """
    rows = np.unique(np.concatenate([pairs.a, pairs.b]))
    table = np.zeros_like(targets)
    table[rows] = embed_views(model, faces.crops[rows], level, device)
    return score(table, targets, pairs)


def cosines(
    model: nn.Module, widths: Sequence[int], faces: FaceSet, rows: npt.NDArray[np.int64],
    targets: npt.NDArray[np.float32], device: torch.device,
) -> dict[str, float]:  # fmt: skip
    """Mean cosine to the teachers, by the width of the face: ``{"cosine_32": ...}``, enlarged to the network's level.

    Args:
        model: a network that reads faces of many widths.
        widths: in pixels.
        faces: where the crops are.
        rows: the faces.
        targets: the teachers' embeddings ``[len(faces), dim]`` in the student's space.
        device: where the model is.
    """
    found, level = {}, int(model.level)  # type: ignore[arg-type]
    for width in widths:
        views = np.stack([view_at(crop, width, level) for crop in faces.crops[rows]])
        embedded = embed_views(model, views, level, device)
        found[f"cosine_{width}"] = float(np.mean(np.sum(embedded * targets[rows], axis=1)))
    return found


def score(table: npt.NDArray[np.float32], targets: npt.NDArray[np.float32], pairs: Pairs) -> dict[str, float]:
    """What ``validate`` returns, of unit embeddings ``[len(faces), dim]``; only rows of pairs need be filled."""
    low = np.sum(table[pairs.a] * table[pairs.b], axis=1)
    cross = np.sum(targets[pairs.a] * table[pairs.b], axis=1)
    rows = np.unique(np.concatenate([pairs.a, pairs.b]))
    return {
        "lr_lr": 100 * float(fold_accuracies(low, pairs.same, pairs.fold).mean()),
        "hr_lr": 100 * float(fold_accuracies(cross, pairs.same, pairs.fold).mean()),
        "tar_1e-2": 100 * tar_at_far(low, pairs.same, 1e-2),
        "cosine": float(np.mean(np.sum(table[rows] * targets[rows], axis=1))),
    }
