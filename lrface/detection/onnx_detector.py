"""A face detector that is an ONNX graph: scale, pad, run, decode, suppress, refine, back to source pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from lrface.detection.decode import Decoded, Decoder
from lrface.detection.suppression import NMS_IOU, VOTED_NMS_IOU, parts_of_faces, suppress, vote
from lrface.detection.views import EVERYWHERE, HINT, HINTED, TILE, View, hides_larger, plan_looks, working_size
from lrface.errors import ModelError
from lrface.types import Detections, FloatArray, ImageArray

if TYPE_CHECKING:
    import onnxruntime

    from lrface.detection.refine import LandmarkRefiner

SHORT_SIDE, LONG_SIDE = 640, 1920
"""Of a picture without `min_face`: its long side is brought between these, as far as enlarging twice goes."""
SMALLEST = 8.0
"""Height in working pixels of the smallest face that a detector is expected to find."""
MIN_FACE = 4.0
"""Smallest `min_face`: pictures are enlarged twice at most, which still finds more faces."""
RUN_PIXELS = 1 << 20
"""Views of one size are run together up to so many working pixels, to bound the memory."""
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


@dataclass(frozen=True, slots=True)
class _Part:
    """A view with its pixels.

    Attributes:
        owner: Number of its picture.
        view: Where it lies.
        pixels: uint8 [h, w, 3], BGR; it may be smaller than the view, at the right and below.
        ratio: float32 [2], working pixels per source pixel that came of rounding, across and down.
    """

    owner: int
    view: View
    pixels: ImageArray
    ratio: FloatArray


class OnnxDetector:
    """Detects faces with an ONNX graph, in pictures of any size.

    Args:
        session: The opened graph.
        decode: From its outputs to candidates.
        spec: How pixels become its input.
        score_threshold: Candidates below it are dropped, 0..1.
        min_face: Height in source pixels of the smallest face to be found, 4 or more; it sets the working scale, and
            a picture that is then larger than `views.TILE` is searched in tiles. Time goes with 1 / min_face squared.
            None: pictures in their own size, faces from 8 px; those of more than 1,920 px shrunk to that, those of less
            than 640 px enlarged to that, twice at most.
        quarters: Whether to look for large faces at a quarter of the scale, and so on, where there may be some; see
            `views`.
        votes: Whether what is suppressed has a say in the boxes and landmarks; see `suppression.vote`.
        refiner: Looks at each face once more for its landmarks.
        tile: Pixels; see `views.plan_looks`.

    Raises:
        ModelError: `min_face` is below 4.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        decode: Decoder,
        spec: InputSpec,
        score_threshold: float,
        *,
        min_face: float | None = None,
        quarters: bool = False,
        votes: bool = False,
        refiner: LandmarkRefiner | None = None,
        tile: int = TILE,
    ) -> None:
        if min_face is not None and not min_face >= MIN_FACE:
            raise ModelError(f"min_face {min_face}: give {MIN_FACE:.0f} pixels or more, or None")
        self._session = session
        given = session.get_inputs()[0]
        self._input = given.name
        self._batched = not isinstance(given.shape[0], int)
        self._outputs = [output.name for output in session.get_outputs()]
        self._decode = decode
        self._spec = spec
        self.score_threshold = score_threshold
        self.min_face = min_face
        self.quarters = quarters and not spec.fixed
        self.votes = votes
        self.refiner = refiner
        self.tile = spec.fixed or tile

    def detect(self, image: ImageArray) -> Detections:
        """Finds the faces of one picture.

        Args:
            image: uint8 [h, w, 3], BGR.

        Returns:
            Detections in pixels of `image`, by falling score.

        Raises:
            ModelError: The graph fails on this input or its outputs are not what they should be.
        """
        return self.detect_batch([image])[0]

    def detect_batch(self, images: Sequence[ImageArray]) -> list[Detections]:
        """Finds the faces of several pictures; those of one size go through the graph together.

        Args:
            images: uint8 [h, w, 3], BGR, each.

        Returns:
            What `detect` gives for each (but for rounding in the last digits).

        Raises:
            ModelError: The graph fails on this input or its outputs are not what they should be.
        """
        found: list[list[Decoded]] = [[] for _ in images]
        plans = [self._plan(*image.shape[:2]) for image in images]
        sources = list(images)
        owners, depth = list(range(len(images))), 0
        while owners:
            hinting: set[int] = set()
            waiting: dict[tuple[int, int], list[_Part]] = {}
            for owner in owners:
                image, look = images[owner], plans[owner][depth]
                work = _resized(sources[owner], working_size(image.shape[0], image.shape[1], look[0].scale))
                if work.size < image.size:
                    sources[owner] = work  # of the next look: the mean of means is the mean, for less time
                for part in _parts(owner, image, work, look):
                    shape = self._shape(part.view)
                    together = waiting.setdefault(shape, [])
                    together.append(part)
                    if (len(together) + 1) * shape[0] * shape[1] > RUN_PIXELS:
                        hinting |= self._run(waiting.pop(shape), shape, found)
            for shape, together in waiting.items():
                hinting |= self._run(together, shape, found)
            depth += 1
            owners = [
                owner
                for owner in owners
                if depth < len(plans[owner]) and (owner in hinting or hides_larger(plans[owner][depth - 1]))
            ]
        return [self._settled(image, parts) for image, parts in zip(images, found, strict=True)]

    def _plan(self, height: int, width: int) -> list[list[View]]:
        scale = self._scale(max(height, width))
        return plan_looks(height, width, scale, self.tile, self._spec.multiple, self.quarters)

    def _scale(self, long_side: int) -> float:
        """Working pixels per pixel of a picture with this long side."""
        if self.min_face is not None:
            return SMALLEST / self.min_face
        if self._spec.fixed:
            return self._spec.fixed / long_side
        return min(max(1.0, min(SMALLEST / MIN_FACE, SHORT_SIDE / long_side)), LONG_SIDE / long_side)

    def _shape(self, view: View) -> tuple[int, int]:
        """Height and width of the graph's input for a view."""
        side, multiple = self._spec.fixed, self._spec.multiple
        return side or -(-view.height // multiple) * multiple, side or -(-view.width // multiple) * multiple

    def _run(self, parts: list[_Part], shape: tuple[int, int], found: list[list[Decoded]]) -> set[int]:
        """Puts the candidates of some views of one shape to those of their pictures, in source pixels.

        Returns:
            The owners of views with a hint of a large face.
        """
        hinting: set[int] = set()
        for batch in [parts] if self._batched else [[part] for part in parts]:
            tensor = self.prepare([part.pixels for part in batch], shape)
            try:
                values = self._session.run(self._outputs, {self._input: tensor})
                for row, part in enumerate(batch):
                    own = (value[row : row + 1] if self._batched else value for value in values)
                    outputs = dict(zip(self._outputs, own, strict=True))
                    decoded = self._decode(outputs, *shape)
                    found[part.owner].append(self._in_source(part, decoded))
                    if _hints(decoded):
                        hinting.add(part.owner)
            except Exception as error:  # onnxruntime's own exceptions share no base but Exception
                raise ModelError(
                    f"the detector failed on a {tensor.shape} input ({error}): use another model"
                ) from error
        return hinting

    def prepare(self, pictures: Sequence[ImageArray], shape: tuple[int, int]) -> FloatArray:
        """The graph's input.

        Args:
            pictures: uint8 [h, w, 3], BGR, each; padded with black at the right and below.
            shape: Height and width wanted.

        Returns:
            float32 [n, 3, height, width].
        """
        tensor: FloatArray = np.empty((len(pictures), 3, *shape), np.float32)
        for planes, picture in zip(tensor, pictures, strict=True):
            height, width = picture.shape[:2]
            planes[:, height:] = 0
            planes[:, :height, width:] = 0
            channels = cv2.split(picture)  # contiguous: twice as fast to convert
            if self._spec.channels == "RGB":
                channels = channels[::-1]
            for plane, channel in zip(planes, channels, strict=True):
                plane[:height, :width] = channel
        if self._spec.mean != 0.0 or self._spec.scale != 1.0:
            tensor = (tensor - np.float32(self._spec.mean)) * np.float32(self._spec.scale)
        return tensor

    def _in_source(self, part: _Part, decoded: Decoded) -> Decoded:
        """The candidates above the threshold that belong to a view, in source pixels."""
        boxes, scores, landmarks = decoded
        view = part.view
        found = np.flatnonzero(scores >= self.score_threshold)
        tall = boxes[found, 3] - boxes[found, 1]
        found = found[(tall >= view.least) & (tall < view.most)]
        corner: FloatArray = np.array([view.x, view.y], np.float32)
        # a box is two points more; few numpy calls, for they cost more than what they do here
        points = np.concatenate([boxes[found].reshape(-1, 2, 2), landmarks[found]], axis=1) + corner
        if view.part != EVERYWHERE:
            middle = points[:, :2].mean(axis=1)
            own = ((middle >= view.part[:2]) & (middle < view.part[2:])).all(axis=1)
            found, points = found[own], points[own]
        if len(found) > MAX_CANDIDATES:
            best = np.argsort(-scores[found], kind="stable")[:MAX_CANDIDATES]
            found, points = found[best], points[best]
        points = np.divide(points, part.ratio)
        return points[:, :2].reshape(-1, 4), scores[found], points[:, 2:]

    def _settled(self, image: ImageArray, parts: list[Decoded]) -> Detections:
        """One suppression over all views of a picture; the landmarks of what is left are refined."""
        height, width = image.shape[:2]
        boxes, scores, landmarks = (np.concatenate(values) for values in zip(*parts, strict=True))
        kept = suppress(boxes, scores, VOTED_NMS_IOU if self.votes else NMS_IOU)
        kept = kept[~parts_of_faces(boxes[kept], scores[kept])]
        box, points = vote(kept, boxes, scores, landmarks) if self.votes else (boxes[kept], landmarks[kept])
        box = np.clip(box, 0, [width, height, width, height])
        solid = (box[:, 2:] - box[:, :2] >= 1).all(axis=1)
        found = Detections.from_arrays(box[solid], scores[kept[solid]], points[solid])
        return found if self.refiner is None else self.refiner.refine(image, found)


def _resized(image: ImageArray, size: tuple[int, int]) -> ImageArray:
    """A picture of this height and width; itself if it is so already."""
    height, width = image.shape[:2]
    if (height, width) == size:
        return image
    method = cv2.INTER_AREA if size[0] * size[1] < height * width else cv2.INTER_LINEAR
    if (height, width) == (4 * size[0], 4 * size[1]):
        image = _resized(image, (2 * size[0], 2 * size[1]))  # likewise
    return cv2.resize(image, size[::-1], interpolation=method).astype(np.uint8, copy=False)


def _parts(owner: int, image: ImageArray, work: ImageArray, look: list[View]) -> Iterator[_Part]:
    """The views of a look with their pixels, of a picture and of what it is at the look's scale."""
    ratio: FloatArray = np.array([work.shape[1] / image.shape[1], work.shape[0] / image.shape[0]], np.float32)
    for view in look:
        yield _Part(owner, view, work[view.y : view.y + view.height, view.x : view.x + view.width], ratio)


def _hints(decoded: Decoded) -> bool:
    """Whether there may be a large face."""
    boxes, scores, _ = decoded
    seen = np.flatnonzero(scores >= HINT)
    return bool((boxes[seen, 3] - boxes[seen, 1] >= HINTED).any())
