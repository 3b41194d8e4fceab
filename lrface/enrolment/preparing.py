"""Photos are read, decoded, searched for a face and embedded by several threads, ahead of what is stored."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lrface.embedding.embedders import Embedder
from lrface.enrolment.portraits import Portrait, cut_portrait, fingerprint
from lrface.errors import EnrolmentError, ImageError
from lrface.gallery import Gallery
from lrface.gallery.refusals import Refusal
from lrface.inputs.images import Source
from lrface.types import FloatArray

if TYPE_CHECKING:
    from lrface.detection import FaceDetector

_AHEAD = 4  # photos a thread that may be ready and not stored yet


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPhoto:
    """A photo that has been looked at.

    Attributes:
        sha256: Of the photo; empty if it cannot be read.
        portrait: The face; None if there is none to enrol.
        vector: float32 [dim], the face's embedding; None without a portrait.
        mirrored: The same of the mirrored face, by which mirrored copies are recognised.
        quality: The network's estimate, 0..1; None without one.
        reason: Why it is refused; empty if it is not, or if it is enrolled already.
        by_itself: Whether nothing but the photo is the reason, so that it holds at the next run too.
        remembered: What an earlier run said; None if the photo was looked at.
    """

    sha256: str = ""
    portrait: Portrait | None = None
    vector: FloatArray | None = None
    mirrored: FloatArray | None = None
    quality: float | None = None
    reason: str = ""
    by_itself: bool = False
    remembered: Refusal | None = None


class Preparer:
    """Looks at photos for enrolment.

    Args:
        gallery: Photos that are in it already are only hashed.
        detector: Finds the faces; called by several threads.
        embedder: The network of enrolment; called by several threads.
        judge: Of what enrolment is; empty to look at photos again that were refused earlier.
    """

    def __init__(self, gallery: Gallery, detector: FaceDetector, embedder: Embedder, judge: str = "") -> None:
        self._gallery, self._detector, self._embedder, self._judge = gallery, detector, embedder, judge

    def prepare(self, name: str, source: Source) -> PreparedPhoto:
        """Looks at one photo of a person. A photo that cannot be used is no error."""
        try:
            photo, sha256 = fingerprint(source)
        except ImageError as error:
            return PreparedPhoto(reason=str(error))
        owner = self._gallery.owner(sha256)
        if owner is not None:
            return PreparedPhoto(sha256, reason="" if owner == name else of_somebody_else(owner))
        if self._judge and (said := self._gallery.refusal(sha256, self._judge, name)) is not None:
            return PreparedPhoto(sha256, reason=said.reason, remembered=said)
        try:
            portrait = cut_portrait(photo, sha256, self._detector)
        except (ImageError, EnrolmentError) as error:
            return PreparedPhoto(sha256, reason=str(error), by_itself=True)
        both = np.stack([portrait.crop, portrait.crop[:, ::-1]])
        (vector, mirrored), (quality, _) = self._embedder.embed_with_quality(both)
        return PreparedPhoto(sha256, portrait, vector, mirrored, quality)

    def prepare_all(
        self, sources: Iterable[tuple[str, Source]], threads: int | None = None
    ) -> Generator[PreparedPhoto]:
        """Looks at many photos of people, in their order.

        Args:
            sources: Name and photo.
            threads: How many photos are looked at simultaneously; None for the number of usable processors.
        """
        threads = threads or usable_processors()
        if threads == 1:
            yield from (self.prepare(name, source) for name, source in sources)
            return
        waiting: deque[Future[PreparedPhoto]] = deque()
        pool = ThreadPoolExecutor(threads, "lrface-enrol")
        try:
            for name, source in sources:
                waiting.append(pool.submit(self.prepare, name, source))
                if len(waiting) >= _AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # also after Ctrl-C: what has not begun is not begun
            pool.shutdown(cancel_futures=True)


def of_somebody_else(owner: str) -> str:
    """Why a photo of another person is refused."""
    return f"this photo is enrolled as {owner!r}: keep it in one person's folder"


def usable_processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
