"""The image pyramid that a detector searches: the picture at falling scales, each level in tiles where it is large.

Detectors of small faces miss one that fills the picture. So a level may be followed by one at a quarter of its scale,
for a sixteenth of the time: that level finds the faces that are large enough in it, and the finer level leaves its
largest faces to it. Most pictures of cameras need no second level: where there is no large face, nothing in the first
level looks like a part of one (the early exit). A level that is too large for one run is cut into tiles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lrface.models.manifest import PyramidSettings

TILE = 2048
"""Side in working pixels above which a level is cut into tiles."""

OVERLAP = 192
"""Working pixels that neighbouring tiles share. A face belongs to the tile in whose core its centre lies; one up to
`LARGEST_IN_TILE` pixels high is complete there, with its surroundings."""

LARGEST_IN_TILE = 144

SHORT_SIDE, LONG_SIDE = 640, 1920
"""Of a picture without `min_face`: its long side is brought between these working pixels, enlarged twice at most."""

SMALLEST = 8.0
"""Height in working pixels of the smallest face that a detector is expected to find."""

MIN_FACE = 4.0
"""Smallest `min_face`, source pixels: pictures are enlarged twice at most, which still finds more faces."""

PANORAMA = 2.5
"""Long side by short side above which a picture counts as a panorama: wider than what one camera or phone takes."""

STEP = 4
"""Each level has the scale of the level before divided by this number."""

SMALLEST_IN_COARSE = 32
"""Height in working pixels from which on a face is taken from a level that is not the first."""

EVERYWHERE = (-math.inf, -math.inf, math.inf, math.inf)
"""The core of a view that is not a tile."""


@dataclass(frozen=True, slots=True)
class View:
    """A pyramid level, or a tile of one.

    Attributes:
        scale: Working pixels per pixel of the picture.
        x, y: Upper left corner, working pixels.
        width, height: Working pixels; the same for all tiles of a level. What lies outside of the picture is black.
        core: x1, y1, x2, y2, working pixels: candidates whose centre lies elsewhere belong to another tile.
        min_height, max_height: Working pixels; candidates outside of this range are left to another level.
    """

    scale: float
    x: int
    y: int
    width: int
    height: int
    core: tuple[float, float, float, float] = EVERYWHERE
    min_height: float = 0.0
    max_height: float = math.inf


def plan_pyramid(
    height: int, width: int, scale: float, tile: int, multiple: int, settings: PyramidSettings | None
) -> list[list[View]]:
    """The levels of a picture's pyramid, from fine to coarse, each as its views.

    Args:
        height: Of the picture, pixels.
        width: Of the picture, pixels.
        scale: Of the first level: working pixels per pixel.
        tile: A level with a longer side is cut into tiles of at most this side.
        multiple: Tiles lie on a grid of so many working pixels, on which the network's own grids lie: a face looks the
            same in a tile as in the whole level.
        settings: None: no coarser level follows, except on a level in tiles, whose tiles cannot hold large faces.
    """
    coarsest, largest = (settings.coarsest_side, settings.largest_face) if settings else (math.inf, math.inf)
    levels: list[list[View]] = []
    min_height = 0.0
    while True:
        size = working_size(height, width, scale)
        tiled = max(size) > tile
        last = not tiled and max(size) <= coarsest
        if tiled:
            levels.append(_tiles(*size, scale, tile, multiple, min_height))
        else:
            max_height = math.inf if last else largest
            levels.append([View(scale, 0, 0, size[1], size[0], min_height=min_height, max_height=max_height)])
        if last:
            return levels
        scale, min_height = scale / STEP, SMALLEST_IN_COARSE


def can_miss_larger(level: list[View], settings: PyramidSettings | None) -> bool:
    """Whether there may be larger faces than a level shows although no candidate looks like a part of one."""
    if len(level) > 1 or settings is None or settings.early_exit is None:
        return True
    return max(level[0].width, level[0].height) > settings.early_exit.side


def working_scale(height: int, width: int, min_face: float | None = None, fixed: int | None = None) -> float:
    """The scale of the first level: working pixels per pixel of the picture.

    With `min_face`, a face of that height gets `SMALLEST` working pixels. Without it, the scale follows from the size
    of the faces that can be in a picture, which goes with its size: the picture keeps its own size, but a long side of
    more than 1,920 px is shrunk to that, one of less than 640 px enlarged to that, twice at most. The height of faces
    in a panorama goes with its short side: it gets the scale of a part of it that is `PANORAMA` times as long as wide,
    unless its short side cannot show a face at all.

    Args:
        height: Of the picture, pixels.
        width: Of the picture, pixels.
        min_face: Height in source pixels of the smallest face to be found, or None.
        fixed: Side of the only input that the graph takes, pixels, or None.
    """
    if min_face is not None:
        return SMALLEST / min_face
    short, long = sorted((height, width))
    part = long if short < SMALLEST else min(long, PANORAMA * short)
    if fixed:
        return fixed / part
    return min(max(1.0, min(SMALLEST / MIN_FACE, SHORT_SIDE / long)), LONG_SIDE / part)


def working_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Height and width of a picture at a scale, pixels."""
    return max(1, round(height * scale)), max(1, round(width * scale))


def _tiles(height: int, width: int, scale: float, tile: int, multiple: int, min_height: float) -> list[View]:
    rows, tall = _tile_starts(height, tile, multiple)
    columns, wide = _tile_starts(width, tile, multiple)
    views = []
    for i, y in enumerate(rows):
        for k, x in enumerate(columns):
            core = (
                (columns[k - 1] + wide + x) / 2 if k else -math.inf,
                (rows[i - 1] + tall + y) / 2 if i else -math.inf,
                (x + wide + columns[k + 1]) / 2 if k + 1 < len(columns) else math.inf,
                (y + tall + rows[i + 1]) / 2 if i + 1 < len(rows) else math.inf,
            )
            views.append(View(scale, x, y, wide, tall, core, min_height, LARGEST_IN_TILE))
    return views


def _tile_starts(length: int, tile: int, multiple: int) -> tuple[list[int], int]:
    """Where the tiles of one direction begin, and how long they are: as few as possible, all of one length."""
    shared = min(OVERLAP, tile // 2)
    count = max(1, math.ceil((length - shared) / (tile - shared)))
    long = min(tile, _round_up((length + (count - 1) * shared) / count, multiple))
    last = max(0, _round_up(length, multiple) - long)
    return [_round_down(last * i / max(1, count - 1), multiple) for i in range(count)], long


def _round_up(value: float, multiple: int) -> int:
    return math.ceil(value / multiple) * multiple


def _round_down(value: float, multiple: int) -> int:
    return math.floor(value / multiple) * multiple
