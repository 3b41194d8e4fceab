"""The three terms of the detector's loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pair_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes pair by pair: ``[..., 4]``, ``[..., 4]`` to ``[...]``."""
    inner = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    area_a, area_b = ((x[..., 2:] - x[..., :2]).prod(-1) for x in (a, b))
    return inner / (area_a + area_b - inner).clamp(min=1e-6)


def score_divergence(logits: Tensor, targets: Tensor) -> Tensor:
    """Kullback-Leibler divergence of a cell's score from its target (Hinton et al., 2015, T = 1).

    ``y log(y / s) + (1 - y) log((1 - y) / (1 - s))`` with ``s = sigmoid(logits)``; zero where ``s = y``. Its gradient
    is ``s - y``: unlike that of a focal loss it does not vanish before the student ranks faces like the teacher,
    which is what average precision measures.

    Args:
        logits: ``[...]``.
        targets: ``[...]``, y in 0..1.

    Returns:
        ``[...]``, not reduced.
    """
    entropy = -(torch.xlogy(targets, targets) + torch.xlogy(1 - targets, 1 - targets))
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none") - entropy


def eiou_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """Efficient IoU loss (Zhang et al., Neurocomputing 2022).

    ``1 - IoU + d(centre)^2 / diagonal^2 + dw^2 / cw^2 + dh^2 / ch^2``, where cw, ch and the diagonal are those of the
    smallest box around both; 0 for equal boxes.

    Args:
        boxes: ``[n, 4]``, x1, y1, x2, y2.
        targets: likewise.

    Returns:
        ``[n]``.
    """
    around = torch.maximum(boxes[:, 2:], targets[:, 2:]) - torch.minimum(boxes[:, :2], targets[:, :2])
    around = around.clamp(min=1e-6).square()
    centre = (boxes[:, :2] + boxes[:, 2:] - targets[:, :2] - targets[:, 2:]).square().sum(1) / 4
    sides = (boxes[:, 2:] - boxes[:, :2] - targets[:, 2:] + targets[:, :2]).square()
    return 1 - pair_iou(boxes, targets) + centre / around.sum(1) + (sides / around).sum(1)


def landmark_loss(points: Tensor, targets: Tensor, boxes: Tensor, beta: float = 0.02) -> Tensor:
    """Smooth L1 of landmarks in units of the face's size, sqrt(width * height).

    Args:
        points: ``[n, 5, 2]`` pixels.
        targets: likewise.
        boxes: ``[n, 4]``, the faces' true boxes.
        beta: below this error (of the face's size) the loss is quadratic.

    Returns:
        ``[n]``, the mean over the ten coordinates.
    """
    size = (boxes[:, 2:] - boxes[:, :2]).prod(1).clamp(min=1.0).sqrt()[:, None, None]
    return F.smooth_l1_loss(points / size, targets / size, reduction="none", beta=beta).mean((1, 2))
