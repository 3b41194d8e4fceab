"""What each cell of the grids is to say: the teacher's own word on the same view.

YuNet has the student's three grids, so its score of every cell can be taught as it is (Hinton et al., 2015; the same
view for both: Beyer et al., CVPR 2022). That leaves no assignment to search for, and tells the student how face-like a
half hidden face is. Its features go along, a hint for every cell, of the background too (FitNets, Romero et al., 2015):
few pictures say much that way. Labels do not correct its scores: what YuNet misses or only suspects at this size would
be taught as a face in a picture with labels and as none in its mixture with another, and the student learns neither.
They give better boxes, of larger views, and the landmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from lrface.detection.decode import decode_yunet
from lrface.metrics.average_precision import box_iou
from training.detector.network import STRIDES
from training.detector.scenes import Floats, Image, Labels

LEAST = 0.1  # a teacher's cell of a lower score learns no box
OVERLAP = 0.4  # of a teacher's box with a known face's, from which on its cell learns that one instead
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
        features: float32, for each stride ``[HINT, h / stride, w / stride]``, what it makes its predictions from.
    """

    scores: Floats
    boxes: Floats
    features: list[Floats]


AsksTeacher: TypeAlias = Callable[[Image], Word]


class Teacher:
    """YuNet's word on every cell.

    Args:
        model: its ONNX file, with dynamic sides.
    """

    def __init__(self, model: Path) -> None:
        graph = onnx.load(model)
        nodes = [node for node in graph.graph.node if node.op_type == "Conv"]
        self._features = [
            next(node.input[0] for node in nodes if node.input[1].startswith(f"bbox_head.multi_level_obj.{level}."))
            for level in range(len(STRIDES))
        ]
        self._outputs = [output.name for output in graph.graph.output]
        graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self._features)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(graph.SerializeToString(), options, ["CPUExecutionProvider"])

    def __call__(self, image: Image) -> Word:
        """What it says of uint8 ``[h, w, 3]`` BGR, the sides multiples of 32."""
        tensor = np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)
        values = self._session.run([*self._outputs, *self._features], {self._session.get_inputs()[0].name: tensor})
        boxes, scores, _ = decode_yunet(dict(zip(self._outputs, values, strict=False)), *image.shape[:2])
        return Word(scores, boxes, [value[0] for value in values[len(self._outputs) :]])


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
