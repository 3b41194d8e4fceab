"""Folds BatchNorm into the convolution before it for the export, and unfolds an export so that it can be trained on."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.detector.network import Detector

KERNEL_RMS = 0.07  # of an unfolded kernel, about that of a trained one: its scale decides how fast it learns


def folded(detector: Detector) -> Detector:
    """A copy whose BatchNorms are folded into the convolutions before them, and the input's scale into the first."""
    copied: Any = deepcopy(detector).float().eval()
    for block in _blocks(copied):
        block[0], block[1] = fuse_conv_bn_eval(block[0], block[1]), nn.Identity()
    copied.norms = nn.ModuleList(fuse_conv_bn_eval(copied.head, norm) for norm in copied.norms)
    copied.head = nn.Identity()
    first = copied.stem[0][0]
    first.weight.data *= copied.scale
    copied.scale = 1.0
    return cast(Detector, copied)


def _blocks(detector: Detector) -> list[Any]:
    """Those that begin with a convolution and its BatchNorm."""
    blocks = [module for module in detector.modules() if isinstance(module, nn.Sequential) and len(module) >= 2]
    return [block for block in blocks if isinstance(block[0], nn.Conv2d)]


@torch.no_grad()
def unfolded(file: Path, images: Tensor) -> Detector:
    """A network that predicts what an exported one does, and that can be trained.

    Folding loses each BatchNorm's statistics and its kernel's scale, which has no effect before a norm. The statistics
    are measured again; every kernel gets the scale ``KERNEL_RMS``.

    Args:
        file: ONNX, of ``training.detector.export``.
        images: float32 ``[n, 3, h, w]``, BGR, 0..255, samples of what it will be trained on; h and w multiples of 32.

    Raises:
        google.protobuf.message.DecodeError: it is no ONNX file.
        RuntimeError: its weights are not of such a network.
    """
    network: Any = Detector()
    shipped: Any = folded(network)
    names = shipped.state_dict()
    shipped.load_state_dict({
        value.name: torch.from_numpy(np.array(onnx.numpy_helper.to_array(value)))
        for value in onnx.load(file).graph.initializer
        if value.name in names
    })  # fmt: skip
    blocks = [(own[0], own[1], its[0]) for own, its in zip(_blocks(network), _blocks(shipped), strict=True)]
    spread = _spread([conv for _, _, conv in blocks] + list(shipped.norms), shipped, images)
    shipped.stem[0][0].weight /= network.scale  # beside the statistics, which are of the scaled input
    for kernel, norm, conv in blocks:
        kernel.weight.copy_(_normalised(conv.weight))
        _set(norm, kernel, conv, spread[conv])
    # one kernel before three norms: the largest of its three folded forms, filter by filter
    forms = torch.stack([conv.weight for conv in shipped.norms])
    largest = forms.square().sum((2, 3, 4)).argmax(0)
    network.head.weight.copy_(_normalised(forms[largest, torch.arange(len(largest))]))
    for norm, conv in zip(network.norms, shipped.norms, strict=True):
        _set(norm, network.head, conv, spread[conv])
    network.out.load_state_dict(shipped.out.state_dict())
    return cast(Detector, network.eval())


def _normalised(weight: Tensor) -> Tensor:
    """Kernels ``[o, i, h, w]``, each at ``KERNEL_RMS``."""
    return weight * (KERNEL_RMS / weight.square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-12))


def _spread(convs: list[nn.Conv2d], network: Detector, images: Tensor) -> dict[nn.Conv2d, tuple[Tensor, Tensor]]:
    """Mean and variance of each convolution's outputs, ``[o]`` each."""
    found: dict[nn.Conv2d, tuple[Tensor, Tensor]] = {}

    def observe(conv: nn.Conv2d, _: tuple[Tensor, ...], output: Tensor) -> None:
        found[conv] = output.mean((0, 2, 3)), output.var((0, 2, 3))

    hooks = [conv.register_forward_hook(observe) for conv in convs]
    network(images)
    for hook in hooks:
        hook.remove()
    return found


def _set(norm: nn.BatchNorm2d, kernel: nn.Conv2d, conv: nn.Conv2d, spread: tuple[Tensor, Tensor]) -> None:
    """Make ``norm`` after ``kernel`` give what ``conv`` does, whose outputs have this spread."""
    mean, variance = spread
    weight = kernel.weight.flatten(1)
    factor = (conv.weight.flatten(1) * weight).sum(1) / weight.square().sum(1).clamp(min=1e-12)
    own = torch.where(factor == 0, 1.0, factor)  # of a filter that is gone no factor is known, and none matters
    norm.running_mean, norm.running_var = (mean - cast(Tensor, conv.bias)) / own, variance / own.square()
    norm.weight.copy_(factor * (norm.running_var + norm.eps).sqrt())
    norm.bias.copy_(mean)
