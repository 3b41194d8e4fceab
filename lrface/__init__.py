"""lrface: recognise people in faces 8 to 64 pixels wide.

    import lrface

    matcher = lrface.FaceMatcher.open("staff.gallery")
    matcher.enroll_folder("people/")
    for face in matcher.identify("frame.jpg"):
        print(face.name, face.similarity, face.box)

The names below are imported when they are first used, so that `import lrface` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOME = {
    "FaceMatcher": "matcher",
    "analyze": "matcher",
    "verify": "matcher",
    "EnrolmentReport": "enrolment.reports",
    "PhotoReport": "enrolment.reports",
    "PhotoStatus": "enrolment.reports",
    "Gallery": "gallery",
    "Match": "gallery",
    "Person": "gallery",
    "Contract": "gallery",
    "Calibration": "decisions.calibration",
    "Embedder": "embedding.embedders",
    "FaceDetector": "detection",
    "open_detector": "detection",
    "Manifest": "models.manifest",
    "models_folder": "models.manifest",
    "VideoSource": "inputs.video",
    "Frame": "inputs.video",
    "StreamEvent": "inputs.video",
    "StreamEventKind": "inputs.live",
    "watch": "watching",
    "Sighting": "watching",
    "WatchReport": "watching",
    "TrackEvent": "tracks.events",
    "TrackEventKind": "tracks.events",
    "read_image": "inputs.images",
    "Candidate": "types",
    "Detection": "types",
    "Detections": "types",
    "Face": "types",
    "Identification": "types",
    "Reason": "types",
    "Verification": "types",
    "ArgumentError": "errors",
    "CalibrationError": "errors",
    "ContractError": "errors",
    "DetectionError": "errors",
    "EnrolmentError": "errors",
    "GalleryError": "errors",
    "GalleryInUseError": "errors",
    "GalleryServerError": "errors",
    "ImageError": "errors",
    "LrfaceError": "errors",
    "ModelError": "errors",
    "ProviderError": "errors",
    "UnknownPersonError": "errors",
    "VideoError": "errors",
}

__all__ = sorted([*_HOME, "__version__"])

if TYPE_CHECKING:
    from lrface.decisions.calibration import Calibration as Calibration
    from lrface.detection import FaceDetector as FaceDetector
    from lrface.detection import open_detector as open_detector
    from lrface.embedding.embedders import Embedder as Embedder
    from lrface.enrolment.reports import EnrolmentReport as EnrolmentReport
    from lrface.enrolment.reports import PhotoReport as PhotoReport
    from lrface.enrolment.reports import PhotoStatus as PhotoStatus
    from lrface.errors import ArgumentError as ArgumentError
    from lrface.errors import CalibrationError as CalibrationError
    from lrface.errors import ContractError as ContractError
    from lrface.errors import DetectionError as DetectionError
    from lrface.errors import EnrolmentError as EnrolmentError
    from lrface.errors import GalleryError as GalleryError
    from lrface.errors import GalleryInUseError as GalleryInUseError
    from lrface.errors import GalleryServerError as GalleryServerError
    from lrface.errors import ImageError as ImageError
    from lrface.errors import LrfaceError as LrfaceError
    from lrface.errors import ModelError as ModelError
    from lrface.errors import ProviderError as ProviderError
    from lrface.errors import UnknownPersonError as UnknownPersonError
    from lrface.errors import VideoError as VideoError
    from lrface.gallery import Contract as Contract
    from lrface.gallery import Gallery as Gallery
    from lrface.gallery import Match as Match
    from lrface.gallery import Person as Person
    from lrface.inputs.images import read_image as read_image
    from lrface.inputs.live import StreamEventKind as StreamEventKind
    from lrface.inputs.video import Frame as Frame
    from lrface.inputs.video import StreamEvent as StreamEvent
    from lrface.inputs.video import VideoSource as VideoSource
    from lrface.matcher import FaceMatcher as FaceMatcher
    from lrface.matcher import analyze as analyze
    from lrface.matcher import verify as verify
    from lrface.models.manifest import Manifest as Manifest
    from lrface.models.manifest import models_folder as models_folder
    from lrface.tracks.events import TrackEvent as TrackEvent
    from lrface.tracks.events import TrackEventKind as TrackEventKind
    from lrface.types import Candidate as Candidate
    from lrface.types import Detection as Detection
    from lrface.types import Detections as Detections
    from lrface.types import Face as Face
    from lrface.types import Identification as Identification
    from lrface.types import Reason as Reason
    from lrface.types import Verification as Verification
    from lrface.watching import Sighting as Sighting
    from lrface.watching import WatchReport as WatchReport
    from lrface.watching import watch as watch


def __getattr__(name: str) -> object:
    """Imports an exported name from its module at its first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
