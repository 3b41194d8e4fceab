"""Boxes, names and similarities drawn into a picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from lrface.redaction import escape
from lrface.types import Identification, ImageArray, Reason

if TYPE_CHECKING:
    import cv2

Colour: TypeAlias = tuple[int, int, int]

KNOWN: Colour = (80, 175, 60)  # BGR
UNKNOWN: Colour = (40, 120, 235)
UNSURE: Colour = (140, 140, 140)  # too small or too poor to be recognised
_WHITE: Colour = (255, 255, 255)
_MIN_TEXT_PX = 12  # smaller letters cannot be read, however small the picture


def colour_of(face: Identification) -> Colour:
    """Green for a match, orange for a stranger, grey for a face too small or too poor to be recognised."""
    if face.name is not None:
        return KNOWN
    return UNKNOWN if len(face.embedding) and face.reason != Reason.TOO_POOR else UNSURE


def label_of(face: Identification) -> str:
    """What is written at a face: its track's number, the name and similarity, `unknown`, `too small` or `too poor`."""
    track = "" if face.track is None else f"{face.track} "
    if face.name is not None:
        name = track + escape(face.name)
        return name if face.similarity is None else f"{name} {face.similarity:.2f}"
    return track + (face.reason if face.reason in (Reason.TOO_SMALL, Reason.TOO_POOR) else "unknown")


def draw(image: ImageArray, faces: Sequence[Identification]) -> ImageArray:
    """Draws each face's box and label into a copy of the picture.

    Args:
        image: uint8 [h, w, 3], BGR.
        faces: Identifications of this very picture.

    Returns:
        uint8 [h, w, 3], BGR.
    """
    import cv2

    canvas = np.ascontiguousarray(image).copy()
    height, width = canvas.shape[:2]
    line = max(1, round(min(height, width) / 360))
    text_px = max(_MIN_TEXT_PX, round(min(height, width) / 36))
    for face in faces:
        x1, y1, x2, y2 = (round(v) for v in face.box)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour_of(face), line, cv2.LINE_AA)
    labels: list[tuple[int, int, int, int]] = []
    for face in faces:  # after all boxes, so that no box crosses a label
        x1, y1, _, y2 = (round(v) for v in face.box)
        text = label_of(face)
        wide, high = text_size(text, text_px)
        left = max(0, min(x1 - line // 2, width - wide))
        tops = [top for top in (y1 - high - line, y2 + line) if 0 <= top <= height - high] or [
            max(0, min(y1, height - high))
        ]
        top = next(
            (top for top in tops if not any(_overlap((left, top, wide, high), other) for other in labels)), tops[0]
        )
        labels.append((left, top, wide, high))
        put_text(canvas, text, (left, top), text_px, back=colour_of(face))
    return canvas


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    """Whether two labels (x, y, width, height) overlap."""
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def text_size(text: str, px: int) -> tuple[int, int]:
    """Width and height in pixels of what `put_text` paints."""
    import cv2

    _, _, width, _ = cv2.getTextSize((10_000, 10_000), text, (0, 0), _font(), px, 500)
    return int(width) + px // 2, round(1.35 * px)


def put_text(image: ImageArray, text: str, corner: tuple[int, int], px: int, back: Colour | None = None) -> None:
    """Draws white text in any script in place, its top-left corner at `corner`, on a bar of colour `back`."""
    import cv2

    x, y = corner
    width, height = text_size(text, px)
    if back is not None:
        cv2.rectangle(image, (x, y), (x + width - 1, y + height - 1), back, cv2.FILLED)
    cv2.putText(image, text, (x + px // 4, y + round(1.02 * px)), _WHITE, _font(), px, 500)


@cache
def _font() -> cv2.FontFace:
    import cv2

    return cv2.FontFace("sans")  # the variable font inside OpenCV 5: Latin, Greek, Cyrillic, CJK, Arabic ...
