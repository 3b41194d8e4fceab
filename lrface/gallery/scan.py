"""The people closest to probes: an exact search that reads 7 bits a number of all, and 24 of the few that may be it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrface.gallery.blocks import Block, Probes


def closest(blocks: Sequence[tuple[Block, int]], probes: Probes, k: int) -> list[list[tuple[Block, int, float]]]:
    """For each probe the k closest rows of all blocks: block, place in it, cosine; closest first.

    The approximate cosines of a scan are off by a bound that is known (`Block.similarities`). Whoever is among the k
    closest is, by the approximate cosine, not further than twice the bound below the k-th.
    """
    n = probes.codes.shape[1]
    best = np.full((k, n), -np.inf, np.float32)  # the k highest approximate cosines so far, rising
    numbers: list[np.ndarray[tuple[int], np.dtype[np.intp]]] = []
    kept = [(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0, np.float32))]
    firsts = np.cumsum([0, *(count for _, count in blocks)])
    slack = np.zeros(n, np.float32)
    for number, (block, count) in enumerate(blocks):
        found, error = block.similarities(count, probes)
        slack = np.maximum(slack, 2 * error)
        highest = found.max(axis=0)
        better = np.flatnonzero(highest > best[0])
        if len(better):
            columns = found[:, better]
            top = columns if count <= k else np.partition(columns, count - k, axis=0)[count - k :]
            best[:, better] = np.sort(np.concatenate([best[:, better], top]), axis=0)[-k:]
        near = np.flatnonzero(highest >= best[0] - slack)
        if len(near):
            rows, columns_ = np.nonzero(found[:, near] >= best[0, near] - slack[near])
            which = near[columns_]
            kept.append((rows + firsts[number], which, found[rows, which]))
    numbers = [np.concatenate(parts) for parts in zip(*kept, strict=True)]
    rows, which, values = numbers
    still = values >= best[0, which] - slack[which]
    rows, which = rows[still], which[still]
    order = np.argsort(which, kind="stable")
    bounds = np.searchsorted(which[order], np.arange(n + 1))
    return [
        _exact(blocks, firsts, np.sort(rows[order[bounds[i] : bounds[i + 1]]]), probes.vectors[i], k) for i in range(n)
    ]


def _exact(
    blocks: Sequence[tuple[Block, int]],
    firsts: np.ndarray[tuple[int], np.dtype[np.intp]],
    rows: np.ndarray[tuple[int], np.dtype[np.intp]],
    probe: np.ndarray[tuple[int], np.dtype[np.float32]],
    k: int,
) -> list[tuple[Block, int, float]]:
    """The k closest of some rows (rising), compared in float32."""
    found: list[tuple[Block, int, float]] = []
    numbers = np.searchsorted(firsts, rows, side="right") - 1
    for number in np.unique(numbers).tolist():
        block, places = blocks[number][0], rows[numbers == number] - firsts[number]
        cosines = block.templates(places) @ probe
        found += [(block, *pair) for pair in zip(places.tolist(), cosines.tolist(), strict=True)]
    return sorted(found, key=lambda each: -each[2])[:k]
