"""What of a picture a detector looks at, and how large: the whole, quarters of it for large faces, tiles of a huge one.

A look is the picture at one scale. Detectors of small faces miss one that fills the picture, so a look may be followed
by one at a quarter of its scale, for a sixteenth of the time, from which faces are taken that are large in it too, and
to which the largest are left. Most pictures of cameras need no second look: the first sees next to nothing of a large
face where there is none. A look that is too large for one run is cut into tiles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

TILE = 2048
"""Side in working pixels above which a look is cut into tiles."""

OVERLAP = 192
"""Working pixels that neighbouring tiles share. A face belongs to the tile in whose part its middle lies; one up to
`TALLEST_IN_TILE` pixels high is whole there and has its surroundings."""

TALLEST_IN_TILE = 144

QUARTER = 4
LEAST_IN_QUARTER = 32
"""Height in pixels of a quarter's view from which on a face is taken from there."""

TALLEST = 224
"""Height in working pixels from which on a face is left to the next look: of one that outgrows the network's sight this
one gives a part, which would be a second face beside the whole one of the next."""

HINT = 0.02
"""Score of a candidate that may be a larger face, or a part of it ..."""

HINTED = 96
"""... and its height in working pixels. In none of the training's 2,589 scenes this misses a true face that only the
second look finds, and in 44 of 100 it saves that look (benchmarks/looks.py)."""

HINTING = 1024
"""Long side of a look in working pixels up to which it has a hint of whatever is larger: of a face of 1,500 px the
network sees skin."""

WHOLE = 192
"""Pixels: a face that fills a look with this long side is still found, so that none follows."""

EVERYWHERE = (-math.inf, -math.inf, math.inf, math.inf)
"""The part of a view that is no tile."""


@dataclass(frozen=True, slots=True)
class View:
    """A look, or a tile of one.

    Attributes:
        scale: Working pixels per pixel of the picture.
        x, y: Upper left corner, working pixels.
        width, height: Working pixels; of tiles all the same, what lies outside of the picture is black.
        part: x1, y1, x2, y2, working pixels: candidates whose middle lies elsewhere belong to another tile.
        least, most: Candidates of another height (working pixels) are left to another view.
    """

    scale: float
    x: int
    y: int
    width: int
    height: int
    part: tuple[float, float, float, float] = EVERYWHERE
    least: float = 0.0
    most: float = math.inf


def plan_looks(height: int, width: int, scale: float, tile: int, multiple: int, quarters: bool) -> list[list[View]]:
    """The looks at a picture that may be taken, each as its views.

    Args:
        height: Of the picture, pixels.
        width: Likewise.
        scale: Of the first look: working pixels per pixel.
        tile: A look with a longer side is cut into tiles of at most this side.
        multiple: Tiles lie on a grid of so many working pixels, on which the network's own grids lie: a face looks the
            same in a tile as in the whole.
        quarters: Whether to look at a quarter, a sixteenth, ... too. A look in tiles always does.
    """
    looks: list[list[View]] = []
    least = 0.0
    while True:
        size = working_size(height, width, scale)
        tiled = max(size) > tile
        last = not (tiled or quarters) or max(size) <= WHOLE
        if tiled:
            looks.append(_tiles(*size, scale, tile, multiple, least))
        else:
            looks.append([View(scale, 0, 0, size[1], size[0], least=least, most=math.inf if last else TALLEST)])
        if last:
            return looks
        scale, least = scale / QUARTER, LEAST_IN_QUARTER


def hides_larger(look: list[View]) -> bool:
    """Whether there may be larger faces than a look shows, though it has no hint of any."""
    return len(look) > 1 or max(look[0].width, look[0].height) > HINTING


def working_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Height and width of a picture at a scale, pixels."""
    return max(1, round(height * scale)), max(1, round(width * scale))


def _tiles(height: int, width: int, scale: float, tile: int, multiple: int, least: float) -> list[View]:
    rows, tall = _starts(height, tile, multiple)
    columns, wide = _starts(width, tile, multiple)
    views = []
    for i, y in enumerate(rows):
        for k, x in enumerate(columns):
            part = (
                (columns[k - 1] + wide + x) / 2 if k else -math.inf,
                (rows[i - 1] + tall + y) / 2 if i else -math.inf,
                (x + wide + columns[k + 1]) / 2 if k + 1 < len(columns) else math.inf,
                (y + tall + rows[i + 1]) / 2 if i + 1 < len(rows) else math.inf,
            )
            views.append(View(scale, x, y, wide, tall, part, least, TALLEST_IN_TILE))
    return views


def _starts(length: int, tile: int, multiple: int) -> tuple[list[int], int]:
    """Where the tiles of one direction begin, and how long they are: as few as serve, of equal length."""
    shared = min(OVERLAP, tile // 2)
    count = max(1, math.ceil((length - shared) / (tile - shared)))
    long = min(tile, _up((length + (count - 1) * shared) / count, multiple))
    last = max(0, _up(length, multiple) - long)
    return [_down(last * i / max(1, count - 1), multiple) for i in range(count)], long


def _up(value: float, multiple: int) -> int:
    return math.ceil(value / multiple) * multiple


def _down(value: float, multiple: int) -> int:
    return math.floor(value / multiple) * multiple
