"""Training views: a face's 112x112 crop, or another picture, moved, shrunk and often degraded as by a camera."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from lrface.measuring.views import camera_degradation, moved
from training.recipe import Degradation

Image = npt.NDArray[np.uint8]


def moved_view(crop: Image, level: int, how: Degradation, rng: np.random.Generator) -> Image:
    """A canonical crop uint8 ``[112, 112, 3]``, moved, perhaps with camera degradation of ``level``, at full size."""
    view = moved(crop, how.shift, how.scale, how.rotation, rng, how.mirror)
    return camera_degradation(view, level, rng) if rng.random() < how.camera else view


def student_view(crop: Image, level: int, how: Degradation, rng: np.random.Generator) -> Image:
    """A random view uint8 ``[level, level, 3]`` of a canonical crop uint8 ``[112, 112, 3]``; half are mirrored."""
    width = level
    if how.narrowest and rng.random() >= how.sharp:
        width = round(float(np.exp(rng.uniform(np.log(how.narrowest), np.log(level)))))
    view = moved_view(crop, width, how, rng)
    view = np.asarray(cv2.resize(view, (width, width), interpolation=cv2.INTER_AREA), np.uint8)
    if width < level:
        view = enlarged(view, level, cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC)
    if how.light and rng.random() < 0.5:
        gain, offset = 1 + how.light * rng.uniform(-1, 1), 60 * how.light * rng.uniform(-1, 1)
        view = np.clip(view * gain + offset, 0, 255).astype(np.uint8)
    return view


def aligned_view(crop: Image, level: int) -> Image:
    """*Aligned* degradation (METHODS.md): a canonical crop shrunk by area to uint8 ``[level, level, 3]``."""
    if level >= crop.shape[0]:
        return crop
    return np.asarray(cv2.resize(crop, (level, level), interpolation=cv2.INTER_AREA), np.uint8)


def enlarged(view: Image, level: int, interpolation: int = cv2.INTER_CUBIC) -> Image:
    """A small view uint8 ``[r, r, 3]`` enlarged to uint8 ``[level, level, 3]``."""
    return np.asarray(cv2.resize(view, (level, level), interpolation=interpolation), np.uint8)


def view_at(crop: Image, width: int, level: int) -> Image:
    """The aligned view of a canonical crop, ``width`` pixels wide, enlarged to uint8 ``[level, level, 3]``."""
    view = aligned_view(crop, min(width, level))
    return enlarged(view, level) if width < level else view


def to_input(views: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Views uint8 ``[n, r, r, 3]`` BGR to the network's float32 ``[n, 3, r, r]``, RGB, ``(x - 127.5) / 128``."""
    rgb = views[..., ::-1].astype(np.float32)
    rgb -= 127.5
    rgb *= 0.0078125
    return rgb.transpose(0, 3, 1, 2)  # of channels-last memory, which is what the network computes in
