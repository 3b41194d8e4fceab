"""Several processes on one run: started by ``torchrun``, they find one another through its environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

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
    dist.init_process_group("nccl" if gpu else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()
