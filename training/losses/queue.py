"""Features of past batches, for more negatives than a batch holds."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FeatureQueue(nn.Module):
    """The last samples' features of student and guide, oldest overwritten first. Buffers: checkpoints resume it.

    Args:
        size: samples, 0 for none.
        student_dim, guide_dim: lengths of the features.

    Raises:
        ValueError: size is negative.
    """

    student: Tensor
    guide: Tensor
    labels: Tensor
    pushed: Tensor

    def __init__(self, size: int, student_dim: int, guide_dim: int) -> None:
        super().__init__()
        if size < 0:
            raise ValueError(f"queue {size}: give 0 for none, or a number of samples")
        self.register_buffer("student", torch.zeros(size, student_dim))
        self.register_buffer("guide", torch.zeros(size, guide_dim))
        self.register_buffer("labels", torch.full((size,), -1))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))

    def appended(self, student: Tensor, guide: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A batch with the queue's samples appended: copies, so that a later ``push`` changes no gradient.

        Args:
            student: ``[n, d]``.
            guide: ``[n, e]``.
            labels: int64 ``[n]``.

        Returns:
            The three, n + (up to) size long.
        """
        filled = min(int(self.pushed), len(self.labels))
        return (
            torch.cat([student, self.student[:filled]]),
            torch.cat([guide, self.guide[:filled]]),
            torch.cat([labels, self.labels[:filled]]),
        )

    @torch.no_grad()
    def push(self, student: Tensor, guide: Tensor, labels: Tensor) -> None:
        """Add a batch to the queue; of a batch larger than the queue only its end."""
        size = len(self.labels)
        if not size:
            return
        kept = min(size, len(labels))
        start = int(self.pushed) + len(labels) - kept
        places = torch.arange(start, start + kept, device=labels.device) % size
        self.student[places] = student[-kept:]
        self.guide[places] = guide[-kept:]
        self.labels[places] = labels[-kept:]
        self.pushed += len(labels)
