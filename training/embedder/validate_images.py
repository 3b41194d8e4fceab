"""Validation of pictures with classes: recall where the held-out classes are new, accuracy where they are known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lrface.metrics import recall_at
from training.data.faces import FaceSet
from training.embedder.validate import embed_views

Labels = npt.NDArray[np.int64]

VALIDATED = 512
"""Pictures on which a network is validated after each epoch, at most: for the log, not for a table."""


def validate_images(
    model: nn.Module,
    level: int,
    faces: FaceSet,
    labels: Labels,
    classifier: Tensor | None,
    device: torch.device,
    limit: int = VALIDATED,
) -> dict[str, float]:
    """Recall@1 in % among the held-out pictures and, if their classes are trained ones, the classifier's accuracy in %.

    Args:
        model: the student.
        level: its input's side in pixels.
        faces: the pictures.
        labels: of the classes that are trained, int64 ``[len(faces)]``, -1 elsewhere.
        classifier: see ``classifier_of``.
        device: where the model is.
        limit: pictures at most, of whole classes where these are new; 0 for all.
    """
    rows, classes = held_out(faces, labels, limit)
    features = embed_views(model, faces.crops[rows], level, device)
    return measure(features, faces.table["identity"].to_numpy()[rows], classes, classifier)


def measure(
    features: npt.NDArray[np.float32], identities: npt.NDArray[np.object_], classes: Labels, classifier: Tensor | None
) -> dict[str, float]:
    """What ``validate_images`` returns, of unit features ``[n, d]`` of classes named ``[n]``, as trained ``[n]``."""
    found = {"recall_1": 100 * recall_at(features, identities, (1,))[1]}
    if classifier is not None and (classes >= 0).any():
        known = classes >= 0
        chosen = features[known] @ nn.functional.normalize(classifier.cpu(), dim=1).numpy().T
        found["accuracy"] = 100 * float((chosen.argmax(1) == classes[known]).mean())
    return found


def held_out(faces: FaceSet, labels: Labels, limit: int = 0) -> tuple[Labels, Labels]:
    """Rows of the ``val`` split, about ``limit`` at most if that is not 0, and their trained classes, -1 if new.

    Args:
        faces: the pictures.
        labels: of the classes that are trained, int64 ``[len(faces)]``, -1 elsewhere.
        limit: see ``validate_images``.
    """
    rows, identities = faces.rows("val"), faces.table["identity"].to_numpy()
    trained = dict(zip(identities[labels >= 0], labels[labels >= 0], strict=True))
    classes = np.array([trained.get(name, -1) for name in identities[rows]], np.int64)
    if limit and len(rows) > limit:
        if (classes >= 0).any():
            kept = np.arange(0, len(rows), -(-len(rows) // limit))
        else:
            names, counts = np.unique(identities[rows], return_counts=True)
            some = names[: max(2, int(np.searchsorted(np.cumsum(counts), limit, side="right")))]
            kept = np.flatnonzero(np.isin(identities[rows], some))
        rows, classes = rows[kept], classes[kept]
    return rows, classes


def classifier_of(objective: Mapping[str, Tensor]) -> Tensor | None:
    """The weights ``[k, dim]`` of the classifier in the state of an objective; None if it has none."""
    return next((value for name, value in objective.items() if name.endswith("_cross_entropy.weight")), None)
