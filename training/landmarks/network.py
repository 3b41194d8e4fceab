"""The landmark refinement network: from the crop around a face to five landmarks and their expected error."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lrface.alignment import TEMPLATE
from lrface.detection.landmark_refinement import INPUT_SIDE, INPUT_TEMPLATE

EYES = float(INPUT_TEMPLATE[1, 0] - INPUT_TEMPLATE[0, 0])
"""Distance of the template's eyes in the network's input, pixels."""


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, BatchNorm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs, momentum=0.03), nn.ReLU(True)
    )


class Landmarker(nn.Module):
    """Three halvings, then every landmark is a linear function of the whole 6x6 map.

    Args:
        widths: channels at halves, quarters and eighths of the input.
    """

    def __init__(self, widths: tuple[int, int, int] = (24, 48, 80)) -> None:
        super().__init__()
        a, b, c = widths
        self.scale = 1 / 64  # of grey levels; the export moves it into the first convolution
        self.body = nn.Sequential(
            conv(3, a, 2), conv(a, a), conv(a, b, 2), conv(b, b), conv(b, c, 2), conv(c, c), nn.Flatten()
        )
        self.out = nn.Linear(c * (INPUT_SIDE // 8) ** 2, 11)
        nn.init.normal_(self.out.weight, std=1e-3)
        nn.init.zeros_(self.out.bias)
        self.template: Tensor
        self.register_buffer("template", torch.from_numpy(INPUT_TEMPLATE))

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """See the module.

        Args:
            frames: float32 ``[n, 3, 48, 48]``, BGR, 0..255.

        Returns:
            landmarks ``[n, 5, 2]`` in pixels of the input; the logarithm ``[n]`` of the error's scale, see ``loss``.
        """
        values = self.out(self.body((frames - 127.5) * self.scale)).float()
        return self.template + EYES * values[:, :10].view(-1, 5, 2), values[:, 10] - 2.0


def alignment_basis() -> Tensor:
    """Orthonormal ``[4, 10]``: the displacements of five landmarks that shift, rotate or scale the face.

    The part of a landmark error in its span moves the aligned crop; the rest changes the face's shape only.
    """
    centred = torch.from_numpy(TEMPLATE - TEMPLATE.mean(axis=0)).double()
    turned = torch.stack([-centred[:, 1], centred[:, 0]], dim=1)
    ones, zeros = torch.ones(5).double(), torch.zeros(5).double()
    moves = [torch.stack([ones, zeros], 1), torch.stack([zeros, ones], 1), centred, turned]
    return torch.stack([(move / move.norm()).reshape(10) for move in moves]).float()


def loss(found: Tensor, spread: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """The terms that are minimised.

    ``alignment`` is the likelihood of the error's aligning part u (in four dimensions, in eye distances) under
    a density that falls as exp(-|u| / s) / s^4: the network predicts s. ``points`` is the mean distance of the
    landmarks, in eye distances.

    Args:
        found: landmarks ``[n, 5, 2]``, pixels of the input.
        spread: log s ``[n]``.
        truth: landmarks ``[n, 5, 2]``.

    Returns:
        The terms, their weighted sum ``total``, and ``error``: the aligning part's mean distance a landmark, in eye
        distances.
    """
    off = (found - truth) / EYES
    aligning = (off.flatten(1) @ alignment_basis().T).norm(dim=1)
    alignment = (aligning * torch.exp(-spread) + 4 * spread).mean()
    points = off.norm(dim=2).mean()
    return {
        "total": alignment + 10 * points, "alignment": alignment, "points": points,
        "error": aligning.mean() / math.sqrt(5),
    }  # fmt: skip


class Deployed(nn.Module):
    """What ships: the landmarks, and the expected error in eye distances (a landmark's, root of the mean square).

    Args:
        network: the trained one.
    """

    def __init__(self, network: Landmarker) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """``[n, 3, 48, 48]`` to landmarks ``[n, 5, 2]`` and error ``[n]``: E|u| = 4 s, over the root of five."""
        landmarks, spread = self.network(frames)
        return landmarks, torch.exp(spread) * (4 / math.sqrt(5))
