"""An exported file of a student, with its measurements."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Variant:
    """One exported file of a student, with its measurements.

    Attributes:
        path: the ONNX file.
        precision: "float32", "int8" or "weights in float16".
        figures: of ``training.embedder.validate.score``, by the width of the faces in pixels.
        milliseconds: a face, one thread, batches of 32.
    """

    path: Path
    precision: str
    figures: dict[int, dict[str, float]]
    milliseconds: float
