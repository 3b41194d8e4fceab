"""Distillation losses, one a file. Each takes the student's and the guide's features ``[n, d]``."""

from training.losses.order1 import FirstOrder
from training.losses.relational_kl import RelationalKL

LOSSES = {"order1": FirstOrder, "relational_kl": RelationalKL}

__all__ = ["LOSSES", "FirstOrder", "RelationalKL"]
