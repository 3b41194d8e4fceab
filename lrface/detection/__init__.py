"""Face detection: the bundled detector, YuNet and SCRFD by path, InsightFace's through its own package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lrface.errors import ArgumentError, ModelError
from lrface.types import Detections, ImageArray

if TYPE_CHECKING:
    from lrface.detection.decode import Decoder
    from lrface.detection.input_tensor import InputSpec
    from lrface.models.manifest import Manifest
    from lrface.models.onnxruntime_session import Session

__all__ = ["FaceDetector", "detect_roughly", "open_detector", "refine_further"]

YUNET_THRESHOLD = 0.65
SCRFD_THRESHOLD = 0.4
CONTRACT_THRESHOLD = 0.5


class FaceDetector(Protocol):
    """Anything that finds faces: a class of your own with this one method will do."""

    def detect(self, image: ImageArray) -> Detections:
        """Finds the faces of a picture, uint8 [h, w, 3] BGR; boxes and landmarks in its pixels."""
        ...


def detect_roughly(detector: FaceDetector, image: ImageArray) -> Detections:
    """Finds the faces of a picture, with landmarks that are good enough to follow them: most faces of a video only are.

    Args:
        detector: Any.
        image: uint8 [h, w, 3], BGR.
    """
    from lrface.detection.onnx_detector import OnnxDetector

    return detector.detect_roughly(image) if isinstance(detector, OnnxDetector) else detector.detect(image)


def refine_further(detector: FaceDetector, image: ImageArray, found: Detections) -> Detections:
    """Faces of `detect_roughly` with landmarks that are good enough to embed them.

    Args:
        detector: As given to `detect_roughly`.
        image: As given to `detect_roughly`.
        found: All or some of its faces.
    """
    from lrface.detection.onnx_detector import OnnxDetector

    return detector.refine_further(image, found) if isinstance(detector, OnnxDetector) else found


def open_detector(
    model: str | Path | None = None,
    *,
    device: str = "cpu",
    threads: int = 1,
    manifest: Manifest | None = None,
    score_threshold: float | None = None,
    min_face: float | None = None,
    refine: bool | None = None,
) -> FaceDetector:
    """Opens a face detector.

    Args:
        model: None for the manifest's own; the path of an ONNX file: YuNet, SCRFD with landmarks, or any model in the
            detector contract of `models/manifest.json`, told apart by their outputs; "insightface:<path or pack>" for
            a detector of `insightface.model_zoo` (its package must be installed).
        device: As for `open_session`: "cpu", "cuda", "openvino", "auto" ...
        threads: Of the CPU, for one run.
        manifest: Whose detector is meant; the bundled one where it is None or names no detector.
        score_threshold: Lowest score that counts, 0..1; None for the model's own.
        min_face: Height in pixels of the smallest face to be found, 4 or more: a smaller value finds more in large
            pictures, a larger one takes less time (see `OnnxDetector`). None: faces from 8 px in pictures of 640
            to 1,920 px, from proportionally more in larger ones and less (4 at least) in smaller ones; in panoramas,
            as in a part of them that is 2.5 times as long as wide.
        refine: Whether a second network refines the landmarks. None: with the manifest's detector, where the manifest
            has a model for it.

    Raises:
        ArgumentError: `min_face` is below 4, `score_threshold` is not in 0..1, the device is unknown, or `min_face` is
            given for a detector of InsightFace's package.
        ModelError: No such model, altered, or of a family that is not known.
        ProviderError: The device's provider is not in use.
    """
    if isinstance(model, str) and model.startswith("insightface:"):
        from lrface.detection.insightface import InsightFaceDetector

        if min_face is not None:
            raise ArgumentError("InsightFace's package chooses the working size itself: leave min_face out")
        return InsightFaceDetector(model.partition(":")[2], device, threads, score_threshold)
    from lrface.detection.decode import decode_contract
    from lrface.detection.input_tensor import InputSpec
    from lrface.detection.onnx_detector import OnnxDetector
    from lrface.models.manifest import Manifest
    from lrface.models.sessions import open_session

    if manifest is None or not manifest.detectors:
        manifest = Manifest.load()
    refiner = None
    if manifest.landmarkers and (refine if refine is not None else model is None):
        from lrface.detection.landmark_refinement import LandmarkRefiner

        landmarker = manifest.landmarkers[0]
        opened = open_session(manifest.read(landmarker), landmarker.sha256, device, threads)
        refiner = LandmarkRefiner(opened, landmarker)
    pyramid = None
    if model is not None:
        session = open_session(Path(model), None, device, threads)
        decode, spec, usual = _recognise(session, str(model))
    else:
        entry = manifest.detector
        session = open_session(manifest.read(entry), entry.sha256, device, threads)
        given, pyramid = entry.input, entry.pyramid
        decode, usual = decode_contract(entry.boxes, entry.scores, entry.landmarks), entry.score_threshold
        spec = InputSpec(given.channels, given.mean, given.scale, given.multiple)
    return OnnxDetector(
        session,
        decode,
        spec,
        usual if score_threshold is None else score_threshold,
        min_face=min_face,
        pyramid=pyramid,
        box_voting=model is None,
        refiner=refiner,
    )


def _recognise(session: Session, name: str) -> tuple[Decoder, InputSpec, float]:
    """Tells a graph's family by its outputs."""
    from lrface.detection.decode import decode_contract, decode_scrfd, decode_yunet
    from lrface.detection.input_tensor import InputSpec

    outputs = {output.name: output.shape for output in session.get_outputs()}
    sides = session.get_inputs()[0].shape[2:]
    fixed = sides[0] if len(sides) == 2 and isinstance(sides[0], int) and sides[0] == sides[1] else None
    if {f"{part}_{stride}" for part in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)} <= set(outputs):
        return decode_yunet, InputSpec(fixed=fixed), YUNET_THRESHOLD
    if {"boxes", "scores", "landmarks"} <= set(outputs):
        return decode_contract("boxes", "scores", "landmarks"), InputSpec(fixed=fixed), CONTRACT_THRESHOLD
    if sorted(shape[-1] for shape in outputs.values() if isinstance(shape[-1], int)) == [1, 1, 1, 4, 4, 4, 10, 10, 10]:
        lengths = [length for shape in outputs.values() if isinstance(length := shape[-2], int)]
        if fixed is None and len(lengths) == len(outputs):
            fixed = round((max(lengths) / 2) ** 0.5) * 8  # two anchors in each cell of stride 8
        return decode_scrfd, InputSpec("RGB", 127.5, 1 / 128, 32, fixed), SCRFD_THRESHOLD
    raise ModelError(
        f"{name} is not a face detector that lrface knows (outputs {', '.join(outputs)}): "
        "use YuNet, SCRFD with landmarks, or a model with outputs boxes, scores, landmarks"
    )
