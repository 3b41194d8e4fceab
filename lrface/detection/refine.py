"""A closer look at each face: its landmarks once more, from the crop around the detector's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lrface.alignment import CROP, TEMPLATE, estimate_similarity, native_crop_px, warp_crop
from lrface.errors import ImageError, ModelError
from lrface.types import Array, Detections, FloatArray, ImageArray

if TYPE_CHECKING:
    import onnxruntime

    from lrface.models.manifest import LandmarkerEntry

FRAME = 48
"""Side in pixels of the square that is looked at."""

REACH = 1.4
"""Width of that square in widths of the canonical crop: what the detector's landmarks may be wrong by is still seen."""

LOOKS = 3
"""Each begins where the one before ended, which is nearer: upright, of the right size."""

BATCH = 64
"""Faces in one run of the network, to bound its memory."""


class LandmarkRefiner:
    """Finds the five landmarks of each face more exactly than a detector does, which sees the whole picture.

    Args:
        session: The opened graph.
        entry: Of the manifest.
    """

    def __init__(self, session: onnxruntime.InferenceSession, entry: LandmarkerEntry) -> None:
        self._session, self._entry = session, entry
        side = session.get_inputs()[0].shape[2:]
        if list(side) != [FRAME, FRAME]:
            raise ModelError(f"{entry.file} sees {side} pixels, not {FRAME} x {FRAME}: export it again")

    def refine(self, image: ImageArray, found: Detections) -> Detections:
        """The same faces with better landmarks, and what is to be expected of these.

        Args:
            image: uint8 [h, w, 3], BGR.
            found: Of this picture.

        Raises:
            ModelError: The graph fails.
        """
        return Detections(found.boxes, found.scores, *self.closer(image, found.landmarks))

    def closer(self, image: ImageArray, landmarks: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Better landmarks, and how good they are.

        Args:
            image: uint8 [h, w, 3], BGR.
            landmarks: float32 [n, 5, 2], pixels of the picture. Where they form no face, they stay.

        Returns:
            float32 [n, 5, 2], and how far off they are expected to align each face, float32 [n], in eye distances (nan
            where they form no face).

        Raises:
            ModelError: The graph fails.
        """
        landmarks, errors = landmarks.copy(), np.full(len(landmarks), np.nan, np.float32)
        for _ in range(LOOKS):
            faces = [i for i, points in enumerate(landmarks) if _native_px(points) > 0]
            for start in range(0, len(faces), BATCH):
                part = faces[start : start + BATCH]
                matrices = [frame_matrix(points) for points in landmarks[part]]
                frames = np.stack([warp_crop(image, matrix, FRAME) for matrix in matrices])
                seen, errors[part] = self.look(frames)
                landmarks[part] = [back(points, matrix) for points, matrix in zip(seen, matrices, strict=True)]
        return landmarks, errors

    def look(self, frames: ImageArray) -> tuple[FloatArray, FloatArray]:
        """Runs the network.

        Args:
            frames: uint8 [n, 48, 48, 3], BGR, cut along `frame_matrix`.

        Returns:
            Landmarks float32 [n, 5, 2] in pixels of the frame; the error expected, float32 [n], in eye distances.

        Raises:
            ModelError: The graph fails.
        """
        tensor = np.ascontiguousarray(frames.transpose(0, 3, 1, 2), np.float32)
        try:
            landmarks, error = self._session.run(
                [self._entry.landmarks, self._entry.error], {self._entry.input.name: tensor}
            )
        except Exception as failure:  # onnxruntime's own exceptions share no base but Exception
            raise ModelError(f"{self._entry.file} failed ({failure}): run `lrface models verify`") from failure
        return landmarks, error


def frame_matrix(landmarks: Array) -> FloatArray:
    """The similarity that brings a face, as its landmarks have it, upright into the middle of the frame.

    Args:
        landmarks: [5, 2], pixels of the picture.

    Returns:
        float32 [2, 3], picture pixels -> pixels of the frame.

    Raises:
        ImageError: The landmarks do not form a face.
    """
    scale = FRAME / (REACH * CROP)
    matrix = estimate_similarity(landmarks) * np.float32(scale)
    matrix[:, 2] += np.float32((FRAME - 1) / 2 - (CROP - 1) / 2 * scale)
    return matrix


def through(points: Array, matrix: Array) -> FloatArray:
    """Points [..., 2] under a similarity [2, 3]."""
    moved: FloatArray = (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    return moved


def back(points: Array, matrix: Array) -> FloatArray:
    """Points [..., 2] under the inverse of a similarity [2, 3]."""
    moved: FloatArray = ((points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T).astype(np.float32)
    return moved


FRAME_TEMPLATE = through(TEMPLATE, frame_matrix(TEMPLATE))
"""The ArcFace template in the frame, float32 [5, 2]: where the detector's landmarks put the face."""


def _native_px(landmarks: FloatArray) -> float:
    """Width in pixels of the canonical crop; 0 where the landmarks form no face."""
    try:
        return native_crop_px(landmarks)
    except ImageError:
        return 0.0
