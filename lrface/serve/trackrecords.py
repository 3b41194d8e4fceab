"""What the store keeps of a track and of an event, and how a track's template becomes bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from lrface.tracks.template import TrackTemplate

UNKNOWN_LABELS = ("ignored",)
"""What somebody may say of an unknown track besides a name."""


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A picture of a track's face with its surroundings.

    Attributes:
        jpeg: The picture file.
        quality: The network's estimate, 0..1; None without one.
        native_px: Width of the face in pixels of the camera's picture.
        at: When, seconds since 1970.
    """

    jpeg: bytes = field(repr=False)
    quality: float | None
    native_px: float
    at: float


@dataclass(frozen=True, slots=True)
class StoredTrack:
    """One track, as it was decided while it was in view.

    Attributes:
        id: In the store; never used again.
        camera: Its name.
        number: Of the track in its run.
        first_at: When it was seen first, seconds since 1970.
        last_at: When it was seen last.
        open: Whether it may be in view still.
        person: UUID; None for unknown.
        name: Of the person; None for unknown.
        similarity: To the likeliest person.
        threshold: What the similarity had to reach.
        reason: Why it has this name, or none.
        unknown: A stranger's identifier.
        quality: Of the best view, 0..1.
        native_px: Width of the widest embedded face.
        views: Effective views behind the decision.
        label: "ignored", or None.
        crops: How many crops are kept.
    """

    id: int
    camera: str
    number: int
    first_at: float
    last_at: float
    open: bool
    person: str | None
    name: str | None
    similarity: float | None
    threshold: float | None
    reason: str | None
    unknown: str | None
    quality: float | None
    native_px: float | None
    views: float | None
    label: str | None
    crops: int = 0


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event.

    Attributes:
        seq: Rising; what came after it has a higher one.
        at: When it was stored, seconds since 1970.
        track: Id of the track in the store; None where it is not kept (any more).
        body: The record of docs/json.md.
    """

    seq: int
    at: float
    track: int | None
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoredAction:
    """Something that somebody did with tracks, and that can be undone.

    Attributes:
        id: In the store; rising.
        at: When, seconds since 1970.
        actor: Who.
        kind: "named", "not this person" or "labelled".
        body: What is needed to undo it.
        undone: Whether it was.
    """

    id: int
    at: float
    actor: str
    kind: str
    body: dict[str, Any]
    undone: bool


def pack_template(template: TrackTemplate) -> bytes:
    """A template as bytes."""
    return msgspec.msgpack.encode(
        {
            "vector": np.asarray(template.vector, "<f4").tobytes(),
            "native_px": template.native_px,
            "network": template.network,
            "quality": template.quality,
            "shares": np.asarray(template.shares, "<f4").tobytes(),
            "similarities": np.asarray(template.similarities, "<f4").tobytes(),
        }
    )


def unpack_template(data: bytes) -> TrackTemplate:
    """What `pack_template` wrote."""
    found = msgspec.msgpack.decode(data)
    shares = np.frombuffer(found["shares"], "<f4").astype(np.float64)
    return TrackTemplate(
        np.frombuffer(found["vector"], "<f4").astype(np.float32),
        float(found["native_px"]),
        found["network"],
        found["quality"],
        shares,
        np.frombuffer(found["similarities"], "<f4").astype(np.float64).reshape(len(shares), len(shares)),
    )
