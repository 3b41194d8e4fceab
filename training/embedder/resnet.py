"""A small residual network for pictures of anything, whatever their size.

As torchvision's ResNets (He et al., CVPR 2016): a stem, stages of basic blocks that halve the map, global average
pooling. Teacher, assistant and students differ in widths and in the stem's stride, which keeps the first map at 8 to 24
pixels. Faces have ``training.embedder.students``, which keeps the place of each feature.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from training.embedder.students import Block, conv


class ResNet(nn.Module):
    """Embeds pictures of one size.

    Args:
        level: side of the square input in pixels, 4 or more.
        dim: length of the embedding.
        widths: channels of the three stages.
        depths: residual blocks of each.

    Raises:
        ValueError: a smaller level.
    """

    def __init__(self, level: int, dim: int, widths: tuple[int, int, int], depths: tuple[int, int, int]) -> None:
        super().__init__()
        if level < 4:
            raise ValueError(f"level {level}: give 4 pixels or more")
        self.level, self.dim = level, dim
        halvings = 2 if level >= 64 else 1 if level >= 32 else 0
        layers: list[tuple[str, nn.Module]] = []
        channels = 3
        for i in range(max(1, halvings)):
            outputs = widths[0] if i == max(1, halvings) - 1 else max(8, widths[0] // 2)
            stride = 2 if halvings else 1
            layers.append((f"stem{i}", nn.Sequential(*conv(channels, outputs, stride), nn.LeakyReLU(0.1))))
            channels = outputs
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            if i:
                layers.append((f"down{i}", nn.Sequential(*conv(channels, width, 2), nn.LeakyReLU(0.1))))
                channels = width
            layers += [(f"block{i}_{j}", Block(width)) for j in range(depth)]
        self.trunk = nn.Sequential(OrderedDict(layers))
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, dim, bias=False), nn.BatchNorm1d(dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Pictures float ``[n, 3, level, level]`` (RGB, about -1..1) to features ``[n, dim]``, not normalised."""
        return self.head(self.trunk(x))
