"""What each cell of the grids is to say: the teacher's own word on the same view, corrected by what is known of it.

YuNet has the student's three grids, so its score of every cell can be taught as it is (Hinton et al., 2015; the same
view for both: Beyer et al., CVPR 2022). That leaves no assignment to search for, and tells the student how face-like a
half hidden face is. But YuNet sees one scale only and errs, so
- the cells of a known face are scaled up until the best says how sure the labels are, which know larger views;
- a known face that it misses is taught to the cell in its middle;
- outside of known faces and of regions of which nothing is known, its word does not count: there is no face;
- in a view of which nothing is known it is also asked for the small faces, which it sees better enlarged.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lrface.detection import open_detector
from lrface.detection.decode import decode_yunet
from lrface.metrics.average_precision import box_iou
from lrface.session import open_session
from training.detector.network import STRIDES
from training.detector.scenes import NEW, Floats, Image, Labels

LEAST = 0.1  # a teacher's cell of a lower score speaks for no face
OVERLAP = 0.4  # of a teacher's box with a face's, from which on its cell speaks for that face
MISSED = 0.15  # a face whose best cell has a lower score has been missed
LIMITS = (32.0, 96.0)  # px; a face that the teacher misses goes to stride 8 below the first, to 32 above the second
SMALLEST_FOUND = 16 / 3  # px; the teacher, asked for faces as small as this, looks at a view enlarged by a half ...
SMALL = 40.0  # px; ... for faces up to this height: what is larger may be an eye or a mouth
KNOWN = 0.3  # overlap with a known face from which on a sighting is that face
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
    """

    scores: Floats
    boxes: Floats


class AsksTeacher(Protocol):
    """What the training asks of a teacher; images are uint8 ``[h, w, 3]`` BGR, the sides multiples of 32."""

    def word(self, image: Image) -> Word:
        """What it says of each cell."""
        ...

    def small_faces(self, image: Image) -> Labels:
        """The faces of up to ``SMALL`` pixels that it finds when the image is enlarged, without landmarks."""
        ...


class Teacher:
    """YuNet's word on every cell.

    Args:
        model: its ONNX file, with dynamic sides.
    """

    def __init__(self, model: Path) -> None:
        self._session = open_session(model, None)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._finder = open_detector(model, score_threshold=NEW, min_face=SMALLEST_FOUND)

    def word(self, image: Image) -> Word:
        """See ``AsksTeacher``."""
        tensor = np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)
        values = self._session.run(self._outputs, {self._session.get_inputs()[0].name: tensor})
        boxes, scores, _ = decode_yunet(dict(zip(self._outputs, values, strict=True)), *image.shape[:2])
        return Word(scores, boxes)

    def small_faces(self, image: Image) -> Labels:
        """See ``AsksTeacher``."""
        found = self._finder.detect(image)
        boxes = np.clip(found.boxes, 0, np.tile(image.shape[1::-1], 2).astype(np.float32))
        no = np.zeros(len(found), bool)
        labels = Labels(boxes, found.landmarks, no, no, found.scores)
        return labels[boxes[:, 3] - boxes[:, 1] <= SMALL]


def seen_closer(labels: Labels, image: Image, teacher: AsksTeacher) -> Labels:
    """The labels of a view and, if nothing is known of it as a whole, the small faces that the teacher finds.

    Args:
        labels: of the view.
        image: the view, uint8 ``[side, side, 3]``.
        teacher: whom to ask.
    """
    spans = labels.boxes[labels.ignored]
    if not ((spans[:, :2] <= 0) & (spans[:, 2:] >= len(image))).all(axis=1).any():
        return labels
    found, known = teacher.small_faces(image), labels.boxes[~labels.ignored]
    if len(found) and len(known):
        found = found[box_iou(found.boxes, known).max(axis=1) < KNOWN]
    return Labels.joined([labels, found])


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
