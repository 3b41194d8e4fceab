"""The base of all distillation losses: how they are built, and how they prepare a batch."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from training.common.distributed import gather


@dataclass(frozen=True)
class LossContext:
    """The arguments of losses that come from the run and not from the recipe.

    Attributes:
        student_dim: length d of the student's features.
        guide_dim: length e of the guide's.
        centres: the guide's mean feature of each class over the training set, float32 ``[k, e]``; labels index it.
            None where no classes are known.
        guides: the guide's features of the training faces, float32 ``[m, e]``; None where no loss asks for them.
        classes: how many there are, k; 0 where none are known.
    """

    student_dim: int
    guide_dim: int
    centres: Tensor | None = None
    guides: Tensor | None = None
    classes: int = 0


class Loss(nn.Module):
    """A distillation loss: a scalar of the student's and the guide's features of one batch.

    ``forward`` prepares the batch, ``compute`` is what a subclass writes. Where ``torch.distributed`` runs, the batch
    is that of all ranks together and every rank computes the same value on it (see
    ``training.common.distributed.gather`` for the gradient), so that relations and negatives span ranks, buffers stay
    equal on all of them, and N processes train as one does. Ranks must hold batches of one size.

    Attributes:
        monitor: further values for the log, of the last ``forward``.
    """

    least: ClassVar[int] = 1
    """Samples that a batch must hold."""

    needs_guide: ClassVar[bool] = True
    """False for a loss of the student's features and the labels alone."""

    def __init__(self) -> None:
        super().__init__()
        self.monitor: dict[str, float] = {}

    @classmethod
    def build(cls, context: LossContext, **arguments: Any) -> Self:
        """The loss of a recipe's arguments; parameters with the name of a field of the context get its value.

        Raises:
            ValueError: an argument that the loss does not know, or a value that it cannot use.
        """
        parameters = inspect.signature(cls).parameters
        supplied = {name: value for name, value in vars(context).items() if name in parameters}
        known = [name for name in parameters if name not in supplied]
        if unknown := sorted(set(arguments) - set(known)):
            raise ValueError(f"{cls.__name__}: unknown {', '.join(unknown)}; known are {', '.join(known) or 'none'}")
        return cls(**supplied, **arguments)

    def forward(self, student: Tensor, guide: Tensor, labels: Tensor | None = None) -> Tensor:
        """The loss of one batch, in float32 also under autocast; the guide gets no gradient.

        Args:
            student: ``[n, d]``, any float dtype.
            guide: ``[n, e]``, any float dtype, the same samples.
            labels: int64 ``[n]``: identity or cluster, -1 unknown; None: all unknown.

        Returns:
            Scalar, float32.

        Raises:
            ValueError: shapes that do not match, or fewer samples than the relations need.
        """
        if student.dim() != 2 or guide.dim() != 2 or len(student) != len(guide):
            raise ValueError(f"features {list(student.shape)} and {list(guide.shape)}: give [n, d] and [n, e]")
        if labels is None:
            labels = torch.full((len(student),), -1, device=student.device)
        if labels.shape != student.shape[:1]:
            raise ValueError(f"labels {list(labels.shape)}: give one for each of the {len(student)} samples")
        student, guide, labels = gather(student), gather(guide.detach()), gather(labels.to(student.device))
        if len(student) < self.least:
            raise ValueError(f"{type(self).__name__} of {len(student)} samples: give a batch of {self.least} or more")
        with torch.autocast(student.device.type, enabled=False):
            return self.compute(student.float(), guide.float(), labels)

    def compute(self, student: Tensor, guide: Tensor, labels: Tensor) -> Tensor:
        """The loss of a prepared batch: float32 ``[n, d]`` and detached ``[n, e]``, int64 ``[n]``."""
        raise NotImplementedError


class Draws(nn.Module):
    """Random draws that depend only on the number of earlier draws: equal on all ranks, and resumable."""

    step: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self) -> torch.Generator:
        """The generator (CPU) of the next draw."""
        generator = torch.Generator().manual_seed(int(self.step))
        self.step += 1
        return generator


def positive(**values: float) -> None:
    """Refuse arguments that must be above zero.

    Raises:
        ValueError: one is not, with its name.
    """
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} {value}: give a positive one")
