"""The people closest to probes, exactly: compared in float32, many probes with many people first in 8 bits.

In 8 bits a template is `scale * (code - 128)`. The length of what this leaves out bounds the error of each approximate
cosine (Cauchy-Schwarz), so whoever may be among the closest is known, and compared in float32. Products of integers are
onnxruntime's: no BLAS that numpy brings has them.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lrface.gallery.blocks import Block
from lrface.types import FloatArray

if TYPE_CHECKING:
    from lrface.models.onnxruntime_session import Session

MANY_PROBES, MANY_PEOPLE = 4, 16384
"""From so many of both on 8 bits are used: below, calls cost more than they save."""
_ROUNDING = 1e-5  # of the sums in float32, more than enough
_PENDING = 2**18  # candidates, before those that are out by now are dropped
_TOO_MANY = 2**21  # candidates: nearly all people are alike, and 8 bits tell nobody apart
# MatMulInteger(a: uint8 [n, d], b: int8 [d, q], zero point of a: 128) -> c: int32 [n, q], as an ONNX file
_PRODUCT = (
    "CAg6bgobCgFhCgFiCgF6EgFjIg1NYXRNdWxJbnRlZ2VyEgAqCBACQgF6SgGAWhUKAWESEAoOCAISCgoDEgFuCgMSAWRaFQoBYhIQCg4IAxIKCgMS"
    "AWQKAxIBcWIVCgFjEhAKDggGEgoKAxIBbgoDEgFxQgQKABAN"
)

Found = list[tuple[Block, int, float]]


def closest(
    blocks: Sequence[tuple[Block, int]], probes: FloatArray, k: int, least: FloatArray | None = None
) -> list[Found]:
    """For each probe the k closest rows of all blocks: block, place in it, cosine; closest first.

    Args:
        blocks: With the number of their rows.
        probes: float32 [n, dim], of unit length.
        k: At least 1.
        least: float32 [n]; rows with a lower cosine may be left out. It saves a quarter of the time.
    """
    if len(probes) >= MANY_PROBES and sum(count for _, count in blocks) >= MANY_PEOPLE:
        found = _closest_of_many(blocks, np.ascontiguousarray(probes, np.float32), k, least)
        if found is not None:
            return found
    return _closest_of_few(blocks, probes, k)


def _closest_of_few(blocks: Sequence[tuple[Block, int]], probes: FloatArray, k: int) -> list[Found]:
    """See `closest`; all in float32."""
    found: list[tuple[FloatArray, NDArray[np.intp], int]] = []
    for number, (block, count) in enumerate(blocks):
        cosines = probes @ block.templates[:count].T
        places = np.argpartition(cosines, count - k, axis=1)[:, count - k :] if k < count else None
        if places is None:
            places = np.broadcast_to(np.arange(count), cosines.shape)
        found.append((np.take_along_axis(cosines, places, axis=1), places, number))
    values = np.concatenate([part for part, _, _ in found], axis=1)
    at = np.concatenate([part for _, part, _ in found], axis=1)
    numbers = np.concatenate([np.full(part.shape[1], number) for _, part, number in found])
    best = np.argsort(-values, axis=1, kind="stable")[:, :k]
    return [
        [(blocks[numbers[j]][0], int(at[i, j]), float(values[i, j])) for j in row.tolist()]
        for i, row in enumerate(best)
    ]


class _Candidates:
    """Who may be among the k closest of each probe.

    Attributes:
        limits: float32 [probes]; an approximate cosine below cannot belong to one of the k closest.
    """

    def __init__(self, probes: int, k: int, slack: FloatArray, least: FloatArray | None) -> None:
        self.limits = np.full(probes, -np.inf, np.float32) if least is None else (least - slack).astype(np.float32)
        self._k, self._slack = k, slack
        nothing = np.zeros(0, np.intp)
        self._parts = [(nothing, nothing, nothing, np.zeros(0, np.float32))]
        self.pending = 0

    def begin(self, reached: FloatArray) -> None:
        """The k-th best approximate cosine of each probe in the first block."""
        self.limits = np.maximum(self.limits, reached - self._slack).astype(np.float32)

    def add(self, number: int, places: NDArray[np.intp], which: NDArray[np.intp], values: FloatArray) -> None:
        """Rows of a block, each with its probe and the approximate cosine."""
        self._parts.append((np.full(len(places), number), places, which, values))
        self.pending += len(places)

    def settle(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Drops whoever is out by now; returns blocks' numbers, places and probes of the others, sorted by probe."""
        number, place, which, value = (np.concatenate(parts) for parts in zip(*self._parts, strict=True))
        order = np.lexsort((-value, which))
        which, value = which[order], value[order]
        first = np.searchsorted(which, np.arange(len(self.limits) + 1))
        enough = np.flatnonzero(np.diff(first) >= self._k)
        reached = value[first[enough] + self._k - 1] - self._slack[enough]
        self.limits[enough] = np.maximum(self.limits[enough], reached)
        still = value >= self.limits[which]
        order, which = order[still], which[still]
        self._parts, self.pending = [(number[order], place[order], which, value[still])], 0
        return number[order], place[order], which


