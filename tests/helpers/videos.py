"""Video files made by a real encoder: pixels that are not square, time stamps at will, rotation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np


def encode_video(
    path: Path,
    images: Iterable[np.ndarray],
    *,
    codec: str = "libx264",
    sample_aspect: Fraction | None = None,
    times_ms: Sequence[int] | None = None,
    rate: int = 10,
) -> Path:
    """Writes uint8 BGR pictures of one size; `times_ms` gives each its own time stamp."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "5"} if codec == "libx264" else {}
        if times_ms is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if sample_aspect is not None:
            stream.sample_aspect_ratio = stream.codec_context.sample_aspect_ratio = sample_aspect
        for number, image in enumerate(images):
            if number == 0:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts = number if times_ms is None else times_ms[number]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
