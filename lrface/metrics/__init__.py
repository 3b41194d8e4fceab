"""Figures of merit in the terms of NIST and ISO/IEC 19795-1, numpy only."""

from lrface.metrics.identification import UNRANKED, cmc, dir_at, dir_curve, fnir_at_fpir, mate_ranks, rank_error
from lrface.metrics.intervals import wilson_interval
from lrface.metrics.retrieval import recall_at
from lrface.metrics.verification import det, fold_accuracies, roc, tar_at_far, tar_interval

__all__ = [
    "UNRANKED",
    "cmc",
    "det",
    "dir_at",
    "dir_curve",
    "fnir_at_fpir",
    "fold_accuracies",
    "mate_ranks",
    "rank_error",
    "recall_at",
    "roc",
    "tar_at_far",
    "tar_interval",
    "wilson_interval",
]
