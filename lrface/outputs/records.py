"""The JSON of lrface: one schema for what is said of faces, whichever command prints it (docs/json.md)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from lrface.redaction import is_visible
from lrface.types import Identification

SCHEMA = 1
"""Raised when a field is removed, renamed, or changes its meaning; new fields may come without."""


def frame_record(
    source: str, index: int, time_s: float | None, faces: Sequence[Identification], *, explain: bool = False
) -> dict[str, Any]:
    """What was seen in one frame or picture.

    Args:
        source: Path of the picture or video, or the stream without its credentials.
        index: Number of the frame, from 0; 0 of a picture.
        time_s: Seconds since the first frame; None of a picture.
        faces: Those that the record holds.
        explain: Whether each face holds its `explanation` in words, too.
    """
    return {
        "schema": SCHEMA,
        "source": source,
        "frame": index,
        "time_s": None if time_s is None else round(time_s, 3),
        "faces": [{**face.to_dict(), **({"explanation": face.explain()} if explain else {})} for face in faces],
    }


def json_line(record: Mapping[str, Any]) -> str:
    r"""The record as one line of JSON.

    Letters of every script stay readable; control, format and invisible characters are written as `\u001b`, which
    every reader of JSON turns into the same text again, so that no terminal that shows the line obeys them. Numbers
    that are not finite, which JSON cannot hold, become null.
    """
    try:
        line = json.dumps(record, ensure_ascii=False, allow_nan=False)
    except ValueError:
        line = json.dumps(_finite(record), ensure_ascii=False, allow_nan=False)
    if line.isascii() and line.isprintable():
        return line
    return "".join(letter if is_visible(letter) else json.dumps(letter)[1:-1] for letter in line)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
