"""Training samples: a random view of a scene, faces pasted into it, and camera degradation.

The view keeps faces as small as at run time (down to 6 px) and makes some of them large. Pasted faces are aligned
crops, rotated and shrunk to 7-140 px with a soft oval mask: their landmarks are more accurate than any that a teacher
finds at that size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

from lrface.geometry import box_iou
from training.detector.camera_degradation import degrade
from training.detector.scenes import Image, Labels, PasteSet, SceneSet

MIRROR_ORDER = [1, 0, 2, 4, 3]
MIN_HEIGHT = 6.0  # px; smaller faces are ignored
MIN_VISIBLE = 0.4  # of a box's area: if less is in the view, the face is ignored
MAX_ENLARGEMENT = 5.0  # times; a face enlarged more would only be blurred
STRETCH = 0.1  # standard deviation of the logarithm by which a view grows along one axis and shrinks along the other
WARP, WARP_SPACING = 8.0, 40  # px; standard deviation of an elastic deformation's grid points, and the grid's spacing


@dataclass(frozen=True)
class Views:
    """How samples are drawn.

    Attributes:
        side: of the square sample, pixels.
        scale: a scene's scale is log-uniform in this range ...
        zoom: ... but with this probability one face is scaled to a height drawn from ``zoom_height``.
        zoom_height: pixels.
        mosaic: probability that a sample is four or nine views of as many scenes.
        background: probability that a view of another scene fills what the view leaves empty of the sample.
        stretched: probability that a view is stretched along one axis; the factor is log-normal.
        mixed: probability that another view is blended in (mixup). Scenes are few and similar: unnatural pictures show
            the student more of the teacher's function (function matching: Beyer et al., CVPR 2022).
        tilted: probability that it is rotated by 90, 180 or 270 degrees; it has no labels then.
        warped: probability of an elastic deformation; it has no labels then.
        recoloured: probability that its colour channels are permuted.
        portrait: probability that a face is pasted at a height drawn from ``portrait_height`` pixels: scenes have few
            faces so large.
        portrait_height: pixels.
        paste: probability that faces are pasted; at most ``paste_most``, heights from ``paste_height`` pixels.
        crowd: probability that 12 to 40 small faces are pasted, some over others; their heights are near one drawn from
            ``crowd_height`` pixels.
        crowd_height: pixels.
        occluded: probability that some of the faces are partly covered.
        degraded: probability of camera degradation, in half of these samples applied twice. The teacher sees the same
            degraded picture: its prediction for the clean one could not be learned from this one.
    """

    side: int = 320
    scale: tuple[float, float] = (0.65, 1.1)
    zoom: float = 0.45
    zoom_height: tuple[float, float] = (10.0, 290.0)
    mosaic: float = 0.45
    background: float = 0.7
    stretched: float = 0.5
    mixed: float = 0.5
    tilted: float = 0.08
    warped: float = 0.1
    recoloured: float = 0.15
    portrait: float = 0.2
    portrait_height: tuple[float, float] = (80.0, 250.0)
    paste: float = 0.3
    paste_most: int = 8
    paste_height: tuple[float, float] = (6.0, 140.0)
    crowd: float = 0.1
    crowd_height: tuple[float, float] = (8.0, 34.0)
    occluded: float = 0.25
    degraded: float = 0.6

    def natural(self) -> Views:
        """Views as cameras take them: fewer mosaics and backgrounds, nothing mixed, tilted, warped or recoloured."""
        fewer = replace(self, mosaic=self.mosaic / 2, background=self.background / 2)
        return replace(fewer, mixed=0.0, tilted=0.0, warped=0.0, recoloured=0.0)


@dataclass(frozen=True)
class Sample:
    """One training sample.

    Attributes:
        image: uint8 ``[side, side, 3]`` BGR.
        labels: in its pixels.
    """

    image: Image
    labels: Labels


def draw(scenes: SceneSet, pastes: PasteSet, index: int, views: Views, rng: np.random.Generator) -> Sample:
    """One training sample.

    Args:
        scenes: where it comes from.
        pastes: faces to paste.
        index: of the scene.
        views: how to draw.
        rng: source of randomness.
    """
    if rng.random() < views.mosaic:
        image, labels = mosaic(scenes, index, views, rng)
    else:
        image, labels = scene_view(scenes, index, views, rng)
    if rng.random() < views.mixed:
        image, labels = _mixed(image, labels, scenes, views, rng)
    if rng.random() < views.tilted:
        image, labels = np.ascontiguousarray(np.rot90(image, int(rng.integers(1, 4)))), labels[:0]
    if rng.random() < views.warped:
        image, labels = warp(image, rng), labels[:0]
    if rng.random() < views.recoloured:
        image = np.ascontiguousarray(image[..., rng.permutation(3)])
    if rng.random() < views.portrait:
        labels = paste_face(image, labels, pastes, _log_uniform(views.portrait_height, rng), rng, over=True)
    for _ in range(int(rng.integers(1, views.paste_most + 1)) if rng.random() < views.paste else 0):
        labels = paste_face(image, labels, pastes, _log_uniform(views.paste_height, rng), rng)
    if rng.random() < views.crowd:
        height = _log_uniform(views.crowd_height, rng)
        for _ in range(int(rng.integers(12, 41))):
            labels = paste_face(image, labels, pastes, height * np.exp(rng.normal(0, 0.2)), rng, over=True)
    if rng.random() < views.occluded:
        occlude(image, labels, scenes, rng)
    image, labels = (image, labels) if rng.random() < 0.5 else mirror(image, labels)
    for _ in range(int(rng.integers(1, 3)) if rng.random() < views.degraded else 0):
        image = degrade(image, rng)
    return Sample(image, clip_labels(labels, views.side))


def scene_view(scenes: SceneSet, index: int, views: Views, rng: np.random.Generator) -> tuple[Image, Labels]:
    """A random view of scene ``index``, often with a view of another scene as its background."""
    if rng.random() >= views.background:
        return random_view(scenes.image(index), scenes.labels(index), views, rng)
    other = int(rng.choice(scenes.train))
    background = random_view(scenes.image(other), scenes.labels(other), views, rng)
    return random_view(scenes.image(index), scenes.labels(index), views, rng, background)


def random_view(
    image: Image, labels: Labels, views: Views, rng: np.random.Generator, background: tuple[Image, Labels] | None = None
) -> tuple[Image, Labels]:
    """Scale, rotate and crop a scene to the sample's side.

    Args:
        image: uint8 ``[h, w, 3]``.
        labels: of the scene.
        views: how to draw.
        rng: source of randomness.
        background: background where the scene ends, of the sample's side (changed in place); None for grey.
    """
    faces = np.flatnonzero(~labels.ignored)
    scale = _log_uniform(views.scale, rng)
    anchor = np.array([rng.random() * image.shape[1], rng.random() * image.shape[0]])
    if len(faces):
        box = labels.boxes[rng.choice(faces)]
        if rng.random() < views.zoom:
            height = _log_uniform(views.zoom_height, rng)
            tall = labels.boxes[:, 3] - labels.boxes[:, 1]
            fit = faces[tall[faces] * MAX_ENLARGEMENT >= height]  # enlarged more they would only be blurred
            box = labels.boxes[rng.choice(fit)] if len(fit) else box
            # not so small that most of the view is empty
            scale = float(np.clip(height / max(box[3] - box[1], 4.0), 0.7 * views.scale[0], MAX_ENLARGEMENT))
        anchor = (box[:2] + box[2:]) / 2
    source: MatLike = image
    before = 1.0
    if scale < 0.7:  # warpAffine does not average: shrink by area first
        before = scale
        source = cv2.resize(image, None, fx=before, fy=before, interpolation=cv2.INTER_AREA)
    angle = rng.normal(0, 10) if rng.random() < 0.5 else rng.uniform(-60, 60) if rng.random() < 0.25 else 0.0
    # the anchor is placed at random, but so that little of the canvas stays empty
    room = np.array([image.shape[1], image.shape[0]]) * scale
    low = np.minimum(views.side - (room - anchor * scale), anchor * scale)
    high = np.maximum(views.side - (room - anchor * scale), anchor * scale)
    place = np.clip(rng.uniform(low, high), 0.08 * views.side, 0.92 * views.side)
    matrix = _similarity(scale / before, angle, anchor * before, place)
    wide = np.exp(rng.normal(0, STRETCH)) if rng.random() < views.stretched else 1.0
    stretch = np.array([wide, 1 / wide])
    matrix[:, :2] *= stretch[:, None]
    matrix[:, 2] = matrix[:, 2] * stretch + place * (1 - stretch)
    method = cv2.INTER_CUBIC if rng.random() < 0.3 else cv2.INTER_LINEAR
    labels = stretch_labels(transform_labels(labels, _similarity(scale, angle, anchor, place), scale), stretch, place)
    size = (views.side, views.side)
    if background is None:
        grey = 0 if rng.random() < 0.5 else int(rng.integers(256))
        view = cv2.warpAffine(source, matrix, size, flags=method, borderValue=(grey, grey, grey))
        return view.astype(np.uint8, copy=False), labels
    canvas, theirs = background
    cv2.warpAffine(source, matrix, size, dst=canvas, flags=method, borderMode=cv2.BORDER_TRANSPARENT)
    corners = theirs.boxes[:, [[0, 1], [2, 1], [0, 3], [2, 3]]]
    back = cv2.invertAffineTransform(matrix)
    in_source = corners @ back[:, :2].T + back[:, 2]
    covered = np.asarray(((in_source > 0) & (in_source < source.shape[1::-1])).all(axis=2), bool)
    theirs = _ignore_hidden(theirs, np.any(covered, axis=1))[~np.all(covered, axis=1)]
    return canvas, Labels.joined([labels, theirs])


def mosaic(scenes: SceneSet, index: int, views: Views, rng: np.random.Generator) -> tuple[Image, Labels]:
    """Four or nine views, the first of scene ``index``, side by side."""
    count = 2 if rng.random() < 0.7 else 3
    edges = np.linspace(0, views.side, count + 1).astype(int)
    side = int(np.diff(edges).max())
    low = views.scale[0] * (0.6 if count == 2 else 0.4)
    part = replace(views, side=side, scale=(low, views.scale[1]), zoom_height=(8.0, side * 0.7))
    canvas = np.empty((views.side, views.side, 3), np.uint8)
    parts = []
    for k, scene in enumerate([index, *rng.choice(scenes.train, count**2 - 1)]):
        image, labels = scene_view(scenes, int(scene), part, rng)
        x, y = edges[k % count], edges[k // count]
        labels = clip_labels(labels, side)
        across, down = edges[k % count + 1] - x, edges[k // count + 1] - y
        canvas[y : y + down, x : x + across] = image[:down, :across]
        shift = np.array([x, y], np.float32)
        parts.append(replace(labels, boxes=labels.boxes + np.tile(shift, 2), landmarks=labels.landmarks + shift))
    return canvas, Labels.joined(parts)


def stretch_labels(labels: Labels, stretch: npt.NDArray[np.float64], fixed: npt.NDArray[np.float64]) -> Labels:
    """Labels in a picture stretched across and down, ``[2]``, around the point ``fixed``."""
    shift = fixed * (1 - stretch)
    boxes = labels.boxes * np.tile(stretch, 2) + np.tile(shift, 2)
    return replace(
        labels, boxes=boxes.astype(np.float32), landmarks=(labels.landmarks * stretch + shift).astype(np.float32)
    )


def warp(image: Image, rng: np.random.Generator) -> Image:
    """Elastic deformation: smooth random displacements, drawn at grid points ``WARP_SPACING`` pixels apart."""
    side = len(image)
    nodes = rng.normal(0, WARP, (side // WARP_SPACING, side // WARP_SPACING, 2)).astype(np.float32)
    shift = cv2.resize(nodes, (side, side), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    moved = cv2.remap(image, x + shift[..., 0], y + shift[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return moved.astype(np.uint8, copy=False)


def occlude(image: Image, labels: Labels, scenes: SceneSet, rng: np.random.Generator) -> None:
    """Cover the edges of some faces of ``image`` (changed in place) with pieces of another scene."""
    other = scenes.image(int(rng.choice(scenes.train)))
    for box in labels.boxes[~labels.ignored & (rng.random(len(labels)) < 0.35)]:
        size = box[2:] - box[:2]
        part = size * (rng.uniform(0.25, 0.5, 2) if rng.random() < 0.5 else rng.permutation([0.35, 1.1]))
        place = box[:2] + size * rng.permutation([rng.choice([0.0, 1.0]), rng.random()]) - part / 2
        x1, y1 = np.clip(place, 0, image.shape[0]).astype(int)
        x2, y2 = np.clip(place + part, 0, image.shape[0]).astype(int)
        tall, wide = y2 - y1, x2 - x1
        if min(tall, wide) < 1 or tall >= other.shape[0] or wide >= other.shape[1]:
            continue
        y, x = int(rng.integers(other.shape[0] - tall)), int(rng.integers(other.shape[1] - wide))
        image[y1:y2, x1:x2] = other[y : y + tall, x : x + wide]


def _mixed(
    image: Image, labels: Labels, scenes: SceneSet, views: Views, rng: np.random.Generator
) -> tuple[Image, Labels]:
    scene = int(rng.choice(scenes.train))
    other, theirs = random_view(scenes.image(scene), scenes.labels(scene), views, rng)
    share = rng.uniform(0.1, 0.5)
    mixed = cv2.addWeighted(image, 1 - share, other, share, 0).astype(np.uint8, copy=False)
    return mixed, Labels.joined([labels, theirs])


def transform_labels(labels: Labels, matrix: npt.NDArray[np.float64], scale: float) -> Labels:
    """Labels under a similarity ``[2, 3]``: landmarks and box centres move, boxes stay upright and keep their shape."""
    middle = (labels.boxes[:, :2] + labels.boxes[:, 2:]) / 2 @ matrix[:, :2].T + matrix[:, 2]
    half = (labels.boxes[:, 2:] - labels.boxes[:, :2]) / 2 * scale
    boxes = np.concatenate([middle - half, middle + half], axis=1).astype(np.float32)
    landmarks = (labels.landmarks @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    return replace(labels, boxes=boxes, landmarks=landmarks)


def paste_face(
    image: Image, labels: Labels, pastes: PasteSet, height: float, rng: np.random.Generator, over: bool = False
) -> Labels:
    """Paste a face into ``image`` (changed in place).

    Args:
        image: uint8 ``[side, side, 3]``.
        labels: of the image.
        pastes: one of these.
        height: of the face, pixels.
        rng: source of randomness.
        over: whether it may cover other faces, which are ignored then; otherwise it is not pasted where it would.
    """
    pick = int(rng.integers(len(pastes)))
    box, points = pastes.boxes[pick], pastes.landmarks[pick]
    scale = height / float(box[3] - box[1])
    angle = float(rng.normal(0, 12))
    reach, side = 56 * scale, len(image)
    if reach * 2 >= side * 1.1:
        return labels
    place = rng.uniform(reach * 0.8, side - reach * 0.8, 2)
    span = np.concatenate([place - reach, place + reach])[None].astype(np.float32)
    hidden = np.asarray((box_iou(labels.boxes, span) > 0).any(axis=1), bool) if len(labels) else labels.ignored
    if hidden.any() and not over:
        return labels
    _blend(image, pastes.crops[pastes.rows[pick]], scale, angle, place, rng)
    yes = np.array([True])
    one = Labels(box[None], points[None], yes, ~yes, ~yes)
    moved = transform_labels(one, _similarity(scale, angle, np.array([56.0, 56.0]), place), scale)
    return Labels.joined([_ignore_hidden(labels, hidden), moved])


def _ignore_hidden(labels: Labels, hidden: npt.NDArray[np.bool_]) -> Labels:
    """Labels in which what is ``hidden`` is ignored."""
    return replace(labels, ignored=labels.ignored | hidden, negative=labels.negative & ~hidden)


def mirror(image: Image, labels: Labels) -> tuple[Image, Labels]:
    """Left and right exchanged, landmarks reordered accordingly."""
    width = image.shape[1]
    boxes = labels.boxes.copy()
    boxes[:, [0, 2]] = width - labels.boxes[:, [2, 0]]
    landmarks = labels.landmarks[:, MIRROR_ORDER].copy()
    landmarks[..., 0] = width - landmarks[..., 0]
    return np.ascontiguousarray(image[:, ::-1]), replace(labels, boxes=boxes, landmarks=landmarks)


def clip_labels(labels: Labels, side: int) -> Labels:
    """Clip labels to the canvas; faces too small or cut off are ignored, faces outside are dropped."""
    clipped = np.clip(labels.boxes, 0, side)
    whole = (labels.boxes[:, 2:] - labels.boxes[:, :2]).prod(axis=1)
    seen = (clipped[:, 2:] - clipped[:, :2]).prod(axis=1) / np.maximum(whole, 1e-6)
    small = labels.boxes[:, 3] - labels.boxes[:, 1] < MIN_HEIGHT
    ignored = labels.ignored | (seen < MIN_VISIBLE) | small
    marked = labels.marked & (seen > 0.7)
    return replace(labels, boxes=clipped, marked=marked, ignored=ignored)[seen > 0]


def _blend(
    image: Image, crop: Image, scale: float, angle: float, place: npt.NDArray[np.float64], rng: np.random.Generator
) -> None:
    small: MatLike = crop
    before = 1.0
    if scale < 0.7:
        side = max(4, round(112 * scale))
        small, before = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA), side / 112
    mask: MatLike = np.zeros(small.shape[:2], np.float32)
    side = small.shape[0]
    axes = (max(1, round(side * rng.uniform(0.40, 0.49))), max(1, round(side * rng.uniform(0.46, 0.5))))
    cv2.ellipse(mask, (side // 2, side // 2), axes, 0, 0, 360, 1.0, -1)
    mask = cv2.blur(mask, (max(1, side // 12),) * 2)
    middle = np.array([side / 2, side / 2])
    matrix = _similarity(scale / before, angle, middle, place)
    size = image.shape[1::-1]
    if rng.random() < 0.5:  # adapt its brightness to its surroundings
        x, y = place.astype(int)
        around = image[max(0, y - side) : y + side, max(0, x - side) : x + side]
        gain = np.clip((around.mean() + 20) / (small.mean() + 20), 0.5, 1.6)
        small = cv2.convertScaleAbs(small, alpha=float(gain))
    # only the surroundings of the face change
    reach = int(np.ceil(80 * scale)) + 2
    x1, y1 = (max(0, int(v) - reach) for v in place)
    x2, y2 = (min(limit, int(v) + reach) for v, limit in zip(place, size, strict=True))
    matrix[:, 2] -= (x1, y1)
    weight = cv2.warpAffine(mask, matrix, (x2 - x1, y2 - y1))[..., None]
    face = cv2.warpAffine(small, matrix, (x2 - x1, y2 - y1), borderMode=cv2.BORDER_REPLICATE)
    part = image[y1:y2, x1:x2]
    part[:] = (face * weight + part * (1 - weight)).astype(np.uint8)


def _similarity(
    scale: float, angle: float, fixed: npt.NDArray[np.floating], place: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """``[2, 3]``: scale and rotation (degrees) that move the point ``fixed`` to ``place``."""
    c, s = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    turn = np.array([[c, -s], [s, c]])
    return np.concatenate([turn, (np.asarray(place) - turn @ np.asarray(fixed))[:, None]], axis=1)


def _log_uniform(limits: tuple[float, float], rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(limits[0]), np.log(limits[1]))))
