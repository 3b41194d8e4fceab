"""Which cells learn which face: SimOTA (Ge et al., YOLOX, 2021) on a fixed set of candidates for each face.

A face's candidates are the 3x3 cells around its centre on each of the three grids. Among these 27 the k of least cost
(score entropy and localisation) learn it, k being the sum of its best ten overlaps: many for a large face that is
found well, at least one for the smallest. A cell that several faces want goes to the one of least cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training.detector.losses import pair_iou
from training.detector.network import STRIDES

IOU_WEIGHT = 3.0
TOP = 10
IGNORED_SIDE = 12.0  # px; an ignored region is at least so large, and a quarter larger than its box


@dataclass(frozen=True)
class Assignment:
    """Cells that learn a face.

    Attributes:
        image: int64 ``[p]``, index in the batch.
        cell: int64 ``[p]``, index in the order of ``cell_centres``.
        face: int64 ``[p]``, index into the batch's faces.
    """

    image: Tensor
    cell: Tensor
    face: Tensor

    def __len__(self) -> int:
        return len(self.cell)


def candidates(boxes: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The 27 cells around each face's centre.

    Args:
        boxes: float32 ``[t, 4]`` pixels.
        height: of the picture, pixels.
        width: likewise.

    Returns:
        int64 ``[t, 27]`` cell indices and bool ``[t, 27]``, false for those outside the picture.
    """
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    around = torch.tensor([(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)])
    cells, valid, first = [], [], 0
    for stride in STRIDES:
        rows, columns = height // stride, width // stride
        at = (middle / stride).floor().long()[:, None] + around
        inside = (at[..., 0] >= 0) & (at[..., 0] < columns) & (at[..., 1] >= 0) & (at[..., 1] < rows)
        cells.append((first + at[..., 1] * columns + at[..., 0]).where(inside, torch.tensor(0)))
        valid.append(inside)
        first += rows * columns
    return torch.cat(cells, 1), torch.cat(valid, 1)


@torch.no_grad()
def assign(boxes: Tensor, logits: Tensor, faces: Tensor, image: Tensor, height: int, width: int) -> Assignment:
    """Assign cells to faces.

    Args:
        boxes: predicted, ``[n, N, 4]`` pixels.
        logits: predicted, ``[n, N]``.
        faces: true boxes of the whole batch, ``[t, 4]``.
        image: int64 ``[t]``, the picture of each face.
        height: of the pictures, pixels.
        width: likewise.
    """
    cells, valid = candidates(faces, height, width)
    overlap = pair_iou(boxes[image[:, None], cells], faces[:, None]).where(valid, torch.tensor(0.0))
    cost = F.softplus(-logits[image[:, None], cells]) + IOU_WEIGHT * -(overlap + 1e-8).log()
    cost = cost.where(valid, torch.tensor(torch.inf))
    wanted = overlap.topk(TOP, dim=1).values.sum(1).long().clamp(min=1)
    rank = cost.argsort(dim=1).argsort(dim=1)
    face, slot = torch.nonzero((rank < wanted[:, None]) & valid, as_tuple=True)
    cell, price = cells[face, slot], cost[face, slot]
    key = (image[face] * boxes.shape[1] + cell).numpy()
    order = np.lexsort((price.numpy(), key))
    cheapest = order[np.unique(key[order], return_index=True)[1]]
    pick = torch.from_numpy(cheapest)
    return Assignment(image[face[pick]], cell[pick], face[pick])


def ignored_cells(centres: Tensor, regions: Tensor, image: Tensor, count: int) -> Tensor:
    """Cells whose centre lies in an ignored region.

    Args:
        centres: ``[N, 2]`` pixels.
        regions: ``[r, 4]`` pixels.
        image: int64 ``[r]``.
        count: pictures in the batch.

    Returns:
        bool ``[count, N]``.
    """
    mask = torch.zeros(count, len(centres), dtype=torch.bool)
    middle = (regions[:, :2] + regions[:, 2:]) / 2
    half = ((regions[:, 2:] - regions[:, :2]) * 1.25).clamp(min=IGNORED_SIDE) / 2
    inside = ((centres[None] - middle[:, None]).abs() <= half[:, None]).all(-1)
    region, cell = torch.nonzero(inside, as_tuple=True)
    mask[image[region], cell] = True
    return mask
