"""Class labels: the set's identities, or clusters of the guide's features where it has none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.data.faces import FaceSet

FACES_PER_CLUSTER = 20


def class_labels(
    faces: FaceSet, rows: npt.NDArray[np.int64], features: npt.NDArray[np.float32], seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Labels of all faces and the mean feature of each class.

    Where the rows carry identities, people with two faces or more are the classes and all others have none. Where none
    carries one, k-means clusters of the guide's features stand in (METHODS.md), about ``FACES_PER_CLUSTER`` faces each.

    Args:
        faces: the set.
        rows: the training faces.
        features: of the guide, unit length, float32 ``[len(faces), e]``.
        seed: of the clustering.

    Returns:
        Labels int64 ``[len(faces)]``, -1 for faces of no class or not among the rows; centres float32 ``[k, e]``.
    """
    labels = np.full(len(faces), -1, np.int64)
    person = (faces.table["source"].astype(str) + "/" + faces.table["identity"].astype(str)).to_numpy()[rows]
    known = np.flatnonzero(faces.table["identity"].astype(str).to_numpy()[rows] != "")
    if len(known):
        _, place, counts = np.unique(person[known], return_inverse=True, return_counts=True)
        several = np.flatnonzero(counts > 1)
        number = np.full(len(counts), -1, np.int64)
        number[several] = np.arange(len(several))
        labels[rows[known]] = number[place]
    if (labels < 0).all():
        labels[rows] = _clusters(features[rows], seed)
    centres = np.zeros((labels.max() + 1, features.shape[1]), np.float32)
    inside = labels >= 0
    np.add.at(centres, labels[inside], features[inside])
    centres /= np.bincount(labels[inside], minlength=len(centres))[:, None].astype(np.float32)
    return labels, centres


def _clusters(features: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.int64]:
    import faiss

    count = max(2, len(features) // FACES_PER_CLUSTER)
    kmeans = faiss.Kmeans(
        features.shape[1], count, niter=10, nredo=5, seed=seed, spherical=True, min_points_per_centroid=1
    )
    kmeans.train(np.ascontiguousarray(features))
    nearest = kmeans.index.search(np.ascontiguousarray(features), 1)[1][:, 0]
    # A cluster may have stayed empty.
    return np.unique(nearest, return_inverse=True)[1].astype(np.int64)
