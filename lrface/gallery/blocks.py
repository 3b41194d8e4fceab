"""Templates in blocks of bounded size: scanned as 7-bit integers, compared exactly with 24 bits a number.

A template is stored as `scale * (code + rest / REST)`: 7 bits for the scan (with 8, processors without VNNI overflow
where they add pairs of products), 16 more for the exact comparison. That is 3 bytes a number instead of 4, and
one byte of them is read in a scan.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lrface.models.sessions import open_session
from lrface.types import FloatArray

if TYPE_CHECKING:
    import onnxruntime

CAPACITY = 4096
_FIRST = 64  # rows of a new block; doubled as it fills
_ZERO, _CODE, _PROBE = 64, 63, 127
_REST = 65534.0
# MatMulInteger(a: uint8 [n, d], b: int8 [d, q], zero point of a: 64) -> int32 [n, q], as an ONNX file of 121 bytes. No
# BLAS that numpy or faiss bring multiplies integers; one block took a third of float32's time with VNNI.
_PRODUCT = (
    "CAc6bwobCgFhCgFiCgF6EgFjIg1NYXRNdWxJbnRlZ2VyEgFnKggQAioBQEIBeloVCgFhEhAKDggCEgoKAxIBbgoDEgFkWhUKAWISEAoOCAMSCgoD"
    "EgFkCgMSAXFiFQoBYxIQCg4IBhIKCgMSAW4KAxIBcUIECgAQDQ=="
)


@cache
def _product() -> onnxruntime.InferenceSession:
    return open_session(base64.b64decode(_PRODUCT), None)


@dataclass(frozen=True, slots=True)
class Probes:
    """Probes, ready to be compared with blocks.

    Attributes:
        vectors: float32 [n, dim], of unit length.
        codes: int8 [dim, n].
        scales: float32 [n].
        errors: float32 [n], the length of what the codes leave out.
    """

    vectors: FloatArray
    codes: NDArray[np.int8]
    scales: FloatArray
    errors: FloatArray

    @classmethod
    def of(cls, vectors: FloatArray) -> Probes:
        """Of vectors float32 [n, dim] of unit length."""
        vectors = np.ascontiguousarray(vectors, np.float32)
        scales = np.maximum(np.abs(vectors).max(axis=1), np.float32(1e-12)) / np.float32(_PROBE)
        codes = np.rint(vectors / scales[:, None])
        errors = np.linalg.norm(vectors - codes * scales[:, None], axis=1)
        return cls(vectors, np.ascontiguousarray(codes.T.astype(np.int8)), scales, errors.astype(np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """Rows for blocks: what is known of people, as arrays.

    Attributes:
        names: Of the people.
        rows: int64 [n], in the table of people.
        ids: uint8 [n, 16], UUIDs.
        checksums: uint8 [n, 16], of the table's rows.
        lengths: float32 [n], of the mean of each person's embeddings.
        templates: float32 [n, dim], of unit length.
    """

    names: Sequence[str]
    rows: NDArray[np.int64]
    ids: NDArray[np.uint8]
    checksums: NDArray[np.uint8]
    lengths: FloatArray
    templates: FloatArray


class Block:
    """Up to `CAPACITY` people with as many photos each.

    Rows are only ever added behind those that somebody may be reading; for any other change the block is copied.
    """

    def __init__(self, capacity: int, dim: int) -> None:
        self.names: list[str] = [""] * capacity
        self.rows = np.zeros(capacity, np.int64)
        self.ids = np.zeros((capacity, 16), np.uint8)
        self.checksums = np.zeros((capacity, 16), np.uint8)
        self.lengths = np.zeros(capacity, np.float32)
        self.codes = np.zeros((capacity, dim), np.uint8)
        self.rest = np.zeros((capacity, dim), np.int16)
        self.scales = np.zeros(capacity, np.float32)
        self.errors = np.zeros(capacity, np.float32)

    def _arrays(self) -> tuple[NDArray[Any], ...]:
        numbers = self.rows, self.ids, self.checksums, self.lengths, self.codes, self.rest, self.scales, self.errors
        return tuple(numbers)

    @property
    def capacity(self) -> int:
        """How many rows it can hold."""
        return len(self.rows)

    def copy(self, places: NDArray[np.intp], capacity: int) -> Block:
        """A block with some of the rows."""
        made = Block(capacity, self.codes.shape[1])
        for mine, theirs in zip(self._arrays(), made._arrays(), strict=True):
            theirs[: len(places)] = mine[places]
        made.names[: len(places)] = [self.names[place] for place in places.tolist()]
        return made

    def write(self, start: int, entries: Entries, which: slice) -> None:
        """Writes entries from a row on, behind the rows that are there."""
        templates = entries.templates[which]
        place = slice(start, start + len(templates))
        scales = np.maximum(np.abs(templates).max(axis=1), np.float32(1e-12)) / np.float32(_CODE)
        scaled = templates / scales[:, None]
        codes = np.rint(scaled)
        self.rest[place] = np.rint((scaled - codes) * np.float32(_REST))
        self.codes[place] = codes + np.float32(_ZERO)
        self.scales[place] = scales
        self.errors[place] = np.linalg.norm(scaled - codes, axis=1) * scales
        self.rows[place], self.ids[place] = entries.rows[which], entries.ids[which]
        self.checksums[place], self.lengths[place] = entries.checksums[which], entries.lengths[which]
        self.names[place] = entries.names[which]

    def templates(self, places: NDArray[np.intp] | slice) -> FloatArray:
        """float32 [n, dim], exact to 1e-7 a number."""
        scaled = self.codes[places].astype(np.float32) - np.float32(_ZERO)
        scaled += self.rest[places] * np.float32(1 / _REST)
        return np.asarray(scaled * self.scales[places][:, None], np.float32)

    def similarities(self, count: int, probes: Probes) -> tuple[FloatArray, FloatArray]:
        """Approximate cosines of the first rows with probes.

        Returns:
            float32 [count, probes], and float32 [probes]: by how much each may be off at most.
        """
        (found,) = _product().run(None, {"a": self.codes[:count], "b": probes.codes})
        scales = self.scales[:count, None] * probes.scales[None] if probes.codes.shape[1] == 1 else None
        if scales is None:
            approximate = np.multiply(found, self.scales[:count, None], dtype=np.float32)
            approximate *= probes.scales
        else:
            approximate = np.multiply(found, scales, dtype=np.float32)
        rows = float(self.errors[:count].max())
        return approximate, rows + (1 + rows) * probes.errors + np.float32(1e-5)


def append(blocks: Sequence[tuple[Block, int]], entries: Entries) -> tuple[tuple[Block, int], ...]:
    """Blocks with more rows; the arguments are still what they were for whoever reads them."""
    made = list(blocks)
    done, total = 0, len(entries.rows)
    while done < total:
        block, count = made.pop() if made and made[-1][1] < CAPACITY else (None, 0)
        new = min(total - done, CAPACITY - count)
        if block is None or block.capacity < count + new:
            capacity = min(CAPACITY, max(_FIRST, 2 ** (count + new - 1).bit_length()))
            grown = Block(capacity, entries.templates.shape[1]) if block is None else None
            block = grown or block.copy(np.arange(count), capacity)  # type: ignore[union-attr]
        block.write(count, entries, slice(done, done + new))
        made.append((block, count + new))
        done += new
    return tuple(made)


def take_out(blocks: Sequence[tuple[Block, int]], rows: set[int]) -> tuple[tuple[Block, int], ...]:
    """Blocks without some of the people, by their rows in the table of people."""
    made: list[tuple[Block, int]] = []
    wanted = np.array(sorted(rows), np.int64)
    for block, count in blocks:
        own = block.rows[:count]
        gone = own == wanted[0] if len(wanted) == 1 else np.isin(own, wanted)
        if gone.any():
            places = np.flatnonzero(~gone)
            block, count = block.copy(places, block.capacity), len(places)
            if made and count and made[-1][1] + count <= CAPACITY // 2:  # no memory and no time for empty rows
                before, there = made.pop()
                block, count = _joined(before, there, block, count), there + count
        if count:
            made.append((block, count))
    return tuple(made)


def _joined(first: Block, count: int, second: Block, more: int) -> Block:
    made = first.copy(np.arange(count), CAPACITY)
    for mine, theirs in zip(second._arrays(), made._arrays(), strict=True):
        theirs[count : count + more] = mine[:more]
    made.names[count : count + more] = second.names[:more]
    return made


def found_places(blocks: Sequence[tuple[Block, int]], row: int) -> Iterator[tuple[Block, int]]:
    """The block and the place in it of a row in the table of people; at most one."""
    for block, count in blocks:
        places = np.flatnonzero(block.rows[:count] == row)
        if len(places):
            yield block, int(places[0])
            return
