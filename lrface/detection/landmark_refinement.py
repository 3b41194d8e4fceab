"""Landmark refinement: the five landmarks of each face again, from a crop around those that the detector found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lrface.alignment import CROP, TEMPLATE, estimate_similarities, estimate_similarity, warp_crop
from lrface.errors import ModelError
from lrface.geometry import inverse_transform_points, transform_points
from lrface.models.sessions import describe
from lrface.types import Detections, FloatArray, ImageArray

if TYPE_CHECKING:
    from lrface.models.manifest import LandmarkerEntry
    from lrface.models.onnxruntime_session import Session

INPUT_SIDE = 48
"""Side in pixels of the network's input."""

CONTEXT = 1.4
"""Width of the input in widths of the canonical crop: it shows the whole face although the first landmarks are off."""

ITERATIONS = 3
"""Each starts from the landmarks of the one before, so its crop is nearer to upright and to the right size."""

BATCH = 64
"""Faces in one run of the network, to bound its memory."""


class LandmarkRefiner:
    """Finds the five landmarks of each face more exactly than a detector does, which sees the whole picture.

    Args:
        session: The opened graph.
        entry: Of the manifest.
    """

    def __init__(self, session: Session, entry: LandmarkerEntry) -> None:
        self._session, self._entry = session, entry
        side = session.get_inputs()[0].shape[2:]
        if list(side) != [INPUT_SIDE, INPUT_SIDE]:
            raise ModelError(f"{entry.file} takes {side} pixels, not {INPUT_SIDE} x {INPUT_SIDE}: export it again")

    @property
    def runs_on(self) -> str:
        """Device and precision, in words."""
        return describe(self._session)

    def refine(self, image: ImageArray, found: Detections, passes: int = ITERATIONS) -> Detections:
        """The same faces with better landmarks, and the expected error of these.

        Args:
            image: uint8 [h, w, 3], BGR.
            found: Of this picture.
            passes: Runs of the network; two calls of one and of two passes give what one of three gives.

        Raises:
            ModelError: The graph fails, or gives values that are not finite.
        """
        return Detections(found.boxes, found.scores, *self.refine_landmarks(image, found.landmarks, passes))

    def refine_landmarks(
        self, image: ImageArray, landmarks: FloatArray, passes: int = ITERATIONS
    ) -> tuple[FloatArray, FloatArray]:
        """Better landmarks, and how good they are.

        Args:
            image: uint8 [h, w, 3], BGR.
            landmarks: float32 [n, 5, 2], pixels of the picture. Where they form no face, they stay.
            passes: Runs of the network.

        Returns:
            float32 [n, 5, 2], and how far off they are expected to align each face, float32 [n], in eye distances (nan
            where they form no face).

        Raises:
            ModelError: The graph fails, or gives values that are not finite.
        """
        landmarks, errors = landmarks.copy(), np.full(len(landmarks), np.nan, np.float32)
        for _ in range(passes if len(landmarks) else 0):
            matrices, formed = estimate_similarities(landmarks)
            faces = np.flatnonzero(formed)
            for start in range(0, len(faces), BATCH):
                rows = faces[start : start + BATCH]
                inputs = input_matrix(matrices[rows])
                points, errors[rows] = self.predict(np.stack([warp_crop(image, each, INPUT_SIDE) for each in inputs]))
                landmarks[rows] = inverse_transform_points(points, inputs)
        return landmarks, errors

    def predict(self, crops: ImageArray) -> tuple[FloatArray, FloatArray]:
        """Runs the network.

        Args:
            crops: uint8 [n, 48, 48, 3], BGR, warped by `input_matrix`.

        Returns:
            Landmarks float32 [n, 5, 2] in pixels of the crop; the expected error, float32 [n], in eye distances.

        Raises:
            ModelError: The graph fails, or gives values that are not finite.
        """
        tensor = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), np.float32)
        try:
            landmarks, error = self._session.run(
                [self._entry.landmarks, self._entry.error], {self._entry.input.name: tensor}
            )
        except Exception as failure:  # onnxruntime's own exceptions share no base but Exception
            raise ModelError(f"{self._entry.file} failed ({failure}): run `lrface models verify`") from failure
        if landmarks.shape != (len(crops), 5, 2) or error.shape != (len(crops),):
            raise ModelError(f"{self._entry.file} gave {landmarks.shape} and {error.shape}: export it again")
        if not (np.isfinite(landmarks).all() and np.isfinite(error).all()):
            raise ModelError(f"{self._entry.file} gave values that are not finite: run `lrface models verify`")
        return landmarks, error


def input_matrix(matrices: FloatArray) -> FloatArray:
    """The similarity that puts a face upright into the middle of the network's input.

    Args:
        matrices: float32 [..., 2, 3], of the alignments by the landmarks found so far.

    Returns:
        float32 [..., 2, 3], picture pixels -> pixels of the input.
    """
    scale = INPUT_SIDE / (CONTEXT * CROP)
    found: FloatArray = matrices * np.float32(scale)
    found[..., 2] += np.float32((INPUT_SIDE - 1) / 2 - (CROP - 1) / 2 * scale)
    return found


INPUT_TEMPLATE = transform_points(TEMPLATE, input_matrix(estimate_similarity(TEMPLATE)))
"""The ArcFace template in the network's input, float32 [5, 2]: where the landmarks found so far put the face."""
