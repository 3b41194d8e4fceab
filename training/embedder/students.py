"""Students: one residual trunk on a 16x16 map, and a stem for each input size.

Every level's network is the same except for its stem and its widths, so that the assistant and the students of HORKD's
two stages share the architecture. All convolutions are dense 3x3 on small maps (fast with AVX-512 and AMX),
every BatchNorm folds into the convolution before it, and LeakyReLU fuses into it in onnxruntime.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

MAP = 16
LEVELS = (8, 16, 32, 48, 64, 112)
FINE, DETAIL = 48, 40
"""Channels of the assistant's fine path, at 32x32 and at 16x16."""


def conv(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    """A 3x3 convolution and its BatchNorm."""
    return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)]


class Block(nn.Module):
    """Residual block of two 3x3 convolutions (He et al., CVPR 2016, basic block): ``[n, c, h, w]`` to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*conv(channels, channels), nn.LeakyReLU(0.1), *conv(channels, channels))
        self.act = nn.LeakyReLU(0.1)
        nn.init.zeros_(self.body[-1].weight)  # type: ignore[arg-type]  # starts as the identity

    def forward(self, x: Tensor) -> Tensor:
        """``[n, c, h, w]`` to the same."""
        return self.act(x + self.body(x))


class AssistantStem(nn.Module):
    """112x112 faces to a 16x16 map along two paths.

    The coarse path equals the input of a 32x32 student, shrunk by area and folded 2x2 (one convolution of stride 7
    whose weights start as exactly that), so that an assistant can start with a student's weights. The fine path adds
    detail: it folds a 96x96 picture 3x3, so that all its convolutions work on small, wide maps.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(3, 12, 7, 7, bias=False)
        with torch.no_grad():
            self.coarse.weight.copy_(_area_fold())
        self.fine = nn.Sequential(
            nn.Upsample(size=(96, 96), mode="bilinear", align_corners=False), nn.PixelUnshuffle(3),
            *conv(27, FINE), nn.LeakyReLU(0.1), Block(FINE), *conv(FINE, DETAIL, 2), nn.LeakyReLU(0.1),
        )  # fmt: skip
        self.mix = nn.Sequential(*conv(12 + DETAIL, width), nn.LeakyReLU(0.1))

    def forward(self, x: Tensor) -> Tensor:
        """``[n, 3, 112, 112]`` to ``[n, width, 16, 16]``."""
        return self.mix(torch.cat([self.coarse(x), self.fine(x)], dim=1))


def _area_fold() -> Tensor:
    """Weights ``[12, 3, 7, 7]`` that shrink 7x7 pixels by area to 2x2, folded as ``nn.PixelUnshuffle(2)`` does."""
    half = torch.tensor([[1, 1, 1, 0.5, 0, 0, 0], [0, 0, 0, 0.5, 1, 1, 1]]) / 3.5
    cells = torch.einsum("iy,jx->ijyx", half, half).reshape(4, 7, 7)
    weight = torch.zeros(3, 4, 3, 7, 7)
    for channel in range(3):
        weight[channel, :, channel] = cells
    return weight.reshape(12, 3, 7, 7)


class Stem(nn.Module):
    """Faces of up to 64x64 to a 16x16 map.

    Folding pixels into channels keeps all information of a small face; a strided convolution would lose some. An 8x8
    face is up-scaled first, so that it can use the trunk of the 16x16 student.
    """

    def __init__(self, level: int, width: int) -> None:
        super().__init__()
        fold = max(1, level // MAP)
        self.unfold: nn.Module = nn.PixelUnshuffle(fold) if fold > 1 else nn.Identity()
        if level < MAP:
            self.unfold = nn.Upsample(size=(MAP, MAP), mode="bilinear", align_corners=False)
        self.mix = nn.Sequential(*conv(3 * fold * fold, width), nn.LeakyReLU(0.1))

    def forward(self, x: Tensor) -> Tensor:
        """``[n, 3, level, level]`` to ``[n, width, 16, 16]``."""
        return self.mix(self.unfold(x))


class Student(nn.Module):
    """Embeds faces of one level.

    Args:
        level: side of the square input in pixels, one of ``LEVELS``.
        dim: length of the embedding.
        widths: channels of the three stages, at 16x16, 8x8 and 4x4.
        depths: residual blocks of each.

    Raises:
        ValueError: another level.
    """

    def __init__(
        self,
        level: int,
        dim: int,
        widths: tuple[int, int, int] = (48, 128, 256),
        depths: tuple[int, int, int] = (1, 1, 1),
    ) -> None:
        super().__init__()
        self.level, self.dim = level, dim
        if level not in LEVELS:
            raise ValueError(f"level {level}: there is no stem for it; give one of {LEVELS}")
        stem = AssistantStem(widths[0]) if level == 112 else Stem(level, widths[0])
        layers: list[tuple[str, nn.Module]] = [("stem", stem)]
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            if i:
                layers.append((f"down{i}", nn.Sequential(*conv(widths[i - 1], width, 2), nn.LeakyReLU(0.1))))
            layers += [(f"block{i}_{j}", Block(width)) for j in range(depth)]
        self.trunk = nn.Sequential(OrderedDict(layers))
        # The whole aligned map, not its mean: the place of a feature in the face matters.
        side = MAP // 4
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(widths[-1] * side * side, dim, bias=False), nn.BatchNorm1d(dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Faces float ``[n, 3, level, level]`` (RGB, about -1..1) to features ``[n, dim]``, not normalised."""
        return self.head(self.trunk(x))
