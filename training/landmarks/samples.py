"""Small faces with known landmarks, cropped around the inaccurate landmarks of a detector, as at run time.

Two sources. An aligned crop is rotated, sheared and blended into a scene, then shrunk by area to the size of a far
face: its landmarks are those of the full-size crop. A large face of a scene is shrunk with its surroundings. Both get
camera degradation.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from lrface.alignment import CROP, Alignment, estimate_similarity, warp_crop
from lrface.detection.landmark_refinement import INPUT_SIDE, input_matrix
from lrface.geometry import transform_points
from training.detector.augment import MIRROR_ORDER
from training.detector.camera_degradation import degrade
from training.detector.scenes import Floats, Image, PasteSet, SceneSet

CENTRE = (CROP - 1) / 2
SURROUNDINGS = 2.0  # side of a sample's picture in crop widths: all that the network's input may show


@dataclass(frozen=True)
class Views:
    """How samples are drawn.

    Attributes:
        width: of the canonical crop in the picture, pixels, log-uniform.
        scene: share of faces that are a scene's own, with their surroundings.
        min_height: of a scene's face, pixels; it is shrunk to half of its size or less.
        turn: standard deviation of the head's roll, degrees.
        stretch: standard deviation of the logarithm of height by width, and of the shear.
        shift, scale, roll: standard deviations of the errors of a detector's landmarks, measured on pasted faces: in
            crop widths (of a face of 20 px; proportional to 1 / width), in the logarithm of size, in degrees. Small
            detectors hardly follow a head's roll.
        later: share of samples as in a later iteration, from the network's own landmarks: a third of these errors.
    """

    width: tuple[float, float] = (6.0, 72.0)
    scene: float = 0.2
    min_height: float = 40.0
    turn: float = 14.0
    stretch: float = 0.05
    shift: float = 0.05
    scale: float = 0.12
    roll: float = 12.0
    later: float = 0.5


@dataclass(frozen=True)
class Sources:
    """What samples are made of.

    Attributes:
        scenes: backgrounds and large faces.
        pastes: aligned faces with landmarks.
        large: int ``[m, 2]``, scene and row of its labels, of the training scenes' faces that may be shrunk.
    """

    scenes: SceneSet
    pastes: PasteSet
    large: npt.NDArray[np.int64]

    @classmethod
    def of(cls, scenes: SceneSet, pastes: PasteSet, views: Views) -> Sources:
        """Find the scenes' large faces."""
        large = []
        for scene in np.unique(scenes.train):
            labels = scenes.labels(int(scene))
            tall = labels.boxes[:, 3] - labels.boxes[:, 1] >= views.min_height
            large += [(scene, row) for row in np.flatnonzero(tall & labels.marked & ~labels.ignored)]
        return cls(scenes, pastes, np.array(large, np.int64).reshape(-1, 2))


def draw(sources: Sources, views: Views, rng: np.random.Generator) -> tuple[Image, Floats]:
    """One sample: the input crop uint8 ``[48, 48, 3]`` BGR, and the landmarks ``[5, 2]`` in its pixels."""
    width = float(np.exp(rng.uniform(*np.log(views.width))))
    if len(sources.large) and rng.random() < views.scene:
        picture, points = shrunk_face(sources, width, views, rng)
    else:
        pick = int(rng.integers(len(sources.pastes)))
        scene = sources.scenes.image(int(rng.choice(sources.scenes.train)))
        background = background_patch(scene, round(SURROUNDINGS * width) + 2, rng)
        crop = sources.pastes.crops[sources.pastes.rows[pick]]
        picture, points = blended_face(background, crop, sources.pastes.landmarks[pick], width, views, rng)
    if rng.random() < 0.5:
        points = points[MIRROR_ORDER] * np.array([-1, 1], np.float32) + np.array([picture.shape[1] - 1, 0], np.float32)
        picture = np.ascontiguousarray(picture[:, ::-1])
    picture = degrade(picture, rng)
    matrix = input_matrix(estimate_similarity(detector_landmarks(points, width, views, rng)))
    return warp_crop(picture, matrix, INPUT_SIDE), transform_points(points, matrix)


def detector_landmarks(points: Floats, width: float, views: Views, rng: np.random.Generator) -> Floats:
    """Landmarks with a detector's errors: moved, scaled and rotated as a whole; one in ten with twice the errors."""
    factor = (1 / 3 if rng.random() < views.later else 1.0) * (2.0 if rng.random() < 0.1 else 1.0)
    middle = points.mean(axis=0)
    turn = _rotation(np.exp(rng.normal(0, views.scale * factor)), rng.normal(0, views.roll * factor))
    moved = rng.normal(0, views.shift * factor, 2) * 20.0 * (width / 20.0) ** 0.2
    return np.asarray((points - middle) @ turn.T + middle + moved, np.float32)