def _closest_of_many(
    blocks: Sequence[tuple[Block, int]], probes: FloatArray, k: int, least: FloatArray | None
) -> list[Found] | None:
    """See `closest`; None where 8 bits leave too many candidates."""
    n, (product, largest) = len(probes), _product()
    coded = [block.codes(count) for block, count in blocks]
    scales = np.maximum(np.abs(probes).max(axis=1), np.float32(1e-12)) / np.float32(largest)
    rounded = np.rint(probes / scales[:, None])
    missed = np.linalg.norm(probes - rounded * scales[:, None], axis=1)
    codes = np.ascontiguousarray(rounded.T.astype(np.int8))
    error = max(each.error for each in coded)
    # A candidate's cosine and the k-th best one may each be off by this.
    found = _Candidates(n, k, (2 * (error + (1 + error) * missed + _ROUNDING)).astype(np.float32), least)
    for number, each in enumerate(coded):
        (products,) = product.run(None, {"a": each.values, "b": codes})
        units = scales * each.scale
        if number == 0 and len(products) > k and least is None:
            found.begin(np.partition(products, len(products) - k, axis=0)[-k] * units)
        limits = np.floor(np.maximum(found.limits / units, -(2.0**30))).astype(np.int32)
        places, which = np.divmod(np.flatnonzero(products >= limits), n)
        if len(places):
            found.add(number, places, which, products[places, which] * units[which])
        fourfold = number & (number + 1) == 0 and number.bit_length() % 2 == 0  # after 1, 4, 16, 64 ... blocks
        if fourfold or found.pending > _PENDING:
            numbers, _, _ = found.settle()
            if len(numbers) > _TOO_MANY:
                return None
    return _compared([block for block, _ in blocks], probes, k, *found.settle())


def _compared(
    blocks: Sequence[Block],
    probes: FloatArray,
    k: int,
    numbers: NDArray[np.intp],
    places: NDArray[np.intp],
    which: NDArray[np.intp],
) -> list[Found]:
    """The k closest of the candidates of each probe (rising), compared in float32."""
    cosines = np.empty(len(which), np.float32)
    order = np.argsort(numbers, kind="stable")
    bounds = np.searchsorted(numbers[order], np.arange(len(blocks) + 1))
    for block, start, end in zip(blocks, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        own = order[start:end]
        cosines[own] = np.einsum("nd,nd->n", block.templates[places[own]], probes[which[own]])
    best = np.lexsort((places, numbers, -cosines, which))
    first = np.searchsorted(which, np.arange(len(probes) + 1)).tolist()
    return [
        [(blocks[numbers[j]], int(places[j]), float(cosines[j])) for j in best[start : min(start + k, end)].tolist()]
        for start, end in pairwise(first)
    ]


@cache
def _product() -> tuple[Session, int]:
    """The product of codes, and the largest code that a probe may have."""
    from lrface.models.sessions import open_session  # a gallery alone needs no onnxruntime

    session = open_session(base64.b64decode(_PRODUCT), None)
    worst = np.full((1, 256), 255, np.uint8), np.full((256, 16), 127, np.int8)
    (products,) = session.run(None, dict(zip("ab", worst, strict=True)))
    # Without VNNI some processors overflow where they add pairs of products, but not with half of the numbers.
    return session, 127 if (products == 127 * 127 * 256).all() else 63
