"""Templates in blocks of bounded size: one more or one less person copies one block at most."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrface.types import FloatArray

CAPACITY = 4096
_FIRST = 64  # rows of a new block; doubled as it fills
_ZERO, _LARGEST = 128, 127  # codes are 1 to 255
_NOWHERE = np.zeros(0, np.intp)


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

    def chosen(self, places: NDArray[np.intp]) -> Entries:
        """Some of the rows."""
        names = [self.names[place] for place in places.tolist()]
        return Entries(
            names,
            self.rows[places],
            self.ids[places],
            self.checksums[places],
            self.lengths[places],
            self.templates[places],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """Templates in 8 bits.

    Attributes:
        values: uint8 [n, dim]; a template is `scale * (values - 128)`, nearly.
        scale: Of all of them.
        error: The length of what they leave out of a template, at most.
    """

    values: NDArray[np.uint8]
    scale: float
    error: float

    @classmethod
    def of(cls, templates: FloatArray) -> Codes:
        """Of templates float32 [n, dim], at least one."""
        scale = float(max(templates.max(), -templates.min())) / _LARGEST
        rounded = np.rint(templates * np.float32(1 / scale))
        missed = rounded * np.float32(scale)
        missed -= templates
        error = float(np.sqrt(np.einsum("nd,nd->n", missed, missed).max()))
        rounded += np.float32(_ZERO)
        return cls(rounded.astype(np.uint8), scale, error)


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
        self.templates = np.zeros((capacity, dim), np.float32)
        self.bounds = (0, -1)  # between which all rows are: most blocks need no closer look for a row
        self._codes: Codes | None = None

    def _arrays(self) -> tuple[NDArray[Any], ...]:
        return self.rows, self.ids, self.checksums, self.lengths, self.templates

    @property
    def capacity(self) -> int:
        """How many rows it can hold."""
        return len(self.rows)

    def copy(self, places: NDArray[np.intp], capacity: int) -> Block:
        """A block with some of the rows."""
        made = Block(capacity, self.templates.shape[1])
        for mine, theirs in zip(self._arrays(), made._arrays(), strict=True):
            theirs[: len(places)] = mine[places]
        made.names[: len(places)] = [self.names[place] for place in places.tolist()]
        made._extend_bounds(made.rows[: len(places)])
        return made

    def places_of(self, wanted: NDArray[np.int64], count: int) -> NDArray[np.intp]:
        """Where among the first rows those are that are wanted (rising)."""
        low, high = self.bounds
        if not len(wanted) or wanted[-1] < low or wanted[0] > high:
            return _NOWHERE
        own = self.rows[:count]
        return np.flatnonzero(own == wanted[0] if len(wanted) == 1 else np.isin(own, wanted))

    def _extend_bounds(self, rows: NDArray[np.int64]) -> None:
        if len(rows):
            low, high = self.bounds if self.bounds[0] <= self.bounds[1] else (rows[0], rows[0])
            self.bounds = min(int(low), int(rows.min())), max(int(high), int(rows.max()))

    def codes(self, count: int) -> Codes:
        """The first templates in 8 bits; kept, since most blocks change seldom."""
        codes = self._codes
        if codes is None or len(codes.values) != count:
            self._codes = codes = Codes.of(self.templates[:count])
        return codes

    def write(self, start: int, entries: Entries, which: slice) -> None:
        """Writes entries from a row on, behind the rows that are there."""
        place = slice(start, start + len(entries.rows[which]))
        self.templates[place], self.lengths[place] = entries.templates[which], entries.lengths[which]
        self.rows[place], self.ids[place] = entries.rows[which], entries.ids[which]
        self.checksums[place], self.names[place] = entries.checksums[which], entries.names[which]
        self._extend_bounds(entries.rows[which])


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
        gone = block.places_of(wanted, count)
        if len(gone):
            places = np.delete(np.arange(count), gone)
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
    made._extend_bounds(second.rows[:more])
    return made


def found_places(
    blocks: Sequence[tuple[Block, int]], rows: Collection[int]
) -> Iterator[tuple[Block, NDArray[np.intp]]]:
    """The blocks and the places in them of some people, by their rows in the table of people."""
    wanted = np.sort(np.fromiter(rows, np.int64, len(rows)))
    for block, count in blocks:
        places = block.places_of(wanted, count)
        if len(places):
            yield block, places
