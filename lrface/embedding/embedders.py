"""Faces -> unit vectors, each by the network that serves its width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lrface.alignment import CROP, align_faces, shrink
from lrface.embedding.quality import AlignmentPenalty, alignment_adjusted_quality
from lrface.errors import ArgumentError, ImageError, ModelError
from lrface.models.manifest import EmbedderEntry, Manifest
from lrface.models.serving import NetworkSet, WidthRange, level_for
from lrface.models.sessions import describe, open_session, read_model
from lrface.types import Box, Detections, Face, FloatArray, ImageArray

MIN_NATIVE_PX = 6.0
"""Below this width, in source pixels of the canonical crop, a face is not embedded."""

BATCH = 64
"""Faces in one run of a network, to bound its memory."""

LARGE_SIDE, LARGE_BATCH = 64, 4
"""A processor runs a network of floating point whose input has more pixels a side with so many faces at most: the
maps of more do not fit its caches, and a face then takes up to a third longer (`benchmarks/devices.py`)."""


class Embedder:
    """One embedder of a manifest.

    Attributes:
        level: Side of its input in pixels.
        dim: Length of an embedding.
    """

    def __init__(self, entry: EmbedderEntry, folder: Path, device: str = "cpu", threads: int = 1) -> None:
        """Loads the model; raises ModelError or ProviderError (see `open_session`)."""
        self.entry, self.level, self.dim = entry, entry.level, entry.dim
        data = read_model(folder / entry.file, entry.sha256)
        self._session = open_session(data, entry.sha256, device, threads)
        on_processor = self._session.device in ("cpu", "openvino") and self._session.precision != "int8"
        self._batch = LARGE_BATCH if on_processor and self.level > LARGE_SIDE else BATCH
        inputs = {i.name: i.shape for i in self._session.get_inputs()}
        outputs = {o.name: o.shape for o in self._session.get_outputs()}
        fits = list(inputs.get(entry.input.name, []))[1:] == [3, entry.level, entry.level]
        fits &= entry.quality is None or len(outputs.get(entry.quality, [])) == 1
        if not fits or outputs.get(entry.output, [None])[-1] != entry.dim:
            raise ModelError(
                f"{entry.file} has inputs {inputs} and outputs {outputs}, not those of its manifest: export it again"
            )

    @property
    def runs_on(self) -> str:
        """Device and precision, in words."""
        return describe(self._session)

    def embed(self, crops: ImageArray) -> FloatArray:
        """Embeds canonical crops; a crop gives the same vector (1e-5) alone and in any batch.

        Args:
            crops: uint8 [n, 112, 112, 3], BGR.

        Returns:
            float32 [n, dim], rows of unit length.

        Raises:
            ImageError: The crops have another shape or dtype.
            ModelError: The network gave numbers that are not finite.
        """
        return self.embed_with_quality(crops)[0]

    def embed_with_quality(self, crops: ImageArray) -> tuple[FloatArray, list[float] | list[None]]:
        """Like `embed`, with the network's own estimate of each crop's worth.

        Returns:
            The vectors, and for each its quality in 0..1 (the cosine to the teacher's embedding of the full-size face
            that the network expects); None for each where the model gives no quality.

        Raises:
            ImageError: The crops have another shape or dtype.
            ModelError: The network gave numbers that are not finite.
        """
        if crops.dtype != np.uint8 or crops.shape[1:] != (CROP, CROP, 3):
            raise ImageError(f"crops are {crops.dtype} {crops.shape}: pass uint8 [n, 112, 112, 3] BGR from align()")
        wanted = [self.entry.output] + ([self.entry.quality] if self.entry.quality is not None else [])
        out, quality = np.empty((len(crops), self.dim), np.float32), np.empty(len(crops), np.float32)
        for start in range(0, len(crops), self._batch):
            part = slice(start, start + self._batch)
            out[part], *rest = self._session.run(wanted, {self.entry.input.name: self._tensor(crops[part])})
            quality[part] = rest[0] if rest else 0.0
        norms = np.linalg.norm(out, axis=1, keepdims=True)
        if not (np.isfinite(norms).all() and (norms > 1e-12).all() and np.isfinite(quality).all()):
            raise ModelError(f"{self.entry.file} gave vectors without a length: run `lrface models verify`")
        unit: FloatArray = out / norms
        return unit, [None] * len(out) if self.entry.quality is None else np.clip(quality, 0, 1).tolist()

    def _tensor(self, crops: ImageArray) -> FloatArray:
        spec = self.entry.input
        tensor: FloatArray = np.empty((len(crops), 3, self.level, self.level), np.float32)
        for planes, crop in zip(tensor, crops, strict=True):
            small = shrink(crop, self.level)
            planes[:] = (small[..., ::-1] if spec.channels == "RGB" else small).transpose(2, 0, 1)
        tensor -= np.float32(spec.mean)  # in place: new arrays of this size take longer than the arithmetic
        tensor *= np.float32(spec.scale)
        return tensor


def open_embedders(manifest: Manifest, device: str = "cpu", threads: int = 1) -> dict[int, Embedder]:
    """All embedders of a manifest, by level.

    Raises:
        ModelError: There is none, or one cannot be loaded.
        ProviderError: The device's provider is not in use.
    """
    if not manifest.embedders:
        raise ModelError(f"{manifest.folder} holds no embedder: name a folder with manifest.json and its models")
    return {level: Embedder(e, manifest.folder, device, threads) for level, e in manifest.embedders.items()}


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """The networks that are in use.

    Attributes:
        embedders: By level; those that serve a width, and that of enrolment.
        ranges: Which of them embeds faces of which width, rising.
        enrolment: The network that embeds every photo of enrolment.
    """

    embedders: dict[int, Embedder]
    ranges: tuple[WidthRange, ...]
    enrolment: Embedder

    def network_for(self, native_px: float) -> Embedder | None:
        """The network for a face, or None for one that is too small (or whose width is not a number above 0).

        Args:
            native_px: Width of its canonical crop in source pixels.
        """
        level = level_for(native_px, self.ranges) if native_px >= MIN_NATIVE_PX else None
        return None if level is None else self.embedders[level]

    def embed_crops(self, crops: ImageArray, widths: Sequence[float]) -> list[Embedded | None]:
        """Embeds canonical crops, each by the network that serves its width, one run for each network.

        Args:
            crops: uint8 [n, 112, 112, 3], BGR.
            widths: [n], native widths in pixels.

        Returns:
            In the order of the crops; None where a face is too small.
        """
        found: list[Embedded | None] = [None] * len(crops)
        chosen = [self.network_for(width) for width in widths]
        for embedder in self.embedders.values():
            rows = [i for i, one in enumerate(chosen) if one is embedder]
            if rows:
                vectors, qualities = embedder.embed_with_quality(crops[rows])
                for i, vector, quality in zip(rows, vectors, qualities, strict=True):
                    found[i] = Embedded(embedder.entry.name, embedder.level, vector, quality)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """What a network says of one crop: its name, the side of its input, a unit vector float32 [dim], its quality."""

    network: str
    level: int
    vector: FloatArray
    quality: float | None


def open_networks(
    manifest: Manifest, networks: NetworkSet | str = NetworkSet.ACCURATE, device: str = "cpu", threads: int = 1
) -> Networks:
    """The networks of a set, and that of enrolment.

    Raises:
        ArgumentError: The set is unknown.
        ModelError: There is none, or one cannot be loaded.
        ProviderError: The device's provider is not in use.
    """
    try:
        ranges = manifest.ranges.get(NetworkSet(networks), ())
    except ValueError as error:
        raise ArgumentError(f"unknown networks {networks!r}: choose one of {', '.join(NetworkSet)}") from error
    enrolment = manifest.enrolment
    levels = sorted({each.level for each in ranges} | {enrolment.level})
    embedders = {level: Embedder(manifest.embedders[level], manifest.folder, device, threads) for level in levels}
    return Networks(embedders, ranges, embedders[enrolment.level])


def embed_faces(
    image: ImageArray, detections: Detections, networks: Networks, penalty: AlignmentPenalty | None = None
) -> list[Face]:
    """Aligns and embeds every detected face by the network that serves its width.

    Args:
        image: uint8 [h, w, 3], BGR.
        detections: Of this picture.
        networks: Those in use.
        penalty: What a poor alignment costs of a face's quality; None for nothing.

    Returns:
        The faces in the order of the detections. A face that no network serves (below `MIN_NATIVE_PX`), or whose
        landmarks form no face (native_px 0), has an empty embedding.
    """
    return embed_faces_of([(image, detections)], networks, penalty)[0]


def embed_faces_of(
    pictures: Sequence[tuple[ImageArray, Detections]], networks: Networks, penalty: AlignmentPenalty | None = None
) -> list[list[Face]]:
    """As `embed_faces`, for several pictures at once: one run of each network for the faces of all of them.

    Args:
        pictures: Each a picture and the detections of its faces.
        networks: Those in use.
        penalty: What a poor alignment costs of a face's quality; None for nothing.

    Returns:
        For each picture its faces, in the order of the detections.
    """
    alignments = [align_faces(detections.landmarks) for _, detections in pictures]
    crops, widths, places = [], [], []
    for p, (image, _) in enumerate(pictures):
        for i, alignment in enumerate(alignments[p]):
            if alignment is not None and alignment.native_px >= MIN_NATIVE_PX:
                crops.append(alignment.crop(image))
                widths.append(alignment.native_px)
                places.append((p, i))
    embedded = networks.embed_crops(np.stack(crops), widths) if crops else []
    found = dict(zip(places, embedded, strict=True))
    unembedded = Embedded("", networks.ranges[0].level, np.zeros(0, np.float32), None)
    results: list[list[Face]] = []
    for p, (_, detections) in enumerate(pictures):
        faces = []
        for i, alignment in enumerate(alignments[p]):
            error = None if detections.landmark_errors is None else float(detections.landmark_errors[i])
            one = found.get((p, i)) or unembedded
            quality = one.quality if penalty is None else alignment_adjusted_quality(one.quality, error, penalty)
            place = _box(detections, i), float(detections.scores[i]), detections.landmarks[i]
            width = 0.0 if alignment is None else alignment.native_px
            faces.append(Face(*place, width, one.level, one.vector, quality=quality, network=one.network))
        results.append(faces)
    return results


def _box(detections: Detections, i: int) -> Box:
    x1, y1, x2, y2 = (float(v) for v in detections.boxes[i])
    return x1, y1, x2, y2
