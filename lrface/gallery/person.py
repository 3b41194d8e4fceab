"""Somebody who is enrolled, as the gallery tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lrface.gallery.records import Details


@dataclass(frozen=True, slots=True)
class Person:
    """An enrolled person.

    Attributes:
        id: UUID, never used again, also if somebody of the same name is enrolled after a removal.
        name: Normalised.
        photos: How many photos are enrolled.
        tags: Words, sorted.
        groups: Names of the gallery's groups, sorted.
        metadata: Any JSON object.
        retain_until: The last day on which the person may be searched and kept, ISO 8601; None without.
    """

    id: str
    name: str
    photos: int
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    retain_until: str | None = None

    def __str__(self) -> str:
        return self.name

    @classmethod
    def of(cls, identity: str, name: str, photos: int, details: Details) -> Person:
        """What the store knows of somebody."""
        return cls(identity, name, photos, details.tags, details.groups, details.metadata, details.retain_until)
