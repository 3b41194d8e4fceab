"""Pictures of drawn faces, on which a detector can be trained in a test."""

from __future__ import annotations

import cv2
import numpy as np


class Painter:
    """A data set of drawn faces: an ellipse with eyes, nose and mouth on clutter."""

    def __init__(self, seed: int) -> None:
        self._chance = np.random.default_rng(seed)

    def face(self, image: np.ndarray, x: int, y: int, height: int) -> list[float]:
        half = (int(height * 0.39), height // 2)
        tone = self._chance.integers(120, 250, 3).tolist()
        cv2.ellipse(image, (x, y), half, 0, 0, 360, tone, -1)
        for dx, dy in ((-0.2, -0.12), (0.2, -0.12), (0.0, 0.06), (-0.15, 0.25), (0.15, 0.25)):
            cv2.circle(image, (int(x + dx * height), int(y + dy * height)), max(1, height // 14), (20, 20, 30), -1)
        return [x - half[0], y - half[1], x + half[0], y + half[1]]

    def scene(self, side: int = 160) -> tuple[np.ndarray, list[list[float]]]:
        image = self._chance.integers(0, 90, (side, side, 3)).astype(np.uint8)
        places = self._chance.permutation(4)[: int(self._chance.integers(1, 4))]
        boxes = [
            self.face(image, 40 + 80 * int(p % 2), 40 + 80 * int(p // 2), int(self._chance.integers(16, 60)))
            for p in places
        ]
        return image, boxes
