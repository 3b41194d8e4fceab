"""Several processes on one run, started by ``torchrun``, which tells them in its environment how to connect."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist


@contextmanager
def join_processes() -> Iterator[None]:
    """Join the other processes where ``torchrun`` started this one (NCCL on GPUs, else gloo); alone, do nothing."""
    if "RANK" not in os.environ:
        yield
        return
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # The others wait while rank 0 computes embeddings and mixtures, which may take hours.
    dist.init_process_group("nccl" if gpu else "gloo", timeout=timedelta(days=2))
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def rank_zero_first() -> Iterator[None]:
    """Run the body on rank 0 first, then on the other ranks, which find its files; without processes, just run it."""
    together = dist.is_initialized()
    if together and dist.get_rank() > 0:
        dist.barrier()
    yield
    if together and dist.get_rank() == 0:
        dist.barrier()
