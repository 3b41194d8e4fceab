"""Galleries: who is enrolled, with which templates, made by which models."""

from __future__ import annotations

from lrface.gallery.contract import Contract
from lrface.gallery.index import Match
from lrface.gallery.local import Gallery, Person, PhotoTemplates
from lrface.gallery.names import normalise_name

__all__ = ["Contract", "Gallery", "Match", "Person", "PhotoTemplates", "normalise_name"]
