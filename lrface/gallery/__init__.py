"""Galleries: who is enrolled, with which templates, made by which models."""

from __future__ import annotations

from lrface.gallery.contract import Contract
from lrface.gallery.gallery import Gallery
from lrface.gallery.index import Match
from lrface.gallery.names import normalise_name
from lrface.gallery.person import Person
from lrface.gallery.reading import DamagedEntry
from lrface.gallery.records import PhotoTemplate

__all__ = ["Contract", "DamagedEntry", "Gallery", "Match", "Person", "PhotoTemplate", "normalise_name"]
