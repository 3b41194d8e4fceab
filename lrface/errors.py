"""The errors of lrface. Each message says what is wrong and, after that, what to do."""

from __future__ import annotations

import sys

from lrface.redaction import shown


class LrfaceError(Exception):
    """Base of every error that lrface raises on purpose.

    Args:
        message: One line. Secrets of URLs in it are hidden and control characters escaped (`lrface.redaction`).
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(shown(message))
        cause = sys.exc_info()[1]  # tracebacks show it too, and with it the path that was tried
        if isinstance(cause, OSError) and isinstance(cause.filename, str):
            cause.filename = shown(cause.filename)


class ArgumentError(LrfaceError, ValueError):
    """An argument is out of range or unknown; also a `ValueError`."""


class ImageError(LrfaceError):
    """A picture cannot be used: missing, truncated, too large, of an unknown format or of a wrong shape."""


class DetectionError(LrfaceError, ValueError):
    """What a detector found cannot be used: arrays of wrong shapes, or values that are not finite."""


class ModelError(LrfaceError):
    """A model file or its manifest is missing, altered, or not what its manifest says."""


class ProviderError(LrfaceError):
    """The execution provider that was asked for is not the one in use."""


class GalleryError(LrfaceError):
    """A gallery cannot be read or written."""


class GalleryInUseError(GalleryError):
    """Another process holds a gallery: the same call may succeed later."""


class GalleryServerError(GalleryInUseError):
    """The server that holds a gallery cannot be reached, or fails: the same call may succeed later."""


class UnknownPersonError(GalleryError):
    """Nobody of that name or id is enrolled, or is any more."""


class ContractError(GalleryError):
    """A gallery, a calibration and the loaded models do not belong together."""


class EnrolmentError(LrfaceError):
    """Nothing could be enrolled from what was given.

    Attributes:
        photos: What became of each photo (`lrface.PhotoReport`), where photos were given.
    """

    photos: tuple[object, ...] = ()


class VideoError(LrfaceError):
    """A video, camera or stream cannot be read or written."""


class CalibrationError(LrfaceError):
    """There is no usable threshold: the calibration is missing, malformed, or of other models."""