def background_patch(scene: Image, side: int, rng: np.random.Generator) -> Image:
    """A square uint8 ``[side, side, 3]`` of a scene, at a random scale."""
    span = min(*scene.shape[:2], max(8, round(side * rng.uniform(0.8, 3.0))))
    y, x = (int(rng.integers(0, limit - span + 1)) for limit in scene.shape[:2])
    how = cv2.INTER_AREA if span > side else cv2.INTER_LINEAR
    patch = cv2.resize(scene[y : y + span, x : x + span], (side, side), interpolation=how)
    return patch.astype(np.uint8, copy=False)


def blended_face(
    background: Image, crop: Image, landmarks: Floats, width: float, views: Views, rng: np.random.Generator
) -> tuple[Image, Floats]:
    """An aligned face in the centre of a small picture, blended at several times its resolution, then shrunk by area.

    Args:
        background: uint8 ``[n, n, 3]``; n at least 1.5 times ``width``.
        crop: uint8 ``[112, 112, 3]``.
        landmarks: float32 ``[5, 2]``, pixels of the crop.
        width: of the crop in the picture, pixels.
        views: how the head is rotated and stretched.
        rng: source of randomness.

    Returns:
        The picture uint8 ``[n, n, 3]``, and the landmarks in its pixels.
    """
    fine = max(1, round(0.6 * CROP / width))
    side = len(background) * fine
    shape = _rotation(fine * width / CROP, rng.normal(0, views.turn)) @ np.array(
        [[np.exp(rng.normal(0, views.stretch)), rng.normal(0, views.stretch)], [0.0, 1.0]]
    )
    place = (side - 1) / 2 + rng.uniform(-0.1, 0.1, 2) * width * fine
    matrix = np.column_stack([shape, place - shape @ [CENTRE, CENTRE]])
    border = cv2.BORDER_REPLICATE if rng.random() < 0.5 else cv2.BORDER_REFLECT
    whole = cv2.warpAffine(crop, matrix, (side, side), borderMode=border)
    if rng.random() < 0.8:  # else the crop's border is continued
        weight = cv2.warpAffine(_mask(rng), matrix, (side, side))
        if rng.random() < 0.5:  # adapt the background's brightness to the face
            gain = np.clip((crop.mean() + 20) / (background.mean() + 20), 0.4, 2.5)
            background = cv2.convertScaleAbs(background, alpha=float(gain)).astype(np.uint8, copy=False)
        canvas = cv2.resize(background, (side, side), interpolation=cv2.INTER_LINEAR)
        whole = cv2.blendLinear(whole, canvas, weight, 1 - weight)
    small = cv2.resize(whole, background.shape[1::-1], interpolation=cv2.INTER_AREA)
    # a pixel of the small picture is the mean of fine x fine, whose centre is at (fine - 1) / 2
    points = (landmarks @ shape.T + matrix[:, 2] - (fine - 1) / 2) / fine
    return small.astype(np.uint8, copy=False), points.astype(np.float32)


def shrunk_face(sources: Sources, width: float, views: Views, rng: np.random.Generator) -> tuple[Image, Floats]:
    """A scene's large face, shrunk and rotated a little: like ``blended_face``."""
    scene, row = sources.large[rng.integers(len(sources.large))]
    points = sources.scenes.labels(int(scene)).landmarks[row]
    native = Alignment.of(points).native_px
    scale = min(width, native / 2) / native
    side = round(SURROUNDINGS * width) + 2
    turn = _rotation(scale, rng.normal(0, views.turn / 2))
    place = (side - 1) / 2 + rng.uniform(-0.1, 0.1, 2) * width
    move = np.column_stack([turn, place - turn @ points.mean(axis=0)])
    return warp_crop(sources.scenes.image(int(scene)), move, side), transform_points(points, move)


def _mask(rng: np.random.Generator) -> Floats:
    """Blending weight of the crop, with soft edges; random, so that the mask does not reveal the landmarks."""
    mask = np.zeros((CROP, CROP), np.float32)
    if rng.random() < 0.5:
        axes = (round(CROP * rng.uniform(0.36, 0.47)), round(CROP * rng.uniform(0.42, 0.49)))
        middle = (CROP // 2 + int(rng.integers(-5, 6)), CROP // 2 + int(rng.integers(-5, 6)))
        cv2.ellipse(mask, middle, axes, 0, 0, 360, 1.0, -1)
    else:
        left, top, right, bottom = rng.integers(1, 16, 4)
        mask[top : CROP - bottom, left : CROP - right] = 1.0
    soft = int(rng.integers(2, 9))
    return cv2.blur(mask, (soft, soft), borderType=cv2.BORDER_CONSTANT).astype(np.float32, copy=False)


def _rotation(scale: float, degrees: float) -> npt.NDArray[np.float64]:
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[c, -s], [s, c]])
