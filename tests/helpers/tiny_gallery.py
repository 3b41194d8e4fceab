"""A contract, templates and questions for tests of the gallery, which need no model."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from lrface.gallery import Contract, Gallery, PhotoTemplate

DIM = 64
CONTRACT = Contract(
    "tiny",
    DIM,
    True,
    "arcface-112",
    {
        "32": {"name": "t32", "sha256": f"{32:064d}", "channels": "RGB", "mean": 127.5, "scale": 1 / 128},
    },
)


def vector(seed: int, near: int | None = None) -> np.ndarray:
    value = np.random.default_rng(seed).standard_normal(DIM)
    if near is not None:
        value = vector(near) + 0.02 * value
    return (value / np.linalg.norm(value)).astype(np.float32)


def photo(seed: int, near: int | None = None) -> PhotoTemplate:
    return PhotoTemplate(f"{seed:064x}", 100.0, vector(seed * 100 + 32, near))


def soon(call: Callable[[], object], wanted: object) -> None:
    """What another process has changed is seen after a moment, on a busy machine a longer one."""
    end = time.monotonic() + 10
    while (found := call()) != wanted and time.monotonic() < end:
        time.sleep(0.02)
    assert found == wanted


def names(gallery: Gallery, probe: np.ndarray, k: int = 5) -> list[str]:
    return [match.name for match in gallery.search(probe[None], k)[0]]
