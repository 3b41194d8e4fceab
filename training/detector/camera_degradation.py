"""Camera degradation: what a cheap camera does to a picture."""

from __future__ import annotations

import cv2
import numpy as np
from cv2.typing import MatLike

from training.detector.scenes import Image


def degrade(image: Image, rng: np.random.Generator) -> Image:
    """Low resolution, blur, value, colour, noise and compression, each with some probability."""
    work: MatLike = image
    if rng.random() < 0.35:  # fewer pixels, often of another aspect ratio, as analogue cameras store them
        across, down = rng.uniform(0.45, 1.0, 2) if rng.random() < 0.6 else [rng.uniform(0.45, 0.9)] * 2
        small = cv2.resize(work, None, fx=across, fy=down, interpolation=cv2.INTER_AREA)
        work = cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.12:
        work = cv2.GaussianBlur(work, (0, 0), rng.uniform(0.4, 1.3))
    if rng.random() < 0.08:
        work = cv2.blur(work, (int(rng.integers(1, 5)), int(rng.integers(1, 5))))
    if rng.random() < 0.6:
        gamma = np.exp(rng.normal(0, 0.25))
        ramp = (np.arange(256) / 255.0) ** gamma * rng.uniform(0.6, 1.3) + rng.uniform(-0.1, 0.1)
        gains = np.exp(rng.normal(0, 0.05, 3)) if rng.random() < 0.5 else np.ones(3)
        table = (np.clip(ramp[:, None] * gains, 0, 1) * 255).astype(np.uint8)[None]
        work = cv2.LUT(work, table)
    if rng.random() < 0.25:
        hue, saturation, value = cv2.split(cv2.cvtColor(work, cv2.COLOR_BGR2HSV))
        shifted_hue = ((hue.astype(np.int16) + int(rng.integers(-12, 13))) % 180).astype(np.uint8)
        saturation = cv2.convertScaleAbs(saturation, alpha=rng.uniform(0.4, 1.5))
        work = cv2.cvtColor(cv2.merge([shifted_hue, saturation, value]), cv2.COLOR_HSV2BGR)
    if rng.random() < 0.12:
        work = cv2.cvtColor(cv2.cvtColor(work, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    if rng.random() < 0.3:
        noise = np.empty(work.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(2**31)))
        cv2.randn(noise, 0, rng.uniform(2, 14))  # type: ignore[call-overload]
        work = cv2.add(work, noise, dtype=cv2.CV_8U)
    if rng.random() < 0.4:
        _, data = cv2.imencode(".jpg", work, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 92))])
        work = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return work.astype(np.uint8, copy=False)
