"""Gathers the whole batch for the losses when each process holds a part of it."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def gather(x: Tensor) -> Tensor:
    """Concatenate ``x`` over the ranks, in their order; ``x`` itself where ``torch.distributed`` is not initialised.

    For a loss that every rank computes on the whole batch. A rank's own ``x`` gets the gradient of the loss **times the
    number of ranks**; the other ranks' parts get none here, as those ranks compute it themselves.
    ``DistributedDataParallel`` then takes the mean over the ranks, so a network's parameters get exactly the gradient
    that one process gets on the whole batch. Parameters that are applied after the gathering (a loss's own heads) have
    that gradient on every rank before the mean, and after it.

    Args:
        x: ``[n, ...]``, any dtype, of one shape on all ranks.

    Returns:
        ``[ranks * n, ...]``.
    """
    if not dist.is_available() or not dist.is_initialized():
        return x
    gathered: Tensor = _Gather.apply(x)
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.chunk(dist.get_world_size())[dist.get_rank()] * dist.get_world_size()
