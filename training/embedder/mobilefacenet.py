"""The accurate network: a MobileFaceNet that can start from face-reidentification-retail-0095's published weights.

MobileFaceNet (Chen et al., CCBR 2018) with squeeze-and-excitation (Hu et al., CVPR 2018): inverted residual blocks of
1x1 and depthwise 3x3 convolutions. The published file has its BatchNorm layers folded into the convolutions, so there
are none here, and each activation is a PReLU of one slope.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.data.views import to_input, view_at

Image = npt.NDArray[np.uint8]
Embeddings = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

CROP = (slice(4, 110), slice(3, 109))
"""Rows and columns of the canonical 112x112 crop that the large network reads: they match reid-0095's template."""

LEVELS = {112: 128, 64: 64}
"""The side of the square that the network computes on, by the side of the crops that it reads."""

STAGES = ((64, 128, 4, 128, 8), (128, 256, 6, 256, 16), (128, 512, 2, 256, 16))
"""Channels out, channels inside the first block, residual blocks after it, channels inside them, squeezed channels."""


class Activation(nn.Module):
    """PReLU with one fixed slope: as a constant, it can be fused with the convolution before it."""

    slope: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("slope", torch.tensor([0.25]))

    def forward(self, x: Tensor) -> Tensor:
        """Of the shape of ``x``."""
        slope = float(self.slope)
        return F.leaky_relu(x, slope, inplace=slope > 0)


class _Depthwise(torch.autograd.Function):
    """Depthwise 3x3 convolution with its own input gradient: oneDNN's takes twice as long, of stride 2 twelve times."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, bias, stride, 1, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        channels, stride = len(weight), ctx.stride
        _, by_weight, by_bias = torch.ops.aten.convolution_backward(
            grad, x, weight, [channels], [stride] * 2, [1, 1], [1, 1], False, [0, 0], channels, [False, True, True]
        )
        # The input's gradient: the output's, of stride 2 with a zero after each place, by the flipped kernel.
        spread = grad
        if stride == 2:
            spread = torch.zeros_like(x)
            spread[..., ::2, ::2] = grad
        return F.conv2d(spread, weight.flip(2, 3), None, 1, 1, 1, channels), by_weight, by_bias, None


class Depthwise(nn.Conv2d):
    """Depthwise 3x3 convolution of stride 1 or 2."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__(channels, channels, 3, stride, 1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, c, h, w]`` to ``[n, c, h / stride, w / stride]``."""
        if not torch.is_grad_enabled() or x.device.type != "cpu":
            return super().forward(x)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        parameters = [parameter.to(dtype) for parameter in self.parameters()]  # weight, bias
        out: Tensor = _Depthwise.apply(x.to(dtype), *parameters, self.stride[0])
        return out


class _Means(torch.autograd.Function):
    """Each channel's mean. torch's own gradient is not channels-last, and slow to add to one that is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return x.mean((2, 3), keepdim=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        each = grad / (ctx.shape[2] * ctx.shape[3])
        return each.expand(ctx.shape).contiguous(memory_format=torch.channels_last)


class SqueezeExcitation(nn.Module):
    """Scales each channel by a factor in 0..1 that depends on all channels' means."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)
        self.act = Activation()

    def forward(self, x: Tensor) -> Tensor:
        """``[n, c, h, w]`` to the same."""
        means: Tensor = _Means.apply(x) if torch.is_grad_enabled() else x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.expand(self.act(self.reduce(means))))


class Pool(nn.Conv2d):
    """One kernel a channel, of the size of the picture."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__(channels, channels, side, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, c, side, side]`` to ``[n, c, 1, 1]``."""
        if not torch.is_grad_enabled() or x.device.type != "cpu":
            return super().forward(x)
        # oneDNN's gradient of such a convolution takes thirty times as long as that of a product.
        weight = self.weight.transpose(0, 1).to(x.dtype).contiguous(memory_format=torch.channels_last)
        found = (x * weight).sum((2, 3), keepdim=True)
        return found if self.bias is None else found + self.bias[:, None, None]


