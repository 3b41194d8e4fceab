"""Builds the network of a recipe."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.embedder.mobilefacenet import MobileFaceNet, with_leaky_relu
from training.embedder.resnet import ResNet
from training.embedder.students import Student
from training.recipe import StudentSpec


def build_network(spec: StudentSpec) -> nn.Module:
    """The network of a recipe, with random weights; it has attributes ``level`` and ``dim``."""
    if spec.network == "mobilefacenet":
        return MobileFaceNet(spec.dim, spec.level, spec.extra)
    if spec.network == "resnet":
        return ResNet(spec.level, spec.dim, spec.widths, spec.depths)
    return Student(spec.level, spec.dim, spec.widths, spec.depths)


def deployable(model: nn.Module) -> nn.Module:
    """The network in the form that is exported: the same output, from layers that onnxruntime fuses."""
    return with_leaky_relu(model) if isinstance(model, MobileFaceNet) else model


def count_macs(model: nn.Module) -> int:
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
        side = int(model.level)  # type: ignore[arg-type]
        model(torch.zeros(1, 3, side, side))
    model.train(was_training)
    for handle in handles:
        handle.remove()
    return total
