"""From raw maps to boxes and landmarks, and back: used by training and validation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from training.detector.network import STRIDES, VALUES

LARGEST = 6.0  # logarithm of a box's side in strides, at most, so that random weights predict finite boxes


def cell_centres(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Every cell of every grid, finest first, row by row.

    Args:
        height: of the picture in pixels, a multiple of 32.
        width: likewise.

    Returns:
        float32 ``[N, 2]`` centres (x, y) in pixels, float32 ``[N]`` strides.
    """
    centres, strides = [], []
    for stride in STRIDES:
        ys = (torch.arange(height // stride, dtype=torch.float32) + 0.5) * stride
        xs = (torch.arange(width // stride, dtype=torch.float32) + 0.5) * stride
        grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1).reshape(-1, 2)
        centres.append(grid)
        strides.append(torch.full_like(grid[:, 0], float(stride)))
    return torch.cat(centres), torch.cat(strides)


def flatten(maps: Sequence[Tensor]) -> Tensor:
    """``[n, 15, h, w]`` of each stride to ``[n, N, 15]``, in the order of ``cell_centres``."""
    return torch.cat([m.permute(0, 2, 3, 1).reshape(m.shape[0], -1, VALUES) for m in maps], dim=1)


def decode(values: Tensor, centres: Tensor, strides: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cell values to pixels.

    A box's centre is the cell's plus (dx, dy) strides, its sides are exp(lw), exp(lh) strides; a landmark is the box's
    centre plus (dx, dy) of its sides, so that the same face has the same values at any size and place.

    Args:
        values: ``[..., 15]``.
        centres: ``[..., 2]`` pixels.
        strides: ``[...]`` pixels.

    Returns:
        boxes ``[..., 4]`` (x1, y1, x2, y2), score logits ``[...]``, landmarks ``[..., 5, 2]``.
    """
    step = strides.unsqueeze(-1)
    centre = centres + values[..., 1:3] * step
    half = values[..., 3:5].clamp(max=LARGEST).exp() * step * 0.5
    points = centre.unsqueeze(-2) + values[..., 5:].reshape(*values.shape[:-1], 5, 2) * (2 * half).unsqueeze(-2)
    return torch.cat([centre - half, centre + half], dim=-1), values[..., 0], points


def encode(boxes: Tensor, landmarks: Tensor, centres: Tensor, strides: Tensor) -> Tensor:
    """The inverse of ``decode`` without the score: ``[..., 14]``."""
    step = strides.unsqueeze(-1)
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    sides = boxes[..., 2:] - boxes[..., :2]
    points = (landmarks - middle.unsqueeze(-2)) / sides.unsqueeze(-2)
    return torch.cat([(middle - centres) / step, (sides / step).log(), points.flatten(-2)], dim=-1)
