"""The result types. Frozen; arrays are documented with shape, dtype and unit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from lrface.errors import DetectionError

Array: TypeAlias = NDArray[Any]
ImageArray: TypeAlias = NDArray[np.uint8]
FloatArray: TypeAlias = NDArray[np.float32]
Box: TypeAlias = tuple[float, float, float, float]

RAREST = 1e-7
"""No rarer false match is claimed: impostor scores were measured down to about 1e-5, the rest is extrapolated."""


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One face that a detector found: an element of `Detections`.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the source picture.
        score: 0..1.
        landmarks: float32 [5, 2], pixels of the source picture, ArcFace order.
        landmark_error: How far off the landmarks are expected to align the face, in eye distances (nan where they form
            no face); None from a detector that does not say.
    """

    box: Box
    score: float
    landmarks: FloatArray = field(repr=False)
    landmark_error: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The faces that a detector found in one picture, by falling score: a sequence of `Detection`.

    Attributes:
        boxes: float32 [n, 4], x1, y1, x2, y2 in pixels of the source picture; finite.
        scores: float32 [n], 0..1, falling.
        landmarks: float32 [n, 5, 2], x, y in pixels of the source picture, finite; image-left eye, image-right eye,
            nose, image-left mouth corner, image-right mouth corner (the order of the ArcFace template).
        landmark_errors: float32 [n], how far off the landmarks are expected to align each face, in eye distances (nan
            where they form no face); None from a detector that does not say.

    Raises:
        DetectionError: The arrays have other shapes, or boxes, scores or landmarks are not finite.
    """

    boxes: FloatArray
    scores: FloatArray
    landmarks: FloatArray
    landmark_errors: FloatArray | None = None

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.boxes.shape != (n, 4) or self.scores.shape != (n,) or self.landmarks.shape != (n, 5, 2):
            raise DetectionError(
                f"boxes {self.boxes.shape}, scores {self.scores.shape}, landmarks {self.landmarks.shape}: "
                "expected [n, 4], [n], [n, 5, 2]"
            )
        if self.landmark_errors is not None and self.landmark_errors.shape != (n,):
            raise DetectionError(f"landmark_errors {self.landmark_errors.shape}: expected [n], or None")
        for name, values in (("boxes", self.boxes), ("scores", self.scores), ("landmarks", self.landmarks)):
            if not np.isfinite(values).all():
                raise DetectionError(f"the detector's {name} are not all finite: use another detector or model")

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

    def __iter__(self) -> Iterator[Detection]:
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, index: int | np.integer[Any]) -> Detection: ...

    @overload
    def __getitem__(self, index: slice | Array | Sequence[int]) -> Detections: ...

    def __getitem__(self, index: int | np.integer[Any] | slice | Array | Sequence[int]) -> Detection | Detections:
        """One detection for an integer; detections for a slice, a boolean mask [n] or an array of indices."""
        if isinstance(index, (int, np.integer)):
            return self._one(int(index))
        where = index if isinstance(index, slice) else np.asarray(index)
        if not isinstance(where, slice) and where.size == 0 and where.dtype != bool:
            where = where.astype(np.intp)
        errors = None if self.landmark_errors is None else self.landmark_errors[where]
        return Detections(self.boxes[where], self.scores[where], self.landmarks[where], errors)

    def _one(self, row: int) -> Detection:
        x1, y1, x2, y2 = self.boxes[row].tolist()
        error = None if self.landmark_errors is None else float(self.landmark_errors[row])
        return Detection((x1, y1, x2, y2), float(self.scores[row]), self.landmarks[row], error)


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
        quality: The networks' own estimate, 0..1, of how well this face is seen: the cosine to the teacher's embedding
            that the embedder expects, less where the landmarks are expected to be far off
            (`embedding.quality.alignment_adjusted_quality`); None where the model gives none, or the face was not
            embedded.
        network: Name of the network that embedded it; "" for a face that was not embedded.
    """

    box: Box
    score: float
    landmarks: FloatArray = field(repr=False)
    native_px: float
    level: int
    embedding: FloatArray = field(repr=False)
    quality: float | None = field(default=None, kw_only=True)
    network: str = field(default="", kw_only=True)


