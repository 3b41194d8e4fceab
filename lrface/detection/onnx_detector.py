"""A face detector that is an ONNX graph: scale, pad, run, decode, suppress, back to source pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from lrface.detection.decode import Decoder
from lrface.errors import ModelError
from lrface.types import Detections, FloatArray, ImageArray

if TYPE_CHECKING:
    import onnxruntime

LONG_SIDE = 1280
NMS_IOU = 0.45
MAX_CANDIDATES = 5000


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

    A picture is worked on at its own size, or shrunk so that its long side is `long_side`; it is never enlarged
    (faces of 8 px are found at their own scale, and a larger picture costs time by its area).

    Args:
        session: The opened graph.
        decode: From its outputs to candidates.
        spec: How pixels become its input.
        score_threshold: Candidates below it are dropped, 0..1.
        long_side: Pixels; the working picture's limit.
        nms_iou: Of two candidates that overlap by more, the weaker is dropped.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        decode: Decoder,
        spec: InputSpec,
        score_threshold: float,
        long_side: int = LONG_SIDE,
        nms_iou: float = NMS_IOU,
    ) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name
        self._outputs = [output.name for output in session.get_outputs()]
        self._decode = decode
        self._spec = spec
        self.score_threshold = score_threshold
        self.long_side = spec.fixed or long_side
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
        tensor, scale = self.prepare(image)
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
        boxes, scores, landmarks = boxes[found], scores[found], landmarks[found]
        kept = suppress(boxes, scores, self.nms_iou)
        height, width = image.shape[:2]
        clipped = np.clip(boxes[kept] / scale, 0, [width, height, width, height])
        solid = (clipped[:, 2] - clipped[:, 0] >= 1) & (clipped[:, 3] - clipped[:, 1] >= 1)
        kept = kept[solid]
        return Detections.from_arrays(clipped[solid], scores[kept], landmarks[kept] / scale)

    def prepare(self, image: ImageArray) -> tuple[FloatArray, float]:
        """The working picture.

        Returns:
            float32 [1, 3, h, w], padded with black at the right and below, and working pixels per source pixel.
        """
        height, width = image.shape[:2]
        scale = self.long_side / max(height, width)
        if self._spec.fixed is None:
            scale = min(1.0, scale)
        work = image
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
        return np.ascontiguousarray(tensor), scale


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
