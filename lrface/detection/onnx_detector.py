"""A face detector that is an ONNX graph: scale, pad, run, decode, merge, refine the landmarks, in source pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from lrface.detection.decode import Decoded, Decoder
from lrface.detection.input_tensor import InputSpec
from lrface.detection.landmark_refinement import ITERATIONS
from lrface.detection.pyramid import (
    EVERYWHERE,
    MIN_FACE,
    TILE,
    View,
    can_miss_larger,
    plan_pyramid,
    working_scale,
    working_size,
)
from lrface.detection.suppression import NMS_IOU, VOTED_NMS_IOU, nested_false_positives, suppress, vote_boxes
from lrface.errors import ArgumentError, ModelError
from lrface.models.manifest import PyramidSettings
from lrface.models.sessions import describe
from lrface.types import Array, Detections, FloatArray, ImageArray

if TYPE_CHECKING:
    from lrface.detection.landmark_refinement import LandmarkRefiner
    from lrface.models.onnxruntime_session import Session

RUN_PIXELS = 1 << 20
"""Views of one size are run together up to so many working pixels, to bound the memory."""
MAX_CANDIDATES = 2000


@dataclass(frozen=True, slots=True)
class _ViewPixels:
    """A view with its pixels.

    Attributes:
        picture: Number of its picture in the batch.
        view: Where it lies.
        pixels: uint8 [h, w, 3], BGR; it may be smaller than the view, at the right and below.
        ratio: float32 [2], working pixels per source pixel after rounding, across and down.
    """

    picture: int
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
        min_face: Height in source pixels of the smallest face to be found, 4 or more; it sets the working scale, see
            `pyramid.working_scale`. Time grows with 1 / min_face squared.
        pyramid: How to search for large faces at coarser scales; None for a detector that finds them at one scale.
        box_voting: Whether suppressed candidates contribute to boxes and landmarks; see `suppression.vote_boxes`.
        refiner: Refines the landmarks of each face.
        tile: Pixels; see `pyramid.plan_pyramid`.

    Raises:
        ArgumentError: `min_face` is below 4 or not finite, or `score_threshold` is not in 0..1.
    """

    def __init__(
        self,
        session: Session,
        decode: Decoder,
        spec: InputSpec,
        score_threshold: float,
        *,
        min_face: float | None = None,
        pyramid: PyramidSettings | None = None,
        box_voting: bool = False,
        refiner: LandmarkRefiner | None = None,
        tile: int = TILE,
    ) -> None:
        if min_face is not None and not MIN_FACE <= min_face < math.inf:
            raise ArgumentError(f"min_face {min_face}: give {MIN_FACE:.0f} pixels or more, or None")
        if not 0 <= score_threshold <= 1:
            raise ArgumentError(f"score_threshold {score_threshold}: give a score in 0..1, or None for the model's own")
        self._session = session
        given = session.get_inputs()[0]
        self._input = given.name
        self._batched = not isinstance(given.shape[0], int)
        self._outputs = [output.name for output in session.get_outputs()]
        self._decode = decode
        self._spec = spec
        self.score_threshold = score_threshold
        self.min_face = min_face
        self.pyramid = None if spec.fixed else pyramid
        self.box_voting = box_voting
        self.refiner = refiner
        self.tile = spec.fixed or tile

    @property
    def runs_on(self) -> str:
        """Device and precision, in words."""
        return describe(self._session)

    def detect(self, image: ImageArray) -> Detections:
        """Finds the faces of one picture.

        Args:
            image: uint8 [h, w, 3], BGR.

        Returns:
            Detections in pixels of `image`, by falling score.

        Raises:
            ModelError: The graph fails on this input, or its outputs have wrong shapes or values that are not finite.
        """
        return self.detect_batch([image])[0]

    def detect_batch(self, images: Sequence[ImageArray]) -> list[Detections]:
        """Finds the faces of several pictures; those of one size go through the graph together.

        Args:
            images: uint8 [h, w, 3], BGR, each.

        Returns:
            What `detect` gives for each (except for rounding in the last digits).

        Raises:
            ModelError: As for `detect`.
        """
        every = self._unrefined(images)
        return (
            every if self.refiner is None else [self.refiner.refine(*each) for each in zip(images, every, strict=True)]
        )

    def detect_roughly(self, image: ImageArray) -> Detections:
        """As `detect`, but landmarks are refined in the first pass only; `refine_further` goes on from there.

        Args:
            image: uint8 [h, w, 3], BGR.

        Raises:
            ModelError: As for `detect`.
        """
        found = self._unrefined([image])[0]
        return found if self.refiner is None else self.refiner.refine(image, found, 1)

    def refine_further(self, image: ImageArray, found: Detections) -> Detections:
        """Faces of `detect_roughly` with the landmarks that `detect` gives.

        Args:
            image: As given to `detect_roughly`.
            found: All or some of its faces.

        Raises:
            ModelError: As for `detect`.
        """
        return found if self.refiner is None else self.refiner.refine(image, found, ITERATIONS - 1)

    def _unrefined(self, images: Sequence[ImageArray]) -> list[Detections]:
        found: list[list[Decoded]] = [[] for _ in images]
        pyramids = [self._plan(*image.shape[:2]) for image in images]
        sources = list(images)
        pictures, depth = list(range(len(images))), 0
        while pictures:
            larger: set[int] = set()  # pictures in which something looks like a part of a larger face
            waiting: dict[tuple[int, int], list[_ViewPixels]] = {}
            for picture in pictures:
                image, level = images[picture], pyramids[picture][depth]
                work = _resized(sources[picture], working_size(image.shape[0], image.shape[1], level[0].scale))
                if work.size < image.size:
                    sources[picture] = work  # of the next level: the mean of means is the mean, for less time
                for view in _with_pixels(picture, image, work, level):
                    shape = self._spec.padded(view.view.height, view.view.width)
                    together = waiting.setdefault(shape, [])
                    together.append(view)
                    if (len(together) + 1) * shape[0] * shape[1] > RUN_PIXELS:
                        larger |= self._run(waiting.pop(shape), shape, found)
            for shape, together in waiting.items():
                larger |= self._run(together, shape, found)
            depth += 1
            pictures = [
                picture
                for picture in pictures
                if depth < len(pyramids[picture])
                and (picture in larger or can_miss_larger(pyramids[picture][depth - 1], self.pyramid))
            ]
        return [self._merge_views(image, parts) for image, parts in zip(images, found, strict=True)]

    def _plan(self, height: int, width: int) -> list[list[View]]:
        scale = working_scale(height, width, self.min_face, self._spec.fixed)
        return plan_pyramid(height, width, scale, self.tile, self._spec.multiple, self.pyramid)

    def _run(self, views: list[_ViewPixels], shape: tuple[int, int], found: list[list[Decoded]]) -> set[int]:
        """Adds the candidates of some views of one shape to those of their pictures, in source pixels.

        Returns:
            The pictures in which something looks like a part of a larger face.
        """
        larger: set[int] = set()
        for batch in [views] if self._batched else [[view] for view in views]:
            values = self._outputs_of(self._spec.tensor([view.pixels for view in batch], shape), len(batch))
            for row, view in enumerate(batch):
                own = (value[row : row + 1] if self._batched else value for value in values)
                decoded = self._decode(dict(zip(self._outputs, own, strict=True)), *shape)
                found[view.picture].append(self._in_source(view, decoded))
                if self._shows_larger(decoded):
                    larger.add(view.picture)
        return larger

    def _outputs_of(self, tensor: FloatArray, count: int) -> list[Array]:
        """Runs the graph on a batch of `count` views."""
        try:
            values: list[Array] = self._session.run(self._outputs, {self._input: tensor})
        except Exception as error:  # onnxruntime's own exceptions share no base but Exception
            raise ModelError(f"the detector failed on a {tensor.shape} input ({error}): use another model") from error
        if self._batched and any(len(value) != count for value in values):
            shapes = [value.shape for value in values]
            raise ModelError(f"the detector gave outputs {shapes} for {count} pictures: use another model")
        return values

    def _shows_larger(self, decoded: Decoded) -> bool:
        """Whether a candidate may be a part of a larger face than this level shows."""
        early_exit = self.pyramid.early_exit if self.pyramid else None
        if early_exit is None:
            return False
        boxes, scores, _ = decoded
        likely = np.flatnonzero(scores >= early_exit.score)
        return bool((boxes[likely, 3] - boxes[likely, 1] >= early_exit.height).any())

    def _in_source(self, part: _ViewPixels, decoded: Decoded) -> Decoded:
        """The candidates above the threshold that belong to a view, in source pixels."""
        boxes, scores, landmarks = decoded
        view = part.view
        found = np.flatnonzero(scores >= self.score_threshold)
        if not (np.isfinite(scores).all() and np.isfinite(boxes[found]).all() and np.isfinite(landmarks[found]).all()):
            raise ModelError("the detector gave values that are not finite: use another model or device")
        tall = boxes[found, 3] - boxes[found, 1]
        found = found[(tall >= view.min_height) & (tall < view.max_height)]
        corner: FloatArray = np.array([view.x, view.y], np.float32)
        # a box is two points more; few numpy calls, for they cost more than what they do here
        points = np.concatenate([boxes[found].reshape(-1, 2, 2), landmarks[found]], axis=1) + corner
        if view.core != EVERYWHERE:
            centre = points[:, :2].mean(axis=1)
            own = ((centre >= view.core[:2]) & (centre < view.core[2:])).all(axis=1)
            found, points = found[own], points[own]
        if len(found) > MAX_CANDIDATES:
            best = np.argsort(-scores[found], kind="stable")[:MAX_CANDIDATES]
            found, points = found[best], points[best]
        points = np.divide(points, part.ratio)
        return points[:, :2].reshape(-1, 4), scores[found], points[:, 2:]

    def _merge_views(self, image: ImageArray, parts: list[Decoded]) -> Detections:
        """One suppression over all views of a picture."""
        height, width = image.shape[:2]
        boxes, scores, landmarks = (np.concatenate(values) for values in zip(*parts, strict=True))
        kept = suppress(boxes, scores, VOTED_NMS_IOU if self.box_voting else NMS_IOU)
        kept = kept[~nested_false_positives(boxes[kept], scores[kept])]
        if self.box_voting:
            box, points = vote_boxes(kept, boxes, scores, landmarks)
        else:
            box, points = boxes[kept], landmarks[kept]
        box = np.clip(box, 0, [width, height, width, height])
        solid = (box[:, 2:] - box[:, :2] >= 1).all(axis=1)
        return Detections.from_arrays(box[solid], scores[kept[solid]], points[solid])


def _resized(image: ImageArray, size: tuple[int, int]) -> ImageArray:
    """A picture at this height and width; itself if it has them already."""
    height, width = image.shape[:2]
    if (height, width) == size:
        return image
    method = cv2.INTER_AREA if size[0] * size[1] < height * width else cv2.INTER_LINEAR
    if (height, width) == (4 * size[0], 4 * size[1]):
        image = _resized(image, (2 * size[0], 2 * size[1]))  # two halvings are faster than one quartering
    return cv2.resize(image, size[::-1], interpolation=method).astype(np.uint8, copy=False)


def _with_pixels(picture: int, image: ImageArray, work: ImageArray, level: list[View]) -> Iterator[_ViewPixels]:
    """The views of a level with their pixels, out of the picture at the level's scale."""
    ratio: FloatArray = np.array([work.shape[1] / image.shape[1], work.shape[0] / image.shape[0]], np.float32)
    for view in level:
        yield _ViewPixels(picture, view, work[view.y : view.y + view.height, view.x : view.x + view.width], ratio)
