"""Figures of merit in the field's terms, numpy only."""

from lrface.metrics.verification import fold_accuracies, roc, tar_at_far

__all__ = ["fold_accuracies", "roc", "tar_at_far"]
