"""What each cell of the grids learns: the teacher's prediction for the same view.

YuNet has the student's three grids, so its score of every cell is the student's target as it is (distillation: Hinton
et al., 2015; the same view for both: Beyer et al., CVPR 2022). No assignment of faces to cells is needed, and the
student learns how face-like a half hidden face is. YuNet's features are a second target, for background cells too
(hints: FitNets, Romero et al., 2015).

YuNet predicts something else for a picture's mirror image, and detects small faces better when they are enlarged. The
target combines its predictions for the view, the mirrored view and the enlarged view: it is more accurate, and easier
to learn.

Labels do not correct its scores. A face that YuNet misses would be taught as a face in a labelled picture and as
background in its mixture with another, and the student learns neither. But what it takes for faces in pictures without
people, mostly animals, is a known negative in every view. Labels give better boxes and the landmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError
from scipy.special import expit, logit

from lrface.detection.decode import decode_yunet
from lrface.detection.suppression import NMS_IOU, suppress
from lrface.geometry import box_iou
from training.detector.network import STRIDES
from training.detector.scenes import MIN_SCORE, Floats, Image, Labels

OVERLAP = 0.4  # IoU of a teacher's box with a known face from which on its cell learns the known face
ENLARGEMENT = 1.5  # of the view for the teacher's third prediction
MISSED_SCORE = 0.05  # for a face that the teacher misses in one of its predictions
HINT_CHANNELS = 64  # of YuNet's features


@dataclass(frozen=True)
class Targets:
    """What the cells of one view that see a face learn beside the score.

    Attributes:
        cell: int64 ``[n]``, in the order of ``cell_centres``.
        boxes: float32 ``[n, 4]``, pixels.
        landmarks: float32 ``[n, 5, 2]``, pixels; meaningless where ``marked`` is false.
        marked: bool ``[n]``, whether the landmarks are known.
    """

    cell: npt.NDArray[np.int64]
    boxes: Floats
    landmarks: Floats
    marked: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TeacherPrediction:
    """What the teacher predicts for each cell of a view, in the order of ``cell_centres``.

    Attributes:
        scores: float32 ``[N]``, 0..1.
        boxes: float32 ``[N, 4]``, pixels.
        features: float32, for each stride ``[HINT_CHANNELS, h / stride, w / stride]``, from which the prediction is
            made; empty where they are not known.
    """

    scores: Floats
    boxes: Floats
    features: list[Floats]


TeacherFunction: TypeAlias = Callable[[Image], TeacherPrediction]


class Teacher:
    """YuNet's prediction for every cell: the mean over the view and its mirror image, then each face rescored enlarged.

    Args:
        model: its ONNX file, with dynamic sides.

    Raises:
        ValueError: it is not YuNet's ONNX file.
    """

    def __init__(self, model: Path) -> None:
        try:
            graph = onnx.load(model)
            nodes = [node for node in graph.graph.node if node.op_type == "Conv"]
            self._features = [
                next(node.input[0] for node in nodes if node.input[1].startswith(f"bbox_head.multi_level_obj.{level}."))
                for level in range(len(STRIDES))
            ]
        except (DecodeError, StopIteration) as error:
            raise ValueError(f"{model} is not YuNet: give its ONNX file with dynamic sides as the teacher") from error
        self._outputs = [output.name for output in graph.graph.output]
        graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self._features)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(graph.SerializeToString(), options, ["CPUExecutionProvider"])

    def __call__(self, image: Image) -> TeacherPrediction:
        """The prediction for uint8 ``[h, w, 3]`` BGR, the sides multiples of 32."""
        height, width = image.shape[:2]
        own, other = self._predict(image), mirrored_prediction(self._predict(image[:, ::-1]), height, width)
        mean = np.asarray((own.scores + other.scores) / 2, np.float32)
        share = (own.scores / np.maximum(2 * mean, 1e-9))[:, None]
        boxes = np.asarray(share * own.boxes + (1 - share) * other.boxes, np.float32)
        return TeacherPrediction(self._rescored(image, boxes, mean), boxes, own.features)

    def _rescored(self, image: Image, boxes: Floats, scores: Floats) -> Floats:
        """The cells' scores ``[N]``, each face's averaged, in logits, with its score in the enlarged view."""
        height, width = image.shape[:2]
        wide, tall = (round(side * ENLARGEMENT / STRIDES[-1]) * STRIDES[-1] for side in (width, height))
        view = cv2.resize(image, (wide, tall), interpolation=cv2.INTER_LINEAR)
        enlarged = self._predict(view.astype(np.uint8, copy=False))
        ratio = np.array([wide / width, tall / height] * 2, np.float32)
        (face, score), (other, rescored) = _faces(boxes, scores), _faces(enlarged.boxes / ratio, enlarged.scores)
        if not len(face):
            return scores
        second = np.full(len(face), MISSED_SCORE, np.float32)
        if len(other):
            overlap = box_iou(face, other)
            second = np.where(overlap.max(axis=1) >= OVERLAP, rescored[overlap.argmax(axis=1)], second)
        both = expit((_logit(score) + _logit(second)) / 2)
        cells = np.flatnonzero(scores > MISSED_SCORE)
        own = box_iou(boxes[cells], face).argmax(axis=1)
        changed = scores.copy()
        changed[cells] = np.minimum(changed[cells] * (both / score)[own], 1)
        return changed

    def _predict(self, image: Image) -> TeacherPrediction:
        tensor = np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)
        values = self._session.run([*self._outputs, *self._features], {self._session.get_inputs()[0].name: tensor})
        boxes, scores, _ = decode_yunet(dict(zip(self._outputs, values, strict=False)), *image.shape[:2])
        return TeacherPrediction(scores, boxes, [value[0] for value in values[len(self._outputs) :]])


def mirrored_prediction(prediction: TeacherPrediction, height: int, width: int) -> TeacherPrediction:
    """The prediction for the mirror image of a view, without features: how their channels are exchanged is not known.

    Args:
        prediction: for the view.
        height: of the view, pixels.
        width: likewise.
    """
    scores, boxes = _mirror_cells(prediction.scores, height, width), _mirror_cells(prediction.boxes, height, width)
    boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
    return TeacherPrediction(scores, boxes, [])


def _mirror_cells(cells: Floats, height: int, width: int) -> Floats:
    """Values of cells ``[N, ...]``, left and right exchanged."""
    grids = [(height // stride, width // stride) for stride in STRIDES]
    levels = np.split(cells, np.cumsum([rows * columns for rows, columns in grids])[:-1])
    mirrored = [level.reshape(*grid, -1)[:, ::-1] for level, grid in zip(levels, grids, strict=True)]
    return np.concatenate([level.reshape(-1, *cells.shape[1:]) for level in mirrored])


def _faces(boxes: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """A box and a score for each face that cells give more than ``MISSED_SCORE``."""
    seen = np.flatnonzero(scores > MISSED_SCORE)
    kept = seen[suppress(boxes[seen], scores[seen], NMS_IOU)]
    return boxes[kept], scores[kept]


def _logit(scores: Floats) -> Floats:
    return np.asarray(logit(np.clip(scores, MISSED_SCORE, 1 - MISSED_SCORE)), np.float32)


def without_known_negatives(prediction: TeacherPrediction, labels: Labels) -> TeacherPrediction:
    """The teacher's prediction with score 0 in the cells of known negatives.

    Args:
        prediction: the teacher's.
        labels: of the view, in pixels.
    """
    if not labels.negative.any():
        return prediction
    cell = np.flatnonzero(prediction.scores > MISSED_SCORE)
    overlap = np.where(labels.ignored & ~labels.negative, 0, box_iou(prediction.boxes[cell], labels.boxes))
    best = overlap.argmax(axis=1)
    scores = prediction.scores.copy()
    scores[cell[(overlap.max(axis=1) >= OVERLAP) & labels.negative[best]]] = 0
    return replace(prediction, scores=scores)


def cell_targets(labels: Labels, prediction: TeacherPrediction) -> Targets:
    """The face for each cell to which the teacher gives ``MIN_SCORE`` or more.

    Args:
        labels: of the view, in pixels.
        prediction: the teacher's.

    Returns:
        The known face that the teacher's box overlaps most, by ``OVERLAP`` at least, else the teacher's box.
    """
    cell = np.flatnonzero(prediction.scores >= MIN_SCORE)
    count = len(cell)
    targets = Targets(cell, prediction.boxes[cell], np.zeros((count, 5, 2), np.float32), np.zeros(count, bool))
    known = labels[~labels.ignored]
    if len(known) and count:
        overlap = box_iou(targets.boxes, known.boxes)
        own, face = overlap.max(axis=1) >= OVERLAP, overlap.argmax(axis=1)
        for name in ("boxes", "landmarks", "marked"):
            getattr(targets, name)[own] = getattr(known, name)[face[own]]
    return targets
