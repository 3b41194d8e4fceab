"""A contract, templates and questions for tests of the gallery, which need no model."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from lrface.gallery import Contract, Gallery, PhotoTemplate
from lrface.gallery.settings import Group

DIM = 64
NEVER = "2000-01-01"
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


def populate(gallery: Gallery) -> None:
    """People of one to four photos, some in groups, some not searched today, some with negative examples."""
    gallery.set_group("watch", Group(fpir=0.2))
    gallery.set_group("former", Group(valid_until=NEVER))
    for person in range(24):
        near = 7 if person < 8 else None
        gallery.add(f"p{person}", [photo(10 * person + i, near) for i in range(1 + person % 4)])
    for person in (1, 2, 17):
        gallery.set_groups(f"p{person}", ["watch"])
    gallery.set_groups("p3", ["former"])
    gallery.set_groups("p2", ["former", "watch"])
    gallery.set_retention("p4", NEVER)
    gallery.set_retention("p5", "2999-01-01")
    for person in (6, 9):
        gallery.add_negative(f"p{person}", vector(7))
    gallery.remove("p18")
    gallery.remove_photo("p7", photo(70).sha256)
    gallery.merge("p19", "p20")
    gallery.set_fpir(0.02)
