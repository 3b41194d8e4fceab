"""Average precision on the held-out scenes, by face height, at their stored size."""

from __future__ import annotations

import numpy as np
import torch

from lrface.detection.onnx_detector import NMS_IOU, suppress
from lrface.metrics.average_precision import PictureResult, average_precision
from training.detector.cells import cell_centres, decode, flatten
from training.detector.network import Detector
from training.detector.scenes import SceneSet

HEIGHTS = {"8-16": (8.0, 16.0), "16-32": (16.0, 32.0), "32-64": (32.0, 64.0), ">64": (64.0, np.inf)}
LEAST = 0.03


@torch.no_grad()
def validate(network: Detector, scenes: SceneSet) -> dict[str, float]:
    """AP at IoU 0.5 by face height (pixels), and the landmarks' mean error in % of the face's size (``nme``)."""
    network.eval()
    results, errors = [], []
    for scene in scenes.validation:
        image, labels = scenes.image(int(scene)), scenes.labels(int(scene))
        rows, columns = (-(-side // 32) * 32 for side in image.shape[:2])
        canvas = np.zeros((rows, columns, 3), np.uint8)
        canvas[: image.shape[0], : image.shape[1]] = image
        tensor = torch.from_numpy(canvas).permute(2, 0, 1)[None].float().contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            maps = network(tensor)
        boxes, logits, points = decode(flatten(maps)[0].float(), *cell_centres(rows, columns))
        scores = logits.sigmoid()
        some = scores >= LEAST
        found, score, marks = boxes[some].numpy(), scores[some].numpy(), points[some].numpy()
        kept = suppress(found, score, NMS_IOU)
        results.append(PictureResult(found[kept], score[kept], labels.boxes, labels.ignored))
        for box, truth in zip(labels.boxes[labels.marked], labels.landmarks[labels.marked], strict=True):
            if not len(kept):
                continue
            size = float(np.sqrt((box[2:] - box[:2]).prod()))
            distance = np.linalg.norm(marks[kept] - truth, axis=2).mean(1) / size
            if distance.min() < 0.25:
                errors.append(distance.min())
    network.train()
    precision = {name: round(average_precision(results, limits), 4) for name, limits in HEIGHTS.items()}
    return {**precision, "nme": round(100 * float(np.mean(errors)), 3) if errors else float("nan")}
