"""A recipe: what a student is made of. `training.embedder.recipes` reads and checks it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Degradation:
    """How a training view is made.

    Attributes:
        shift: largest shift of the crop, as a fraction of its side.
        scale: largest relative change of scale.
        rotation: largest rotation in degrees. These three stand for a detector's uncertain landmarks.
        camera: probability (0..1) that the face also goes through a camera: shrunk to 0.8 to 1.7 times the level by a
            random filter, blurred, noisy, JPEG-compressed and brought back, as the runtime's alignment does.
        light: largest relative change of gain; an offset of up to 60 times as many grey levels goes with it.
        narrowest: above 0, views have random widths from here to the network's level, evenly on a logarithmic scale,
            and are enlarged to it, as the runtime's alignment enlarges a small face.
        sharp: share (0..1) of such views that keep the full width.
    """

    shift: float = 0.03
    scale: float = 0.06
    rotation: float = 3.0
    camera: float = 0.4
    light: float = 0.2
    narrowest: int = 0
    sharp: float = 0.0


@dataclass(frozen=True)
class TeacherSpec:
    """A teacher unknown to ``training.embedder.teachers``: its file and how it wants its 112x112 crop."""

    file: str
    size: int = 112
    rgb: bool = True
    mean: float = 127.5
    scale: float = 1 / 127.5


@dataclass(frozen=True)
class StudentSpec:
    """The student's network.

    Attributes:
        level: side of the square input in pixels; 112 for a MobileFaceNet.
        dim: length of the embedding.
        network: ``"residual"`` (see ``training.embedder.students``) or ``"mobilefacenet"`` (see the module of that name).
        widths, depths: of a residual network, see there.
        side: of the square that a MobileFaceNet computes on, 128 or 64.
        start: a teacher's ONNX file, below ``--teachers``, whose weights a MobileFaceNet starts from; the licence of
            these weights must allow it. Empty: random weights.

    Raises:
        ValueError: a value out of range.
    """

    level: int
    dim: int = 256
    widths: tuple[int, int, int] = (48, 128, 256)
    depths: tuple[int, int, int] = (1, 1, 1)
    network: str = "residual"
    side: int = 128
    start: str = ""

    def __post_init__(self) -> None:
        if self.network not in ("residual", "mobilefacenet"):
            raise ValueError(f"network {self.network!r}: give residual or mobilefacenet")
        if self.network == "mobilefacenet" and self.level != 112:
            raise ValueError(f"level {self.level}: a mobilefacenet reads crops of 112 pixels")
        if self.start and self.network != "mobilefacenet":
            raise ValueError(f"start {self.start!r}: only a mobilefacenet can start from a teacher's weights")


@dataclass(frozen=True)
class LossSpec:
    """One term of the loss: its name in ``training.losses.LOSSES``, its weight, its arguments."""

    name: str
    weight: float = 1.0
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Schedule:
    """Warm-up, a plateau and a fall: linear over ``warmup`` of the run, then constant, then a cosine down to zero.

    Attributes:
        epochs: passes over the training faces; give either these or ``hours``.
        hours: of training, validation not counted; a run that was interrupted goes on with what is left.
        batch: samples of a step, of all processes together.
        rate: peak learning rate.
        weight_decay: of all weights.
        warmup: share of the steps, 0..1.
        ema: decay of the average of weights, which is what ships; see ``training.common.averaging``.

    Raises:
        ValueError: a value out of range.
    """

    epochs: int = 0
    hours: float = 0.0
    batch: int = 256
    optimizer: str = "adamw"
    rate: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    fall: float = 1.0
    ema: float = 0.999

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.hours < 0 or (self.epochs > 0) == (self.hours > 0) or self.batch < 2:
            raise ValueError(
                f"epochs {self.epochs}, hours {self.hours}, batch {self.batch}: give either epochs or hours above 0, "
                "and batches of 2 or more"
            )
        if self.rate <= 0 or not 0 <= self.warmup <= 1 or not 0 <= self.fall <= 1 or not 0 <= self.ema < 1:
            raise ValueError(
                f"rate {self.rate}, warmup {self.warmup}, fall {self.fall}, ema {self.ema}: give a positive rate, the "
                "others from 0 to 1"
            )
        if self.optimizer not in ("adamw", "muon"):
            raise ValueError(f"optimizer {self.optimizer!r}: give adamw or muon")


@dataclass(frozen=True)
class BankSpec:
    """Mixtures that go into each batch beside the training faces, see ``training.data.bank``.

    Attributes:
        teacher: name of the low-resolution teacher's recipe (``python -m training adapt``), which lies in ``adapt/``
            beside the student's; empty: no mixtures.
        shards: how much of the bank is used, in shards of 12,800 views.
        share: of each batch, below 1.

    Raises:
        ValueError: a value out of range.
    """

    teacher: str = ""
    shards: int = 12
    share: float = 0.6

    def __post_init__(self) -> None:
        if self.shards < 1 or not 0 <= self.share < 1:
            raise ValueError(f"shards {self.shards}, share {self.share}: give 1 or more, and a share below 1")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a run produces, its data aside.

    Attributes:
        name: of the model that it makes.
        teachers: ONNX files below ``--teachers`` (or absolute), concatenated: names of known ones, or tables.
        student, degradation, losses, schedule: see their classes.
        bank: mixtures beside the training faces.
        init: name of the recipe whose student this one continues from, "" for random weights; what does not fit in
            shape starts anew.
        guide: name of the recipe whose student teaches this one, fed its own level's view of the sharp face, in place
            of the teachers: HORKD's second stage. "" for the teachers.
        mirror: the exported network looks at the face and at its mirror image, and means their features: more accurate,
            at twice the cost.
        quality: weight of ``training.embedder.objective.length_loss``.
        seed: of weights, order and views.
        space: whose embeddings may be compared: give it to recipes of the same teachers, data and dim, to no others;
            empty stands for the recipe's name, which is comparable with nothing else.
        license: of the weights, as the manifest states it.
        terms: what the card says of the terms of data and teachers.
    """

    name: str
    teachers: tuple[str | TeacherSpec, ...]
    student: StudentSpec
    losses: tuple[LossSpec, ...]
    schedule: Schedule
    degradation: Degradation = field(default_factory=Degradation)
    bank: BankSpec = field(default_factory=BankSpec)
    init: str = ""
    guide: str = ""
    mirror: bool = False
    quality: float = 0.0
    seed: int = 1
    space: str = ""
    license: str = "not stated"
    terms: str = "not stated: say in the recipe what data and teachers allow"
