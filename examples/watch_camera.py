"""Calls your own code when somebody known is seen: python examples/watch_camera.py staff.gallery rtsp://camera/live.

The source may be a camera's number, a stream's URL or a video file. Cameras that die are connected again.
"""

from __future__ import annotations

import sys

import lrface

SURE_AFTER = 3  # frames in a row, so that one bad frame opens no door


def welcome(name: str, time_s: float) -> None:
    """Put your own action here."""
    print(f"{time_s:8.2f} s  {name}", flush=True)


gallery, source = sys.argv[1:3]
streak: dict[str, int] = {}
with lrface.FaceMatcher.open(gallery) as matcher, lrface.VideoSource(source) as video:
    for frame in video:
        seen = {face.name for face in matcher.identify(frame.image) if face.name is not None}
        streak = {name: streak.get(name, 0) + 1 for name in seen}
        for name, frames in streak.items():
            if frames == SURE_AFTER:
                welcome(name, frame.time_s)
