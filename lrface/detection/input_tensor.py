"""From pictures to the input tensor of a detector's graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from lrface.types import FloatArray, ImageArray


@dataclass(frozen=True, slots=True)
class InputSpec:
    """How a picture becomes the graph's tensor.

    Attributes:
        channels: "BGR" or "RGB".
        mean: Grey levels, 0..255.
        scale: Applied after the mean.
        multiple: Height and width are padded to multiples of it.
        fixed: The only side (pixels, square) that the graph takes, or None.
    """

    channels: str = "BGR"
    mean: float = 0.0
    scale: float = 1.0
    multiple: int = 32
    fixed: int | None = None

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the graph's input for a picture of this size."""
        if self.fixed:
            return self.fixed, self.fixed
        return -(-height // self.multiple) * self.multiple, -(-width // self.multiple) * self.multiple

    def tensor(self, pictures: Sequence[ImageArray], shape: tuple[int, int]) -> FloatArray:
        """The graph's input.

        Args:
            pictures: uint8 [h, w, 3], BGR, each; padded with black at the right and below.
            shape: Height and width wanted.

        Returns:
            float32 [n, 3, height, width].
        """
        tensor: FloatArray = np.empty((len(pictures), 3, *shape), np.float32)
        for planes, picture in zip(tensor, pictures, strict=True):
            height, width = picture.shape[:2]
            planes[:, height:] = 0
            planes[:, :height, width:] = 0
            channels = cv2.split(picture)  # contiguous: twice as fast to convert
            if self.channels == "RGB":
                channels = channels[::-1]
            for plane, channel in zip(planes, channels, strict=True):
                plane[:height, :width] = channel
        if self.mean != 0.0 or self.scale != 1.0:
            tensor = (tensor - np.float32(self.mean)) * np.float32(self.scale)
        return tensor
