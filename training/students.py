"""Students: one residual trunk that starts from a 16x16 map, and a stem for each input size.

Every level's network is the same but for its stem and its widths, so that the assistant and the students of HORKD's
two stages share the architecture. All convolutions are dense 3x3 on small maps (what AVX-512 and AMX are good at),
every BatchNorm folds into the convolution before it, and LeakyReLU fuses into it in onnxruntime.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

MAP = 16


def _conv(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)]


class Block(nn.Module):
    """Residual block of two 3x3 convolutions (He et al., CVPR 2016, basic block): ``[n, c, h, w]`` to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_conv(channels, channels), nn.LeakyReLU(0.1), *_conv(channels, channels))
        self.act = nn.LeakyReLU(0.1)
        nn.init.zeros_(self.body[-1].weight)  # starts as the identity

    def forward(self, x: Tensor) -> Tensor:
        """``[n, c, h, w]`` to the same."""
        return self.act(x + self.body(x))


class Student(nn.Module):
    """Embeds faces of one level.

    Args:
        level: side of the square input in pixels, a multiple of 16.
        dim: length of the embedding.
        widths: channels of the three stages, at 16x16, 8x8 and 4x4.
        depths: residual blocks of each.

    Raises:
        ValueError: a level that does not fit the 16x16 map.
    """

    def __init__(
        self,
        level: int,
        dim: int,
        widths: tuple[int, int, int] = (48, 128, 256),
        depths: tuple[int, int, int] = (1, 1, 1),
    ) -> None:
        super().__init__()
        if level < MAP or level % MAP:
            raise ValueError(f"level {level}: the trunk starts from a {MAP}x{MAP} map; give a multiple of {MAP}")
        self.level, self.dim = level, dim
        fold = level // MAP
        # Folding pixels into channels keeps all that a small face has; a strided convolution would throw it away.
        stem = ([nn.PixelUnshuffle(fold)] if fold > 1 else []) + _conv(3 * fold * fold, widths[0])
        layers: list[tuple[str, nn.Module]] = [("stem", nn.Sequential(*stem, nn.LeakyReLU(0.1)))]
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            if i:
                layers.append((f"down{i}", nn.Sequential(*_conv(widths[i - 1], width, 2), nn.LeakyReLU(0.1))))
            layers += [(f"block{i}_{j}", Block(width)) for j in range(depth)]
        self.trunk = nn.Sequential(OrderedDict(layers))
        # The whole aligned map, not its mean: where a feature sits says who it is.
        side = MAP // 4
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(widths[-1] * side * side, dim, bias=False), nn.BatchNorm1d(dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Faces float ``[n, 3, level, level]`` (RGB, about -1..1) to features ``[n, dim]``, not normalised."""
        return self.head(self.trunk(x))


def count_macs(model: Student) -> int:
    """Multiply-accumulates of one face, convolutions and linear layers."""
    total = 0

    def hook(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += module.weight.numel()

    handles = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    was_training = model.training
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, 3, model.level, model.level))
    model.train(was_training)
    for handle in handles:
        handle.remove()
    return total
