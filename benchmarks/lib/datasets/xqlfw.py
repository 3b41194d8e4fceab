"""XQLFW (Knoche, Hoermann, Rigoll, 2021): LFW's protocol with pairs of very different picture quality.

Layout of the release, below ``--root``::

    xqlfw_pairs.txt                               10 300, then as LFW's pairs.txt
    xqlfw_aligned_112/<person>/<person>_0001.jpg  aligned to the ArcFace template by the authors (MTCNN)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.lib.datasets.records import FaceRecord, VerificationTest, existing

NAME = "XQLFW"


def read_xqlfw(root: Path) -> VerificationTest:
    """The 6,000 pairs in 10 folds.

    Raises:
        FileNotFoundError: it is laid out otherwise.
        ValueError: the list of pairs cannot be understood.
    """
    names, same, fold = read_pairs(existing(root / "xqlfw_pairs.txt", NAME))
    images = existing(root / "xqlfw_aligned_112", NAME)
    pairs = [tuple(FaceRecord(images / name, aligned=True) for name in pair) for pair in names]
    return VerificationTest.of_pairs(NAME, [(a, b) for a, b in pairs], same, fold, fars=(1e-2, 1e-3))


def read_pairs(path: Path) -> tuple[list[tuple[str, str]], npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """A list of pairs in LFW's format: the number of folds and of pairs of a kind in each, then one pair a line.

    Returns:
        ``<person>/<person>_0001.jpg`` of both faces of each pair, whether they are one person, and the pair's fold.

    Raises:
        ValueError: a line is no pair, or their number is not what the first line says.
    """
    first, *rest = path.read_text(encoding="utf-8").splitlines() or [""]
    lines = [line.split() for line in rest if line.strip()]
    try:
        folds, of_a_kind = (int(number) for number in first.split())
        sides = [
            ((line[0], int(line[1])), (line[-2] if len(line) == 4 else line[0], int(line[-1])))
            for line in lines
            if len(line) in (3, 4)
        ]
    except ValueError as error:
        raise ValueError(f"{path} is no list of pairs as LFW's: {error}") from error
    if not len(sides) == len(lines) == 2 * folds * of_a_kind:
        raise ValueError(f"{path}: {len(sides)} pairs in {len(lines)} lines, but the first line is {first!r}")
    names = [tuple(f"{person}/{person}_{number:04d}.jpg" for person, number in pair) for pair in sides]
    same = np.array([len(line) == 3 for line in lines])
    return [(a, b) for a, b in names], same, np.arange(len(sides)) // (2 * of_a_kind)
