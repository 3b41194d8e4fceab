"""Classes are identities where there are some, clusters where there are none."""

from __future__ import annotations

import numpy as np
import pytest

pd = pytest.importorskip("pandas")

from training.data.classes import class_labels
from training.data.faces import FaceSet


def _faces(identities: list[str], splits: list[str]) -> FaceSet:
    table = pd.DataFrame({"name": range(len(identities)), "source": "toy", "identity": identities, "split": splits})
    return FaceSet(np.zeros((len(identities), 1, 1, 3), np.uint8), table, "toy")


def test_people_with_two_faces_are_classes() -> None:
    faces = _faces(["a", "b", "a", "", "c", "c", "c"], ["train"] * 6 + ["val"])
    features = np.eye(7, dtype=np.float32)
    labels, centres = class_labels(faces, faces.rows("train"), features, seed=1)
    assert labels.tolist() == [0, -1, 0, -1, 1, 1, -1]  # one face makes no class, validation is not looked at
    np.testing.assert_allclose(centres, [(features[0] + features[2]) / 2, (features[4] + features[5]) / 2])


def test_without_identities_clusters_stand_in() -> None:
    rng = np.random.default_rng(0)
    middle = np.eye(4, dtype=np.float32)[np.arange(80) % 4]
    features = middle + rng.normal(0, 0.05, (80, 4)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    faces = _faces([""] * 80, ["train"] * 80)
    labels, centres = class_labels(faces, faces.rows("train"), features, seed=1)
    assert len(centres) == 4
    for group in range(4):
        assert len(set(labels[group::4])) == 1
        np.testing.assert_allclose(centres[labels[group]], features[group::4].mean(axis=0), atol=1e-5)
