"""What each cell of the grids is to say: the teacher's own word on the same view.

YuNet has the student's three grids, so its score of every cell can be taught as it is (Hinton et al., 2015; the same
view for both: Beyer et al., CVPR 2022). That leaves no assignment to search for, and tells the student how face-like a
half hidden face is. Its features go along, a hint for every cell, of the background too (FitNets, Romero et al., 2015):
few pictures say much that way. YuNet says something else of a picture's mirror image, and knows more of small faces
when they are enlarged: it is asked in all three ways, which makes a better word, and one that is easier to learn.
Labels do not correct its scores: what YuNet misses or only suspects at this size would be taught as a face in a picture
with labels and as none in its mixture with another, and the student learns neither. But what it takes for faces where
there are no people, animals mostly, is known wherever such a picture goes. Labels give better boxes, of larger views,
and the landmarks.
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
from training.detector.scenes import LEAST, Floats, Image, Labels

OVERLAP = 0.4  # of a teacher's box with a known face's, from which on its cell learns that one instead
CLOSER = 1.5  # times enlarged, for the closer look
UNSEEN = 0.05  # score of what the teacher does not see at one of its looks
HINT = 64  # channels of YuNet's features


@dataclass(frozen=True)
class Targets:
    """What those cells of one view learn that see a face, beside the score.

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
class Word:
    """What the teacher says of each cell of a view, in the order of ``cell_centres``.

    Attributes:
        scores: float32 ``[N]``, 0..1.
        boxes: float32 ``[N, 4]``, pixels.
        features: float32, for each stride ``[HINT, h / stride, w / stride]``, what it makes its predictions from; none
            where they are not known.
    """

    scores: Floats
    boxes: Floats
    features: list[Floats]


AsksTeacher: TypeAlias = Callable[[Image], Word]


class Teacher:
    """YuNet's word on every cell: the mean of the view and its mirror image, each face then at a closer look.

    Args:
        model: its ONNX file, with dynamic sides.

    Raises:
        ValueError: it is another network's, or none.
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

    def __call__(self, image: Image) -> Word:
        """What it says of uint8 ``[h, w, 3]`` BGR, the sides multiples of 32."""
        height, width = image.shape[:2]
        own, other = self._look(image), turned_over(self._look(image[:, ::-1]), height, width)
        mean = (own.scores + other.scores) / 2
        share = (own.scores / np.maximum(2 * mean, 1e-9))[:, None]
        boxes = share * own.boxes + (1 - share) * other.boxes
        return Word(self._reconsidered(image, boxes, mean), boxes, own.features)

    def _reconsidered(self, image: Image, boxes: Floats, scores: Floats) -> Floats:
        """The cells' scores ``[N]``, each face's brought halfway, in logits, to what a closer look says of it."""
        height, width = image.shape[:2]
        wide, tall = (round(side * CLOSER / STRIDES[-1]) * STRIDES[-1] for side in (width, height))
        closer = self._look(cv2.resize(image, (wide, tall), interpolation=cv2.INTER_LINEAR))
        ratio = np.array([wide / width, tall / height] * 2, np.float32)
        (face, score), (there, said) = _faces(boxes, scores), _faces(closer.boxes / ratio, closer.scores)
        if not len(face):
            return scores
        now = np.full(len(face), UNSEEN, np.float32)
        if len(there):
            overlap = box_iou(face, there)
            now = np.where(overlap.max(axis=1) >= OVERLAP, said[overlap.argmax(axis=1)], now)
        both = expit((_logit(score) + _logit(now)) / 2)
        cells = np.flatnonzero(scores > UNSEEN)
        own = box_iou(boxes[cells], face).argmax(axis=1)
        changed = scores.copy()
        changed[cells] = np.minimum(changed[cells] * (both / score)[own], 1)
        return changed

    def _look(self, image: Image) -> Word:
        tensor = np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)
        values = self._session.run([*self._outputs, *self._features], {self._session.get_inputs()[0].name: tensor})
        boxes, scores, _ = decode_yunet(dict(zip(self._outputs, values, strict=False)), *image.shape[:2])
        return Word(scores, boxes, [value[0] for value in values[len(self._outputs) :]])


def turned_over(word: Word, height: int, width: int) -> Word:
    """The word on the mirror image of a view, but for the features: there channels are exchanged, nobody knows which.

    Args:
        word: of the view.
        height: of the view, pixels.
        width: likewise.
    """
    scores, boxes = _mirrored(word.scores, height, width), _mirrored(word.boxes, height, width)
    boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
    return Word(scores, boxes, [])


def _mirrored(cells: Floats, height: int, width: int) -> Floats:
    """What cells ``[N, ...]`` say, left and right exchanged."""
    grids = [(height // stride, width // stride) for stride in STRIDES]
    levels = np.split(cells, np.cumsum([rows * columns for rows, columns in grids])[:-1])
    turned = [level.reshape(*grid, -1)[:, ::-1] for level, grid in zip(levels, grids, strict=True)]
    return np.concatenate([level.reshape(-1, *cells.shape[1:]) for level in turned])


def _faces(boxes: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """A box and a score for each face of which cells say more than ``UNSEEN``."""
    seen = np.flatnonzero(scores > UNSEEN)
    kept = seen[suppress(boxes[seen], scores[seen], NMS_IOU)]
    return boxes[kept], scores[kept]


def _logit(scores: Floats) -> Floats:
    return np.asarray(logit(np.clip(scores, UNSEEN, 1 - UNSEEN)), np.float32)


def corrected(word: Word, labels: Labels) -> Word:
    """The teacher's word without the faces that are none.

    Args:
        word: the teacher's.
        labels: of the view, in pixels.
    """
    if not labels.nobody.any():
        return word
    cell = np.flatnonzero(word.scores > UNSEEN)
    overlap = np.where(labels.ignored & ~labels.nobody, 0, box_iou(word.boxes[cell], labels.boxes))
    best = overlap.argmax(axis=1)
    scores = word.scores.copy()
    scores[cell[(overlap.max(axis=1) >= OVERLAP) & labels.nobody[best]]] = 0
    return replace(word, scores=scores)


def cell_targets(labels: Labels, word: Word) -> Targets:
    """The face that each cell sees of which the teacher says ``LEAST`` or more.

    Args:
        labels: of the view, in pixels.
        word: the teacher's.

    Returns:
        The known face that the teacher's box overlaps most, else the teacher's box.
    """
    cell = np.flatnonzero(word.scores >= LEAST)
    count = len(cell)
    targets = Targets(cell, word.boxes[cell], np.zeros((count, 5, 2), np.float32), np.zeros(count, bool))
    known = labels[~labels.ignored]
    if len(known) and count:
        overlap = box_iou(targets.boxes, known.boxes)
        own, face = overlap.max(axis=1) >= OVERLAP, overlap.argmax(axis=1)
        for name in ("boxes", "landmarks", "marked"):
            getattr(targets, name)[own] = getattr(known, name)[face[own]]
    return targets
