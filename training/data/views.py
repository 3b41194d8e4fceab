"""Training views: a face's 112x112 crop, slightly moved, shrunk and often degraded as by a camera."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from training.recipe import Degradation

Image = npt.NDArray[np.uint8]


def moved_view(crop: Image, level: int, how: Degradation, rng: np.random.Generator) -> Image:
    """A canonical crop uint8 ``[112, 112, 3]``, moved, perhaps with camera degradation of ``level``, at full size."""
    size = crop.shape[0]
    matrix = cv2.getRotationMatrix2D(
        (size / 2, size / 2), rng.uniform(-how.rotation, how.rotation), 1 + rng.uniform(-how.scale, how.scale)
    )
    matrix[:, 2] += rng.uniform(-how.shift, how.shift, 2) * size
    if rng.random() < 0.5:
        matrix[0] *= -1
        matrix[0, 2] += size - 1
    warped = cv2.warpAffine(crop, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    view = np.asarray(warped, np.uint8)
    return _camera_degradation(view, level, rng) if rng.random() < how.camera else view


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


def _camera_degradation(view: Image, level: int, rng: np.random.Generator) -> Image:
    side = max(6, round(level * rng.uniform(0.8, 1.7)))
    if side < view.shape[0]:
        filters = (cv2.INTER_AREA, cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
        small = cv2.resize(view, (side, side), interpolation=filters[rng.integers(len(filters))])
    else:
        small = view
    if rng.random() < 0.5:
        small = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.3, 0.9))
    if rng.random() < 0.5:
        noise = rng.normal(0, rng.uniform(1, 8), small.shape)
        small = np.clip(small + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.6:
        encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))])[1]
        small = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(cv2.resize(small, view.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def aligned_view(crop: Image, level: int) -> Image:
    """*Aligned* degradation (METHODS.md): a canonical crop shrunk by area to uint8 ``[level, level, 3]``."""
    if level >= crop.shape[0]:
        return crop
    return np.asarray(cv2.resize(crop, (level, level), interpolation=cv2.INTER_AREA), np.uint8)


def enlarged(view: Image, level: int, interpolation: int = cv2.INTER_CUBIC) -> Image:
    """A small view uint8 ``[r, r, 3]`` enlarged to uint8 ``[level, level, 3]``."""
    return np.asarray(cv2.resize(view, (level, level), interpolation=interpolation), np.uint8)


def to_input(views: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Views uint8 ``[n, r, r, 3]`` BGR to the network's float32 ``[n, 3, r, r]``, RGB, ``(x - 127.5) / 128``."""
    rgb = views[..., ::-1].astype(np.float32)
    rgb -= 127.5
    rgb *= 0.0078125
    return rgb.transpose(0, 3, 1, 2)  # of channels-last memory, which is what the network computes in
