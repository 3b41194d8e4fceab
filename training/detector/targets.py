"""What each cell of the grids is to say: the teacher's own word on the same view, corrected by what is known of it.

YuNet has the student's three grids, so its score of every cell can be taught as it is (Hinton et al., 2015; the same
view for both: Beyer et al., CVPR 2022). That leaves no assignment to search for, and tells the student how face-like a
half hidden face is. Its features go along, a hint for every cell, of the background too (FitNets, Romero et al., 2015):
few pictures say much that way. But YuNet sees one scale only and errs, so
- the cells of a known face are scaled up until the best says how sure the labels are, which know larger views;
- a known face that it misses is taught to the cell in its middle;
- outside of known faces and of regions of which nothing is known, its word does not count: there is no face.
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

LEAST = 0.1  # a teacher's cell of a lower score speaks for no face
OVERLAP = 0.4  # of a teacher's box with a face's, from which on its cell speaks for that face
MISSED = 0.15  # a face whose best cell has a lower score has been missed
LIMITS = (32.0, 96.0)  # px; a face that the teacher misses goes to stride 8 below the first, to 32 above the second
HINT = 64  # channels of YuNet's features
REGION_SIDE = 12.0  # px; a region of which nothing is known is at least so large, and a quarter larger than its box


@dataclass(frozen=True)
class Targets:
    """Of the cells of one view, in the order of ``cell_centres``.

    Attributes:
        scores: float32 ``[N]``, 0..1.
        face: int64 ``[N]``, row of the labels whose box and landmarks the cell learns, -1 for none.
    """

    scores: Floats
    face: npt.NDArray[np.int64]


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


def cell_targets(labels: Labels, word: Word, height: int, width: int) -> Targets:
    """Bring the labels and the teacher together.

    Args:
        labels: of the view, in pixels.
        word: the teacher's.
        height: of the view, pixels, a multiple of 32.
        width: likewise.
    """
    scores, boxes = word.scores, word.boxes
    target = np.where(_unknown(labels.boxes[labels.ignored], height, width), scores, np.float32(0))
    face = np.full(len(scores), -1, np.int64)
    known = np.flatnonzero(~labels.ignored)
    peak = np.zeros(len(known), np.float32)
    spoken = np.flatnonzero(scores >= LEAST)
    if len(known) and len(spoken):
        overlap = box_iou(boxes[spoken], labels.boxes[known])
        own = overlap.max(axis=1) >= OVERLAP
        cells, row = spoken[own], overlap.argmax(axis=1)[own]
        np.maximum.at(peak, row, scores[cells])
        raised = np.maximum(1.0, labels.sure[known][row] / peak[row])
        found = peak[row] >= MISSED
        target[cells[found]] = np.minimum(1.0, scores[cells] * raised)[found]
        face[cells[found]] = known[row[found]]
    for missed in known[peak < MISSED]:
        cell = _middle_cell(labels.boxes[missed], height, width)
        target[cell], face[cell] = max(target[cell], labels.sure[missed]), missed
    return Targets(target, face)


def _middle_cell(box: Floats, height: int, width: int) -> int:
    level = int(np.searchsorted(LIMITS, box[3] - box[1], side="right"))
    first = sum((height // s) * (width // s) for s in STRIDES[:level])
    stride = STRIDES[level]
    x, y = ((box[:2] + box[2:]) / 2 / stride).astype(int)
    columns = width // stride
    return first + min(max(y, 0), height // stride - 1) * columns + min(max(x, 0), columns - 1)


def _unknown(regions: Floats, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Cells whose centre lies in a region, bool ``[N]``."""
    middle = (regions[:, :2] + regions[:, 2:]) / 2
    half = np.maximum((regions[:, 2:] - regions[:, :2]) * 1.25, REGION_SIDE) / 2
    low, high = middle - half, middle + half
    masks = []
    for stride in STRIDES:
        mask = np.zeros((height // stride, width // stride), bool)
        # cells whose centre (i + 1/2) * stride is within
        first = np.maximum(np.ceil(low / stride - 0.5), 0).astype(int)
        last = np.maximum(np.floor(high / stride - 0.5) + 1, 0).astype(int)
        for (x1, y1), (x2, y2) in zip(first, last, strict=True):
            mask[y1:y2, x1:x2] = True
        masks.append(mask.reshape(-1))
    return np.concatenate(masks)
