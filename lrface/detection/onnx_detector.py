"""A face detector that is an ONNX graph: scale, pad, run, decode, suppress, back to source pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from lrface.detection.decode import Decoded, Decoder
from lrface.errors import ModelError
from lrface.types import Array, Detections, FloatArray, ImageArray

if TYPE_CHECKING:
    import onnxruntime

LONG_SIDE = 1920
SECOND_LOOK = 512
SECOND_LOOK_FACE = 128
NMS_IOU = 0.45
MAX_CANDIDATES = 2000


@dataclass(frozen=True, slots=True)
class InputSpec:
    """How a picture becomes the graph's tensor.

    Attributes:
        channels: "BGR" or "RGB".
        mean: Grey levels, 0..255.
        scale: Applied after the mean.
        multiple: Height and width are padded to multiples of it.
        fixed: The only side (pixels, square) that the graph takes, or None.
    """

    channels: str = "BGR"
    mean: float = 0.0
    scale: float = 1.0
    multiple: int = 32
    fixed: int | None = None


class OnnxDetector:
    """Detects faces with an ONNX graph.

    A picture is looked at in its own size, or shrunk so that its long side is `long_side`; it is never enlarged (faces
    of 8 px are found as they are, and a larger picture costs time by its area). With `second_look`, a working picture
    whose long side is 512 px or more is looked at once more at a quarter of that, for a sixteenth of the time, and
    faces of 128 working pixels and more are taken from there too: these have, so shrunk, the size that the detector was
    trained for. Both looks' candidates go through one suppression.

    Args:
        session: The opened graph.
        decode: From its outputs to candidates.
        spec: How pixels become its input.
        score_threshold: Candidates below it are dropped, 0..1.
        long_side: Pixels; the limit of the working picture.
        second_look: See above.
        nms_iou: Of two candidates that overlap by more, the weaker is dropped.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        decode: Decoder,
        spec: InputSpec,
        score_threshold: float,
        long_side: int = LONG_SIDE,
        second_look: bool = False,
        nms_iou: float = NMS_IOU,
    ) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name
        self._outputs = [output.name for output in session.get_outputs()]
        self._decode = decode
        self._spec = spec
        self.score_threshold = score_threshold
        self.long_side = spec.fixed or long_side
        self.second_look = second_look and not spec.fixed
        self.nms_iou = nms_iou

    def detect(self, image: ImageArray) -> Detections:
        """Finds the faces of one picture.

        Args:
            image: uint8 [h, w, 3], BGR.

        Returns:
            Detections in pixels of `image`, by falling score.

        Raises:
            ModelError: The graph fails on this input or its outputs are not what they should be.
        """
        height, width = image.shape[:2]
        scale = self.long_side / max(height, width)
        if self._spec.fixed is None:
            scale = min(1.0, scale)
        boxes, scores, landmarks = self._look(image, scale)
        if self.second_look and max(height, width) * scale >= SECOND_LOOK:
            again = self._look(image, scale / 4)
            large = (again[0][:, 3] - again[0][:, 1]) * scale >= SECOND_LOOK_FACE
            boxes = np.concatenate([boxes, again[0][large]])
            scores = np.concatenate([scores, again[1][large]])
            landmarks = np.concatenate([landmarks, again[2][large]])
        kept = suppress(boxes, scores, self.nms_iou)
        clipped = np.clip(boxes[kept], 0, [width, height, width, height])
        solid = (clipped[:, 2:] - clipped[:, :2] >= 1).all(axis=1)
        kept = kept[solid]
        return Detections.from_arrays(clipped[solid], scores[kept], landmarks[kept])

    def _look(self, image: ImageArray, scale: float) -> Decoded:
        """The candidates above the threshold, in pixels of `image`, seen at `scale` working pixels per pixel."""
        tensor, fx, fy = self.prepare(image, scale)
        try:
            values = self._session.run(self._outputs, {self._input: tensor})
            boxes, scores, landmarks = self._decode(
                dict(zip(self._outputs, values, strict=True)), tensor.shape[2], tensor.shape[3]
            )
        except Exception as error:  # onnxruntime's own exceptions share no base but Exception
            raise ModelError(f"the detector failed on a {tensor.shape} input ({error}): use another model") from error
        found = np.flatnonzero(scores >= self.score_threshold)
        if len(found) > MAX_CANDIDATES:
            found = found[np.argsort(-scores[found], kind="stable")[:MAX_CANDIDATES]]
        size: FloatArray = np.array([fx, fy], np.float32)
        return np.divide(boxes[found], np.tile(size, 2)), scores[found], np.divide(landmarks[found], size)

    def prepare(self, image: ImageArray, scale: float) -> tuple[FloatArray, float, float]:
        """The working picture.

        Args:
            image: uint8 [h, w, 3], BGR.
            scale: Wanted working pixels per source pixel.

        Returns:
            float32 [1, 3, h, w], padded with black at the right and below, and the working pixels per source pixel
            that came of rounding, across and down.
        """
        height, width = image.shape[:2]
        work: Array = image
        if scale != 1.0:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            work = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        side = self._spec.fixed
        multiple = self._spec.multiple
        rows = side or -(-work.shape[0] // multiple) * multiple
        columns = side or -(-work.shape[1] // multiple) * multiple
        canvas = np.zeros((rows, columns, 3), np.uint8)
        canvas[: work.shape[0], : work.shape[1]] = work
        if self._spec.channels == "RGB":
            canvas = canvas[..., ::-1]
        tensor = canvas.transpose(2, 0, 1)[None].astype(np.float32)
        if self._spec.mean != 0.0 or self._spec.scale != 1.0:
            tensor = (tensor - np.float32(self._spec.mean)) * np.float32(self._spec.scale)
        return np.ascontiguousarray(tensor), work.shape[1] / width, work.shape[0] / height


def suppress(boxes: FloatArray, scores: FloatArray, iou: float) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Greedy non-maximum suppression.

    Args:
        boxes: float32 [n, 4], x1, y1, x2, y2.
        scores: float32 [n].
        iou: Of two boxes with a larger intersection over union, the one with the lower score is dropped.

    Returns:
        Indices [k] of the kept boxes.
    """
    if len(boxes) == 0:
        return np.zeros(0, np.intp)
    sized = boxes.astype(np.float64)
    sized[:, 2:] -= sized[:, :2]
    kept = cv2.dnn.NMSBoxes(sized.tolist(), scores.astype(np.float64).tolist(), 0.0, iou)
    return np.asarray(kept, np.intp).reshape(-1)
