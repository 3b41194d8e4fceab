"""Short videos for tests."""

from __future__ import annotations

from pathlib import Path

import cv2


def clip(path: Path, portrait: Path, frames: int) -> Path:
    """The portrait, small, moving a little, as a video."""
    image = cv2.resize(cv2.imread(str(portrait)), None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 160))
    for i in range(frames):
        writer.write(image[i % 40 : i % 40 + 160, 10:170])
    writer.release()
    return path
