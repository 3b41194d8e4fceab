"""Faces, their degradation, mixtures, batches."""