class InvertedResidual(nn.Module):
    """1x1 convolution to more channels, depthwise 3x3, 1x1 back, squeeze-and-excitation; plus its input if it fits."""

    def __init__(self, inputs: int, inside: int, outputs: int, stride: int, squeezed: int) -> None:
        super().__init__()
        self.expand, self.act1 = nn.Conv2d(inputs, inside, 1), Activation()
        self.depthwise, self.act2 = Depthwise(inside, stride), Activation()
        self.project = nn.Conv2d(inside, outputs, 1)
        self.excite = SqueezeExcitation(outputs, squeezed)
        self.residual = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """``[n, inputs, h, w]`` to ``[n, outputs, h / stride, w / stride]``."""
        out = self.excite(self.project(self.act2(self.depthwise(self.act1(self.expand(x))))))
        return x + out if self.residual else out


class MobileFaceNet(nn.Module):
    """Embeds canonical crops.

    Args:
        dim: length of the embedding.
        level: side of the crops that the network reads. Of 112 pixels it enlarges the square that the published network
            reads to that one's 128; 64 it takes as they are, in a quarter of the time.
        extra: residual blocks after those of the published network, and for each of them 64 hidden units of a second,
            non-linear head. Their last layers begin as zeros, so that a network that is given more of them starts with
            the output that it had without them.
    """

    gain: Tensor
    offset: Tensor

    def __init__(self, dim: int = 256, level: int = 112, extra: int = 0) -> None:
        super().__init__()
        if level not in LEVELS:
            raise ValueError(f"level {level}: a mobilefacenet reads crops of 64 or 112 pixels")
        self.dim, self.level = dim, level
        self.register_buffer("gain", torch.ones(1, 3, 1, 1))
        self.register_buffer("offset", torch.zeros(1, 3, 1, 1))
        self.stem, self.stem_act = nn.Conv2d(3, 64, 3, 2, 1), Activation()
        self.stem_depthwise, self.stem_act2 = Depthwise(64, 1), Activation()
        blocks: list[nn.Module] = []
        channels = 64
        for outputs, first, repeats, inside, squeezed in STAGES:
            blocks.append(InvertedResidual(channels, first, outputs, 2, squeezed))
            blocks += [InvertedResidual(outputs, inside, outputs, 1, squeezed) for _ in range(repeats)]
            channels = outputs
        self.published = len(blocks)
        for _ in range(extra):
            block = InvertedResidual(channels, 4 * channels, channels, 1, 16)
            _zero(block.project)
            blocks.append(block)
        self.blocks = nn.Sequential(*blocks)
        self.widen, self.widen_act = nn.Conv2d(channels, 512, 1), Activation()
        self.pool = Pool(512, LEVELS[level] // 16)
        self.embed = nn.Conv2d(512, 256, 1)
        self.head = nn.Linear(256, dim, bias=False)
        self.correction: nn.Module | None = None
        if extra:
            self.correction = nn.Sequential(nn.Linear(512, 64 * extra), Activation(), _zero(nn.Linear(64 * extra, dim)))

    def forward(self, x: Tensor) -> Tensor:
        """Crops float ``[n, 3, r, r]`` (RGB, ``(x - 127.5) / 128``) to features ``[n, dim]``, not normalised."""
        if (side := LEVELS[self.level]) != self.level:
            x = F.interpolate(x[:, :, CROP[0], CROP[1]], (side, side), mode="bilinear", align_corners=False)
        x = (x * self.gain + self.offset).contiguous(memory_format=torch.channels_last)
        x = self.stem_act2(self.stem_depthwise(self.stem_act(self.stem(x))))
        x = self.widen_act(self.widen(self.blocks(x)))
        pooled = self.pool(x)
        found = self.head(self.embed(pooled).flatten(1))
        return found if self.correction is None else found + self.correction(pooled.flatten(1))


def _zero(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def with_leaky_relu(model: MobileFaceNet) -> MobileFaceNet:
    """A copy with ``LeakyReLU`` in place of each ``Activation``: its slope is a constant of the exported graph."""
    found = copy.deepcopy(model)
    for parent in list(found.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Activation):
                setattr(parent, name, nn.LeakyReLU(float(child.slope)))
    return found


def _weights(path: Path) -> Iterator[np.ndarray]:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    values = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    for node in graph.node:
        for name in node.input:
            if name in values and (node.op_type != "Mul" or "input" in node.input):
                yield values[name]


@torch.no_grad()
def start_from(model: MobileFaceNet, path: Path) -> None:
    """Start from the published weights; the last layer stays as it is (see ``solve_head``).

    Raises:
        ValueError: the file is another network.
    """
    found, order = list(_weights(path)), _in_order(model)
    if len(found) != len(order) + 1 or any(value.size != 3 for value in found[:2]):
        raise ValueError(f"{path}: {len(found)} weights, expected {len(order) + 1}: it is another network")
    gain, offset = (torch.from_numpy(v.astype(np.float32)) for v in found[:2])
    # The published network reads BGR of 0 to 255, this one RGB of (x - 127.5) / 128.
    model.gain.copy_((gain * 128).flip(1))
    model.offset.copy_((gain * 127.5 + offset).flip(1))
    theirs = [torch.from_numpy(v.astype(np.float32)) for v in found[2:]]
    theirs.append(torch.zeros(256))  # the last convolution has no bias
    for parameter, value in zip(order, theirs, strict=True):
        if parameter is model.stem.weight:
            value = value.flip(1)
        if parameter is model.pool.weight:
            value = fewer_places(value, parameter.shape[-1])
        if parameter.numel() != value.numel():
            raise ValueError(
                f"{path}: weights {list(value.shape)} where {list(parameter.shape)} are needed: it is another network"
            )
        parameter.copy_(value.reshape(parameter.shape))


@torch.no_grad()
def solve_head(model: MobileFaceNet, crops: Image, targets: Embeddings, rows: Rows, count: int = 4096) -> None:
    """Set the last layer by ridge regression, so that the network starts in the space that it learns.

    Half of the faces are shrunk to widths of 24 to 64 pixels.

    Args:
        model: with its starting weights.
        crops: uint8 ``[n, 112, 112, 3]``, BGR.
        targets: unit embeddings float32 ``[n, dim]``.
        rows: the training faces.
        count: how many of them are used.
    """
    rng = np.random.default_rng(0)
    some = np.sort(rng.choice(rows, min(count, len(rows)), replace=False))
    head, model.head = model.head, nn.Identity()  # type: ignore[assignment]
    found = []
    for start in range(0, len(some), 64):
        batch = some[start : start + 64]
        widths = np.where(rng.random(len(batch)) < 0.5, model.level, rng.integers(24, 65, len(batch)))
        views = [view_at(crops[i], int(w), model.level) for i, w in zip(batch, widths, strict=True)]
        found.append(model(torch.from_numpy(to_input(np.stack(views)))).numpy())
    model.head = head
    a, b = np.concatenate(found).astype(np.float64), targets[some].astype(np.float64)
    weight = np.linalg.solve(a.T @ a + 1e-3 * np.trace(a.T @ a) / a.shape[1] * np.eye(a.shape[1]), a.T @ b)
    # Lengths of about 0.7 of what a perfect embedding has: quality is learnt as the length, see ``length_loss``.
    scale = 0.7 * np.sqrt(model.dim) / np.linalg.norm(a @ weight, axis=1).mean()
    head.weight.copy_(torch.from_numpy((weight * scale).T.astype(np.float32)))


def fewer_places(kernel: Tensor, side: int) -> Tensor:
    """A pooling kernel ``[c, 1, r, r]`` summed over neighbours to ``[c, 1, side, side]``: features of half the places.

    ``side`` divides r.
    """
    times = kernel.shape[-1] // side
    return F.avg_pool2d(kernel, times) * times**2


def _in_order(model: MobileFaceNet) -> list[Tensor]:
    """The parameters in the order of the published graph."""

    def conv(layer: nn.Module) -> list[Tensor]:
        return list(layer.parameters())

    out = [*conv(model.stem), model.stem_act.slope, *conv(model.stem_depthwise), model.stem_act2.slope]
    for block in cast(Iterable[InvertedResidual], model.blocks[: model.published]):
        se = block.excite
        out += [*conv(block.expand), block.act1.slope, *conv(block.depthwise), block.act2.slope, *conv(block.project)]
        out += [*conv(se.reduce), se.act.slope, *conv(se.expand)]
    return [*out, *conv(model.widen), model.widen_act.slope, *conv(model.pool), *conv(model.embed)]
