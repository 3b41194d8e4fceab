"""Any detector of `insightface.model_zoo`, through InsightFace's own package and its own decoding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lrface.errors import ArgumentError, ModelError, ProviderError
from lrface.models.onnxruntime_session import PROVIDERS
from lrface.models.sessions import AUTO, DEVICES, cap_threads
from lrface.types import Detections, ImageArray

PACKS = Path("~/.insightface/models")
SIDE = 640
"""Side in pixels of the square input of models that take any."""
THRESHOLD = 0.4


class InsightFaceDetector:
    """Detects faces with a model that InsightFace's package loads and decodes. Nothing is ever downloaded.

    Args:
        name: Path of an ONNX file, a folder of them, or the name of a pack that lies in `~/.insightface/models`.
        device: "cpu", "cuda", "cuda:<n>" or "coreml"; "auto" is the CPU.
        threads: Of the CPU, for one run.
        score_threshold: Lowest score that counts, 0..1; None for 0.4.

    Raises:
        ModelError: The package is missing, the file or pack is not there, or it holds no face detector.
        ArgumentError: The device is unknown.
        ProviderError: The device's provider is not in use.
    """

    def __init__(self, name: str, device: str = "cpu", threads: int = 1, score_threshold: float | None = None) -> None:
        try:
            from lrface.models.runtime import onnxruntime  # isort: skip (switches its telemetry off first)
            from insightface.model_zoo import get_model
        except ImportError as error:
            raise ModelError(
                f"the detector {name!r} needs InsightFace's package ({error}): pip install 'lrface[insightface]', and "
                "see `lrface doctor` for the packages that clash with it"
            ) from error
        kind, _, index = ("cpu" if device == AUTO else device).partition(":")
        if kind == "openvino":
            raise ProviderError("InsightFace's package does not use OpenVINO: name its .onnx file without insightface:")
        if kind not in PROVIDERS:
            raise ArgumentError(f"unknown device {device!r}: choose one of {DEVICES}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = cap_threads(threads)
        settings = {"device_id": index or "0"} if kind == "cuda" else {}
        self.runs_on = device if device != AUTO else "cpu"
        self._model: Any = None
        for file in _files(name):
            try:
                model = get_model(
                    str(file), providers=[PROVIDERS[kind]], provider_options=[settings], sess_options=options
                )
            except Exception as error:  # neither InsightFace's errors nor onnxruntime's share a base
                raise ModelError(f"InsightFace cannot load {file} ({error}): use another model") from error
            if getattr(model, "taskname", None) == "detection":
                self._model = model
                break
        if self._model is None:
            raise ModelError(f"{name} holds no face detector: name a detector's .onnx file or a pack")
        if self._model.session.get_providers()[0] != PROVIDERS[kind]:
            raise ProviderError(f"{PROVIDERS[kind]} is not in use: see `lrface doctor`, or take device='cpu'")
        threshold = THRESHOLD if score_threshold is None else score_threshold
        self._model.prepare(ctx_id=0, input_size=(SIDE, SIDE), det_thresh=threshold)

    def detect(self, image: ImageArray) -> Detections:
        """Finds the faces of one picture, uint8 [h, w, 3] BGR.

        Raises:
            ModelError: The model fails, gives values that are not finite, or gives no landmarks, without which no face
                can be aligned.
        """
        try:
            found, landmarks = self._model.detect(image)
        except Exception as error:  # neither InsightFace's errors nor onnxruntime's share a base
            raise ModelError(f"InsightFace's detector failed ({error}): use another model") from error
        if landmarks is None:
            raise ModelError("this InsightFace detector gives no landmarks: use one whose name ends in _kps")
        if not (np.isfinite(found).all() and np.isfinite(landmarks).all()):
            raise ModelError("InsightFace's detector gave values that are not finite: use another model")
        height, width = image.shape[:2]
        boxes = np.clip(found[:, :4], 0, [width, height, width, height])
        solid = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
        return Detections.from_arrays(boxes[solid], found[solid, 4], landmarks[solid])


def _files(name: str) -> list[Path]:
    """The ONNX files that a name may mean, in order."""
    path = Path(name).expanduser()
    if path.is_file():
        return [path]
    for folder in (path, PACKS.expanduser() / name):
        if name and folder.is_dir() and (files := sorted(folder.glob("*.onnx"))):
            return files
    raise ModelError(
        f"no file {name!r}, and no pack of that name in {PACKS}: get a pack with "
        f"`insightface-cli model.download <pack>` (mind its licence: non-commercial)"
    )
