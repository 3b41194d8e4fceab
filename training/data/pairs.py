"""The validation pairs: of people outside the training split, never of LFW."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.data.faces import FaceSet


@dataclass(frozen=True)
class Pairs:
    """Validation pairs: rows ``a`` and ``b`` of a ``FaceSet``, genuine or not, in folds; all ``[n]``."""

    a: npt.NDArray[np.int64]
    b: npt.NDArray[np.int64]
    same: npt.NDArray[np.bool_]
    fold: npt.NDArray[np.int64]


def make_pairs(faces: FaceSet, count: int = 6000, folds: int = 10, seed: int = 0) -> Pairs:
    """Genuine and impostor pairs, half of each, of the ``val`` split of a set that has no list of its own.

    Raises:
        ValueError: no two photos of one person, or no two people, in the split.
    """
    rows = faces.rows("val")
    person = faces.table["identity"].to_numpy()[rows]
    i, j = np.triu_indices(len(rows), 1)
    genuine = person[i] == person[j]
    if not genuine.any() or genuine.all():
        raise ValueError("validation needs two people and two photos of one of them; add photos to the training set")
    rng = np.random.default_rng(seed)
    half = min(count // 2, int(np.count_nonzero(genuine)), int(np.count_nonzero(~genuine)))
    chosen = np.concatenate([rng.permutation(np.flatnonzero(kind))[:half] for kind in (genuine, ~genuine)])
    fold = np.concatenate([np.arange(half), np.arange(half)]) % min(folds, max(2, half))
    return Pairs(rows[i[chosen]], rows[j[chosen]], genuine[chosen], fold)


def load_pairs(path: Path, faces: FaceSet) -> Pairs:
    """Read ``val_pairs.csv`` (fold, a, b, same).

    Raises:
        ValueError: it names faces that are not in the validation split.
    """
    table = pd.read_csv(path)
    row = {faces.table["name"].iloc[i]: i for i in faces.rows("val")}
    if unknown := sorted({*table["a"], *table["b"]} - set(row), key=str):
        raise ValueError(f"{path}: {len(unknown)} names are not in the validation split, the first is {unknown[0]!r}")
    a, b = (table[column].map(row).to_numpy() for column in "ab")
    return Pairs(a, b, table["same"].to_numpy().astype(bool), table["fold"].to_numpy())