class Reason(StrEnum):
    """Why a face has a name, or none; each is equal to its text."""

    MATCH = "match"
    BELOW_THRESHOLD = "below threshold"
    TOO_POOR = "too poor"
    """Below the threshold, and of too little quality to say more."""
    TOO_SMALL = "too small"
    NO_FACE = "landmarks form no face"
    EMPTY_GALLERY = "gallery is empty"
    TIE = "two people are equally likely"
    """Of a track."""
    TAKEN = "another track has this name"
    """Of a track: nobody is in view twice, and the other track is the likelier one."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An enrolled person, compared with a face.

    Attributes:
        name: The person.
        similarity: Cosine, -1..1, higher is closer.
        false_match_rate: The share of strangers who look at least so similar to a person enrolled with as many photos.
        person: The person's UUID, `Person.id`; "" from a gallery that gives none.
    """

    name: str
    similarity: float
    false_match_rate: float
    person: str = ""


@dataclass(frozen=True, slots=True)
class ThresholdBasis:
    """Where a threshold came from; `str` says it in words.

    Attributes:
        fpir: Share of strangers that may be named.
        people: Enrolled.
        low: Native width in pixels from which on the faces were measured.
        high: Up to which, exclusive.
        network: That embedded the face.
        photos: Behind the template.
        cohort: People with whom it was measured.
        shift: By how much the enrolled people's own likeness moved it.
    """

    fpir: float
    people: int
    low: float
    high: float
    network: str
    photos: int
    cohort: int
    shift: float

    def __str__(self) -> str:
        own = f", moved by {self.shift:+.3f} by the enrolled people's own likeness" if self.shift else ""
        widths = f"{self.low:g} px or more" if math.isinf(self.high) else f"{self.low:g} to {self.high:g} px"
        return (
            f"at most {self.fpir:g} of strangers named among {self.people} people, faces of {widths} by "
            f"{self.network}, {self.photos} photo{'s' * (self.photos != 1)}, by a cohort of {self.cohort} people{own}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Identification(Face):
    """A face and the decision who it is.

    Attributes:
        name: The person, or None for a stranger (the default).
        similarity: The best candidate's cosine, also when the face stays unknown; None without a candidate.
        threshold: What the best candidate's similarity had to reach; None without a candidate.
        reason: Why it has this name, or none.
        candidates: The people who look most like it, best first, at most five.
        basis: Where the threshold came from, in words by `str`; empty without a candidate.
        gallery_size: Enrolled people.
        person: The named person's UUID, `Person.id`, never used again for somebody else; None where nobody is named.
        track: Number of the face's track in its run, whose decision this is; None where no track is followed. The
            embedding, quality, network and level are then those of the track.
        views: Effective views behind a track's decision; None without a track.
    """

    name: str | None
    similarity: float | None
    threshold: float | None
    reason: Reason
    candidates: tuple[Candidate, ...] = ()
    basis: ThresholdBasis | str = ""
    gallery_size: int = 0
    person: str | None = None
    track: int | None = None
    views: float | None = None

    @property
    def false_match_rate(self) -> float | None:
        """The share of strangers who look at least this similar to the best candidate; None without one."""
        return self.candidates[0].false_match_rate if self.candidates else None

    def explain(self) -> str:
        """The decision in a few sentences: why this name or none, on what evidence, and who else was close."""
        quality = "" if self.quality is None else f", quality {self.quality:.2f}"
        face = f"The face is {self.native_px:.0f} px wide, seen at level {self.level}{quality}."
        if self.views is not None:
            face += f" The decision is that of track {self.track}, from {self.views:.1f} effective views."
        if not self.candidates or self.similarity is None or self.threshold is None:
            return f"Unknown: {self.reason}. {face}"
        best, *others = self.candidates
        if self.name is not None:
            first = f"{self.name}: similarity {self.similarity:.2f} reaches {self.threshold:.2f}."
        elif self.reason == Reason.TOO_POOR:
            first = (
                f"Unknown: too poor to decide. It looks most like {best.name}, but similarity {self.similarity:.2f} is "
                f"below {self.threshold:.2f}."
            )
        else:
            first = (
                f"Unknown: looks most like {best.name}, but similarity {self.similarity:.2f} is below "
                f"{self.threshold:.2f}."
            )
        odds = f"{_capital(one_in(best.false_match_rate))} looks this similar to {best.name}"
        if self.gallery_size > 1:
            anybody = -math.expm1(self.gallery_size * math.log1p(-min(best.false_match_rate, 1 - 1e-9)))
            odds += f", {one_in(anybody)} to anybody of the {self.gallery_size} enrolled"
        runners = ", ".join(f"{c.name} {c.similarity:.2f} ({one_in(c.false_match_rate)})" for c in others)
        after = f" Next: {runners}." if others else ""
        return f"{first} {odds}. The threshold: {self.basis}. {face}{after}"

    def to_dict(self) -> dict[str, Any]:
        """The fields of docs/json.md, ready for JSON: all but the embedding (biometric data, large) and prose."""
        return {
            "name": self.name,
            "person": self.person,
            "similarity": _rounded(self.similarity),
            "false_match_rate": _digits(self.false_match_rate),
            "threshold": _rounded(self.threshold),
            "reason": self.reason,
            "box": [round(float(v), 2) for v in self.box],
            "score": _rounded(self.score),
            "landmarks": [[round(float(x), 2), round(float(y), 2)] for x, y in self.landmarks],
            "native_px": round(float(self.native_px), 2),
            "network": self.network,
            "level": int(self.level),
            "quality": _rounded(self.quality),
            **({} if self.track is None else {"track": self.track}),
            "candidates": [
                {
                    "name": c.name,
                    "person": c.person,
                    "similarity": _rounded(c.similarity),
                    "false_match_rate": _digits(c.false_match_rate),
                }
                for c in self.candidates
            ],
        }


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """Whether two pictures show the same person; true in an `if` where they do.

    Attributes:
        same_person: Whether the similarity reaches the threshold.
        similarity: Cosine of the two faces, -1..1, higher is closer.
        threshold: What it had to reach.
        false_match_rate: The share of pairs of two different people that look at least so similar.
        faces: Of the first and the second picture.
        max_false_match_rate: The rate that the threshold was asked for.
    """

    same_person: bool
    similarity: float
    threshold: float
    false_match_rate: float
    faces: tuple[Face, Face]
    max_false_match_rate: float

    def __bool__(self) -> bool:
        return self.same_person

    def explain(self) -> str:
        """The decision in a few sentences."""
        said, reaches = ("The same person", "reaches") if self.same_person else ("Not the same person", "is below")
        widths = " and ".join(f"{face.native_px:.0f}" for face in self.faces)
        return (
            f"{said}: similarity {self.similarity:.2f} {reaches} {self.threshold:.2f}. "
            f"{_capital(one_in(self.false_match_rate))} looks this similar; the threshold is for "
            f"{one_in(self.max_false_match_rate)}. The faces are {widths} px wide."
        )


def one_in(share: float) -> str:
    """A share of strangers in words: "one stranger in 12,000"; never rarer than `RAREST`."""
    if share >= 0.5:
        return "every second stranger or more"
    if share <= RAREST:
        return f"fewer than one stranger in {1 / RAREST:,.0f}"
    count = float(f"{1 / share:.2g}")
    return f"one stranger in {count:,.{0 if count.is_integer() else 1}f}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 5)


def _digits(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")
