"""The detector's network: a slim dense backbone, a top-down path, one head shared by strides 8, 16 and 32.

Dense 3x3 convolutions on multiples of 16 channels: on AVX-512 they train and run faster than depthwise ones of the same
accuracy, and faster than their own int8 form. Every BatchNorm folds into the convolution before it at export.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDES = (8, 16, 32)
VALUES = 15  # score, box (dx, dy, log w, log h), five landmarks (dx, dy), see training.detector.cells
MEAN_FACE = (
    -0.23,
    -0.12,
    0.22,
    -0.12,
    0.0,
    0.08,
    -0.19,
    0.28,
    0.18,
    0.28,
)  # landmarks in a box, at the start


class Depthwise(nn.Conv2d):
    """A convolution without autocast: oneDNN trains depthwise ones in float32 twice as fast as in bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


def conv(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1, act: bool = True
) -> nn.Sequential:
    """Convolution, BatchNorm and (unless it is off) ReLU; keeps the side at stride 1."""
    kind = nn.Conv2d if groups == 1 else Depthwise
    parts: list[nn.Module] = [
        kind(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, momentum=0.03),
    ]
    return nn.Sequential(*parts, nn.ReLU(inplace=True)) if act else nn.Sequential(*parts)


class Block(nn.Module):
    """Residual block of two dense 3x3 convolutions: ``[n, c, h, w]`` to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(channels, channels), conv(channels, channels, act=False))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.relu(x + self.body(x))


class WideBlock(nn.Module):
    """Residual block with a large receptive field and few weights: 5x5 depthwise, 1x1, twice. For the coarsest map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(channels, channels, 5, groups=channels, act=False),
            conv(channels, channels, 1),
            conv(channels, channels, 5, groups=channels, act=False),
            conv(channels, channels, 1, act=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.relu(x + self.body(x))


class Detector(nn.Module):
    """Predicts, for every cell of three grids, a face score, a box and five landmarks.

    Args:
        stem: channels at strides 2 and 4.
        widths: channels at strides 8, 16 and 32.
        blocks: residual blocks there.
        neck: channels of the top-down path and the head.
    """

    def __init__(
        self,
        stem: Sequence[int] = (16, 32),
        widths: Sequence[int] = (32, 64, 96),
        blocks: Sequence[int] = (2, 1, 2),
        neck: int = 32,
    ) -> None:
        super().__init__()
        self.scale = 1 / 64  # of grey levels; the export moves it into the first convolution
        s2, s4 = stem
        w8, w16, w32 = widths
        self.stem = nn.Sequential(conv(3, s2, stride=2), conv(s2, s4, stride=2))
        self.stage8 = nn.Sequential(conv(s4, w8, stride=2), *(Block(w8) for _ in range(blocks[0])))
        self.stage16 = nn.Sequential(conv(w8, w16, stride=2), *(Block(w16) for _ in range(blocks[1])))
        self.stage32 = nn.Sequential(conv(w16, w32, stride=2), *(WideBlock(w32) for _ in range(blocks[2])))
        self.lateral = nn.ModuleList(conv(w, neck, 1, act=False) for w in widths)
        self.head = nn.Conv2d(neck, neck, 3, 1, 1, bias=False)
        # one for each stride: their statistics differ, and shared ones would be wrong for each at inference
        self.norms = nn.ModuleList(nn.BatchNorm2d(neck, momentum=0.03) for _ in STRIDES)
        self.out = nn.Conv2d(neck, VALUES, 1)
        nn.init.normal_(self.out.weight, std=0.01)
        # few cells contain a face: start from a low score
        bias = torch.tensor([-4.0, 0.0, 0.0, 1.0, 1.0, *MEAN_FACE])
        self.out.bias = nn.Parameter(bias)

    def features(self, image: Tensor) -> list[Tensor]:
        """What the predictions are made from: ``[n, neck, h / s, w / s]`` for each stride s; ``image`` as below."""
        c8 = self.stage8(self.stem(image * self.scale if self.scale != 1.0 else image))
        c16 = self.stage16(c8)
        c32 = self.stage32(c16)
        p32 = self.lateral[2](c32)
        p16 = self.lateral[1](c16) + F.interpolate(p32, scale_factor=2.0, mode="nearest")
        p8 = self.lateral[0](c8) + F.interpolate(p16, scale_factor=2.0, mode="nearest")
        return [F.relu(norm(self.head(F.relu(p)))) for p, norm in zip((p8, p16, p32), self.norms, strict=True)]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Raw predictions.

        Args:
            image: float32 ``[n, 3, h, w]``, BGR, 0..255; h and w multiples of 32.

        Returns:
            One ``[n, 15, h / s, w / s]`` for each stride s of ``STRIDES``.
        """
        return [self.out(feature) for feature in self.features(image)]
