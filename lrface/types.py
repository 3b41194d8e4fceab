"""The result types. Frozen; arrays are documented with shape, dtype and unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
ImageArray: TypeAlias = NDArray[np.uint8]
FloatArray: TypeAlias = NDArray[np.float32]
Box: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The faces that a detector found in one picture, by falling score.

    Attributes:
        boxes: float32 [n, 4], x1, y1, x2, y2 in pixels of the source picture.
        scores: float32 [n], 0..1, falling.
        landmarks: float32 [n, 5, 2], x, y in pixels of the source picture; image-left eye, image-right eye, nose,
            image-left mouth corner, image-right mouth corner (the order of the ArcFace template).
    """

    boxes: FloatArray
    scores: FloatArray
    landmarks: FloatArray

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.boxes.shape != (n, 4) or self.scores.shape != (n,) or self.landmarks.shape != (n, 5, 2):
            raise ValueError(
                f"boxes {self.boxes.shape}, scores {self.scores.shape}, landmarks {self.landmarks.shape}: "
                "expected [n, 4], [n], [n, 5, 2]"
            )

    @classmethod
    def from_arrays(cls, boxes: Array, scores: Array, landmarks: Array) -> Detections:
        """Casts to float32 and sorts by falling score (stable, so equal scores keep their order)."""
        scores = np.asarray(scores, np.float32).reshape(-1)
        order = np.argsort(-scores, kind="stable")
        boxes = np.asarray(boxes, np.float32).reshape(-1, 4)[order]
        return cls(boxes, scores[order], np.asarray(landmarks, np.float32).reshape(-1, 5, 2)[order])

    @classmethod
    def empty(cls) -> Detections:
        """No face."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: Array | slice | Sequence[int]) -> Detections:
        """The detections under a boolean mask [n], an index array or a slice."""
        where = index if isinstance(index, slice) else np.asarray(index)
        if not isinstance(where, slice) and where.size == 0 and where.dtype != bool:
            where = where.astype(np.intp)
        return Detections(self.boxes[where], self.scores[where], self.landmarks[where])


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One detected and embedded face.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the source picture.
        score: The detector's, 0..1.
        landmarks: float32 [5, 2], pixels of the source picture, ArcFace order.
        native_px: Width, in source pixels, of the canonical 112x112 crop: how large the face really is.
        level: The side in pixels of the network's input that embedded it: 16, 32, ...
        embedding: float32 [dim], of unit length; empty ([0]) where the face is too small to be embedded.
    """

    box: Box
    score: float
    landmarks: FloatArray = field(repr=False)
    native_px: float
    level: int
    embedding: FloatArray = field(repr=False)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An enrolled person and the similarity (cosine, -1..1, higher is closer) of the probe to that person."""

    name: str
    similarity: float


@dataclass(frozen=True, slots=True, eq=False)
class Identification(Face):
    """A face and the decision who it is.

    Attributes:
        name: The person, or None for a stranger (the default).
        similarity: The best candidate's cosine, also when the face stays unknown; None without a candidate.
        threshold: What the best candidate's similarity had to reach; None without a candidate.
        reason: "match", "below threshold", "too small", "gallery is empty".
        candidates: The closest people, best first, at most five.
    """

    name: str | None
    similarity: float | None
    threshold: float | None
    reason: str
    candidates: tuple[Candidate, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything but the embedding (biometric data, large), ready for JSON."""
        return {
            "name": self.name,
            "similarity": _rounded(self.similarity),
            "threshold": _rounded(self.threshold),
            "reason": self.reason,
            "box": [round(float(v), 2) for v in self.box],
            "score": _rounded(self.score),
            "landmarks": [[round(float(x), 2), round(float(y), 2)] for x, y in self.landmarks],
            "native_px": round(float(self.native_px), 2),
            "level": int(self.level),
            "candidates": [{"name": c.name, "similarity": _rounded(c.similarity)} for c in self.candidates],
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 5)
