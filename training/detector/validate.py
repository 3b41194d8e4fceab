"""Average precision on the held-out scenes, by face height, at their stored size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from lrface.detection.suppression import VOTED_NMS_IOU, suppress, vote_boxes
from lrface.geometry import box_iou
from lrface.metrics.average_precision import PictureResult, average_precision, match_all
from training.common.precision import mixed_precision
from training.detector.cells import cell_centres, decode, flatten
from training.detector.network import Detector
from training.detector.scenes import SceneSet

HEIGHTS = {"8-16": (8.0, 16.0), "16-32": (16.0, 32.0), "32-64": (32.0, 64.0), ">64": (64.0, np.inf)}
MIN_SCORE = 0.03
WANTED_PRECISION = 0.9  # a false face is worse for a user than a missed blurred one, which the next frame may show


@dataclass(frozen=True)
class Operating:
    """What a score threshold gives on the held-out scenes, faces of 8 px and more.

    Attributes:
        threshold: the score, 0..1.
        precision, recall: there.
    """

    threshold: float
    precision: float
    recall: float


@torch.no_grad()
def predict(network: Detector, scenes: SceneSet) -> tuple[list[PictureResult], list[float]]:
    """Detections of the held-out scenes at their stored size, and each found face's landmark error.

    Returns:
        one result for each scene; errors as the mean distance of the five landmarks, in fractions of the face's size
        sqrt(width * height), for the faces that are found.
    """
    network.eval()
    results, errors = [], []
    for scene in scenes.validation:
        image, labels = scenes.image(int(scene)), scenes.labels(int(scene))
        rows, columns = (-(-side // 32) * 32 for side in image.shape[:2])
        canvas = np.zeros((rows, columns, 3), np.uint8)
        canvas[: image.shape[0], : image.shape[1]] = image
        tensor = torch.from_numpy(canvas).permute(2, 0, 1)[None].float().contiguous(memory_format=torch.channels_last)
        with mixed_precision():
            maps = network(tensor)
        boxes, logits, landmarks = decode(flatten(maps)[0].float(), *cell_centres(rows, columns))
        scores = logits.sigmoid()
        some = scores >= MIN_SCORE
        found, score, marks = boxes[some].numpy(), scores[some].numpy(), landmarks[some].numpy()
        kept = suppress(found, score, VOTED_NMS_IOU)
        box, points = vote_boxes(kept, found, score, marks)
        result = PictureResult(box, score[kept], labels.boxes, labels.ignored)
        results.append(result)
        if len(kept) and labels.marked.any():
            overlap = box_iou(labels.boxes[labels.marked], result.boxes)
            best = overlap.argmax(1)
            size = np.sqrt((labels.boxes[labels.marked][:, 2:] - labels.boxes[labels.marked][:, :2]).prod(1))
            distance = np.linalg.norm(points[best] - labels.landmarks[labels.marked], axis=2).mean(1) / size
            errors += distance[overlap.max(1) >= 0.5].tolist()
    network.train()
    return results, errors


def validate(network: Detector, scenes: SceneSet) -> dict[str, float]:
    """AP at IoU 0.5 by face height (pixels), and the landmarks' mean error in % of the face's size (``nme``)."""
    results, errors = predict(network, scenes)
    precision = {name: round(average_precision(results, limits), 4) for name, limits in HEIGHTS.items()}
    return {**precision, "nme": round(100 * float(np.mean(errors)), 3) if errors else float("nan")}


def operating_point(results: list[PictureResult], precision: float = WANTED_PRECISION) -> Operating:
    """The lowest threshold, to two decimals, that reaches a precision; 0.8 where none does."""
    scores, hits, faces = match_all(results, (8.0, np.inf))
    for threshold in np.arange(20, 81) / 100:
        passed = scores >= np.float32(threshold)
        found = int(hits[passed].sum())
        point = Operating(float(threshold), found / max(1, int(passed.sum())), found / max(1, faces))
        if point.precision >= precision:
            break
    return point
