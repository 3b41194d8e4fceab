"""Recipes: the settings of a training run. `training.embedder.recipes` reads and checks their files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Degradation:
    """How a training view is made.

    Attributes:
        shift: largest shift of the crop, as a fraction of its side.
        scale: largest relative change of scale.
        rotation: largest rotation in degrees. These three imitate a detector's inexact landmarks.
        camera: probability (0..1) that the face also goes through a camera: shrunk to 0.8 to 1.7 times the level by a
            random filter, blurred, noisy, JPEG-compressed and brought back, as the runtime's alignment does.
        light: largest relative change of gain; an offset of up to 60 times as many grey levels goes with it.
        narrowest: if above 0, views have random widths in pixels from this to the network's level, log-uniform, and are
            enlarged to the level, as the runtime's alignment enlarges a small face.
        sharp: share (0..1) of such views that keep the full width.
        mirror: whether half of the views are mirrored; false for digits and letters.

    Raises:
        ValueError: narrowest or sharp out of range.
    """

    shift: float = 0.03
    scale: float = 0.06
    rotation: float = 3.0
    camera: float = 0.4
    light: float = 0.2
    narrowest: int = 0
    sharp: float = 0.0
    mirror: bool = True

    def __post_init__(self) -> None:
        if self.narrowest < 0 or not 0 <= self.sharp <= 1:
            raise ValueError(
                f"narrowest {self.narrowest}, sharp {self.sharp}: give 0 or more pixels, and a share of 0 to 1"
            )
        if self.sharp and not self.narrowest:
            raise ValueError(f"sharp {self.sharp}: it needs narrowest, the width of the smallest views")


@dataclass(frozen=True)
class ImageSpec:
    """Pictures with classes in place of faces, see ``training.data.images``.

    Attributes:
        size: side in pixels of the square that every picture is resized to when it is read.
        hold_out: what validation uses: ``"classes"``, those of the second half, which training never sees, or
            ``"pictures"``, a fifth of each class. A set that is released in two parts keeps these.

    Raises:
        ValueError: a value out of range.
    """

    size: int = 96
    hold_out: str = "classes"

    def __post_init__(self) -> None:
        if self.size < 4 or self.hold_out not in ("classes", "pictures"):
            raise ValueError(
                f"size {self.size}, hold_out {self.hold_out!r}: give 4 pixels or more, and classes or pictures"
            )


@dataclass(frozen=True)
class TeacherSpec:
    """A teacher unknown to ``training.embedder.teachers``: its file, and the preprocessing of a crop or picture."""

    file: str
    size: int = 112
    rgb: bool = True
    mean: float = 127.5
    scale: float = 1 / 127.5


@dataclass(frozen=True)
class StudentSpec:
    """The student's network.

    Attributes:
        level: side of the square input in pixels; 64 or 112 for a MobileFaceNet.
        dim: length of the embedding.
        network: ``"residual"`` (see ``training.embedder.students``), ``"mobilefacenet"`` or ``"resnet"``, for pictures
            of anything (see their modules).
        widths, depths: of a residual network or a resnet, see there.
        extra: residual blocks that a MobileFaceNet has beyond the published network's, see there.
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
    extra: int = 0
    start: str = ""

    def __post_init__(self) -> None:
        if self.network not in ("residual", "mobilefacenet", "resnet"):
            raise ValueError(f"network {self.network!r}: give residual, mobilefacenet or resnet")
        if self.network == "mobilefacenet" and self.level not in (64, 112):
            raise ValueError(f"level {self.level}: a mobilefacenet reads crops of 64 or 112 pixels")
        if self.start and self.network != "mobilefacenet":
            raise ValueError(f"start {self.start!r}: only a mobilefacenet can start from a teacher's weights")
        if self.extra < 0 or (self.extra and self.network != "mobilefacenet"):
            raise ValueError(f"extra {self.extra}: give 0 or more blocks, of a mobilefacenet")


@dataclass(frozen=True)
class LossSpec:
    """One term of the loss: its name in ``training.losses.LOSSES``, its weight, its arguments."""

    name: str
    weight: float = 1.0
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Schedule:
    """Learning rate: linear warm-up over ``warmup`` of the run, constant, then a cosine to zero over its last ``fall``.

    Attributes:
        epochs: passes over the training faces; give either these or ``hours``.
        hours: of training, validation not counted; an interrupted run resumes with the hours that are left.
        batch: samples of a step, of all processes together.
        optimizer: ``"adamw"``, or ``"muon"`` for the matrices and AdamW for the rest.
        rate: peak learning rate.
        weight_decay: of all weights; with muon, of the matrices.
        warmup: share of the run, 0..1.
        fall: share of the run, 0..1.
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
    """Synthetic mixtures in each batch beside the training faces, see ``training.data.bank``.

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
    """All settings of a run, except its data.

    Attributes:
        name: of the model that it makes.
        teachers: ONNX files below ``--teachers`` (or absolute), concatenated: names of known ones, or tables. None
            where pictures have classes: the network learns from these, or from ``guide``.
        student, degradation, losses, schedule: see their classes.
        images: pictures with classes in place of faces; None for faces.
        bank: mixtures beside the training faces.
        init: name of the recipe whose student's weights this one starts from, "" for random weights; tensors of another
            shape start random.
        guide: name of the recipe whose student teaches this one in place of the teachers (HORKD's second stage); it is
            given its own level's view of the sharp face. "" for the teachers.
        mirror: the exported network averages the features of the face and of its mirror image: more accurate, at twice
            the cost.
        quality: weight of ``training.embedder.objective.length_loss``.
        seed: of weights, order and views.
        space: name of the embedding space; embeddings of one space may be compared, so give one name only to recipes of
            the same teachers, data and dim. Empty: the recipe's name, comparable with nothing else.
        license: of the weights, as the manifest states it.
        terms: of data and teachers, as the card states them.

    Raises:
        ValueError: settings that exclude one another.
    """

    name: str
    teachers: tuple[str | TeacherSpec, ...]
    student: StudentSpec
    losses: tuple[LossSpec, ...]
    schedule: Schedule
    degradation: Degradation = field(default_factory=Degradation)
    images: ImageSpec | None = None
    bank: BankSpec = field(default_factory=BankSpec)
    init: str = ""
    guide: str = ""
    mirror: bool = False
    quality: float = 0.0
    seed: int = 1
    space: str = ""
    license: str = "not stated"
    terms: str = "not stated: say in the recipe what data and teachers allow"

    def __post_init__(self) -> None:
        if self.degradation.narrowest > self.student.level:
            raise ValueError(f"narrowest {self.degradation.narrowest}: the student's level is {self.student.level}")
        if self.init and self.student.start:
            raise ValueError(f"init {self.init!r} and start {self.student.start!r}: give one of them")
        if not (self.teachers or self.images):
            raise ValueError("no teachers; give a list of ONNX files")
        if self.quality and not (self.teachers or self.guide):
            raise ValueError(f"quality {self.quality}: without teachers or guide there is nothing to estimate it by")
        if self.images and self.bank.teacher:
            raise ValueError(f"bank {self.bank.teacher!r}: mixtures are made of faces, not of other pictures")
        if self.images is None and self.student.network == "resnet":
            raise ValueError("network 'resnet': it is for pictures; add a table [images], or give another network")
