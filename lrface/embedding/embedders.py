"""Faces -> unit vectors, each by the network made for its size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lrface.alignment import CROP, align_faces, shrink
from lrface.embedding.levels import MIN_NATIVE_PX, level_for
from lrface.embedding.quality import seen_quality
from lrface.errors import ImageError, ModelError
from lrface.models.manifest import EmbedderEntry, Manifest
from lrface.models.sessions import open_session, read_model
from lrface.types import Box, Detections, Face, FloatArray, ImageArray

BATCH = 64
"""Faces in one run of a network, to bound its memory."""


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
        inputs = {i.name: i.shape for i in self._session.get_inputs()}
        outputs = {o.name: o.shape for o in self._session.get_outputs()}
        fits = list(inputs.get(entry.input.name, []))[1:] == [3, entry.level, entry.level]
        fits &= entry.quality is None or len(outputs.get(entry.quality, [])) == 1
        if not fits or outputs.get(entry.output, [None])[-1] != entry.dim:
            raise ModelError(
                f"{entry.file} has inputs {inputs} and outputs {outputs}, not those of its manifest: export it again"
            )

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
        for start in range(0, len(crops), BATCH):
            part = slice(start, start + BATCH)
            out[part], *rest = self._session.run(wanted, {self.entry.input.name: self._tensor(crops[part])})
            quality[part] = rest[0] if rest else 0.0
        norms = np.linalg.norm(out, axis=1, keepdims=True)
        if not (np.isfinite(norms).all() and (norms > 1e-12).all() and np.isfinite(quality).all()):
            raise ModelError(f"{self.entry.file} gave vectors without a length: run `lrface models verify`")
        unit: FloatArray = out / norms
        return unit, [None] * len(out) if self.entry.quality is None else np.clip(quality, 0, 1).tolist()

    def _tensor(self, crops: ImageArray) -> FloatArray:
        spec = self.entry.input
        small = np.stack([shrink(crop, self.level) for crop in crops])
        if spec.channels == "RGB":
            small = small[..., ::-1]
        tensor: FloatArray = (small.astype(np.float32) - np.float32(spec.mean)) * np.float32(spec.scale)
        return np.ascontiguousarray(tensor.transpose(0, 3, 1, 2))


def open_embedders(manifest: Manifest, device: str = "cpu", threads: int = 1) -> dict[int, Embedder]:
    """All embedders of a manifest, by level.

    Raises:
        ModelError: There is none, or one cannot be loaded.
        ProviderError: The device's provider is not in use.
    """
    if not manifest.embedders:
        raise ModelError(f"{manifest.folder} holds no embedder: name a folder with lrface-16.onnx or lrface-32.onnx")
    return {level: Embedder(e, manifest.folder, device, threads) for level, e in manifest.embedders.items()}


def embed_faces(image: ImageArray, detections: Detections, embedders: Mapping[int, Embedder]) -> list[Face]:
    """Aligns and embeds every detected face at the level of its size, one run of a network for each level.

    Args:
        image: uint8 [h, w, 3], BGR.
        detections: Of this picture.
        embedders: By level.

    Returns:
        The faces in the order of the detections. A face below `MIN_NATIVE_PX`, or whose landmarks form no face
        (native_px 0), has an empty embedding.
    """
    alignments = align_faces(detections.landmarks)
    sizes = [0.0 if alignment is None else alignment.native_px for alignment in alignments]
    levels = [level_for(size, embedders) for size in sizes]
    vectors: list[FloatArray] = [np.zeros(0, np.float32)] * len(detections)
    qualities: list[float | None] = [None] * len(detections)
    for level, embedder in embedders.items():
        own = [(i, alignment) for i, alignment in enumerate(alignments) if alignment and levels[i] == level]
        rows = [(i, alignment) for i, alignment in own if alignment.native_px >= MIN_NATIVE_PX]
        if rows:
            crops = np.stack([alignment.crop(image) for _, alignment in rows])
            for (i, _), vector, quality in zip(rows, *embedder.embed_with_quality(crops), strict=True):
                vectors[i], qualities[i] = vector, quality
    errors = detections.landmark_errors
    return [
        Face(
            _box(detections, i),
            float(detections.scores[i]),
            detections.landmarks[i],
            sizes[i],
            levels[i],
            vectors[i],
            quality=seen_quality(qualities[i], None if errors is None else float(errors[i])),
        )
        for i in range(len(detections))
    ]


def _box(detections: Detections, i: int) -> Box:
    x1, y1, x2, y2 = (float(v) for v in detections.boxes[i])
    return x1, y1, x2, y2
