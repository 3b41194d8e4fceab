"""Faces -> unit vectors: levels, embedders, quality."""
