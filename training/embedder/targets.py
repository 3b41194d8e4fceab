"""The embedding space that students learn: the teachers' embeddings, projected to fewer dimensions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


def projection(embeddings: Array, dim: int) -> Array:
    """Best linear projection ``[d, dim]`` of unit embeddings ``[n, d]``: their leading singular directions.

    Not centred: it keeps inner products, which are what is compared, as well as ``dim`` numbers can.

    Raises:
        ValueError: ``dim`` exceeds the embeddings' own.
    """
    if dim > embeddings.shape[1]:
        raise ValueError(f"dim {dim} exceeds the teachers' {embeddings.shape[1]}; lower it in the recipe")
    moment = embeddings.astype(np.float64).T @ embeddings.astype(np.float64) / len(embeddings)
    _, vectors = np.linalg.eigh(moment)
    basis = vectors[:, ::-1][:, :dim]
    # An eigenvector's sign is arbitrary: fix it, so that a later run gives the same space.
    basis = basis * np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(dim)])
    return np.ascontiguousarray(basis, dtype=np.float32)


def project(embeddings: Array, basis: Array) -> Array:
    """Embeddings ``[n, d]`` projected by ``basis [d, dim]`` and normalised to unit length."""
    out = embeddings @ basis
    return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True), np.float32)
