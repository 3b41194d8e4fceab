"""From cut-out faces to scores, for tests that are larger than a gallery file is meant for.

The rules are the runtime's: a face is embedded by the network of its size, an enrolled one at all smaller levels too, a
person is the normalised mean of the templates of a level, and a probe is compared at the level that the calibration
names, or where a person has no template there, at the person's largest. One thing differs: no face is too small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from benchmarks.lib.crops import FaceCrop, crop_pictures, shrink_and_enlarge
from benchmarks.lib.datasets.records import STRANGER, FaceRecord
from lrface.decisions.calibration import Calibration
from lrface.detection import FaceDetector
from lrface.embedding.embedders import open_embedders
from lrface.embedding.levels import level_for, template_levels
from lrface.metrics import UNRANKED, mate_ranks
from lrface.models.manifest import Manifest
from lrface.types import FloatArray, ImageArray

CHUNK = 512


@dataclass(frozen=True, eq=False)
class Embedded:
    """Embeddings of faces.

    Attributes:
        vectors: by level, float32 ``[n, dim]``; a row of zeros where the face has none at that level.
        level: int ``[n]``, the face's own level.
        native_px: float ``[n]``.
        found: bool ``[n]``, whether a detector found the face (or its place was given).
    """

    vectors: dict[int, FloatArray]
    level: npt.NDArray[np.int64]
    native_px: npt.NDArray[np.float64]
    found: npt.NDArray[np.bool_]

    def own(self) -> FloatArray:
        """Each face at its own level, float32 ``[n, dim]``."""
        out = np.zeros_like(next(iter(self.vectors.values())))
        for level, vectors in self.vectors.items():
            out[self.level == level] = vectors[self.level == level]
        return out


@dataclass(frozen=True, eq=False)
class Searches:
    """What searches returned; all ``[n]``.

    Attributes:
        mated: whether the person is enrolled.
        own: the mate's score; -inf where there is none.
        rank: the mate's rank; `UNRANKED` where there is none.
        top: the best score of all.
        named: column of the best.
    """

    mated: npt.NDArray[np.bool_]
    own: npt.NDArray[np.float64]
    rank: npt.NDArray[np.int64]
    top: npt.NDArray[np.float64]
    named: npt.NDArray[np.int64]


class Chain:
    """The networks of a models folder, with what decides which of them sees a face.

    Attributes:
        embedders: by level.
        models: SHA-256 by name.
        compare_at: the level of the templates that a probe of a level is compared with: the calibration's word, or like
            with like for models that nobody has calibrated yet.
    """

    def __init__(self, manifest: Manifest, threads: int = 1) -> None:
        self.embedders = open_embedders(manifest, threads=threads)
        self.models = {entry.name: entry.sha256 for entry in manifest.entries}
        self.compare_at = {level: level for level in self.embedders}
        if (manifest.folder / "calibration.json").exists():
            calibration = Calibration.of(manifest)
            self.compare_at = {level: calibration.compare_at(level) for level in self.embedders}

    def embed(self, cuts: Sequence[FaceCrop], enrolled: bool = False) -> Embedded:
        """Embeds faces, each at its own level; to enrol them, at all smaller ones as well."""
        crops = np.array([cut.crop for cut in cuts], np.uint8)
        sizes = np.array([cut.native_px for cut in cuts])
        own = np.array([level_for(size, self.embedders) for size in sizes], np.int64)
        wanted = [
            template_levels(size, self.embedders) if enrolled else [one] for size, one in zip(sizes, own, strict=True)
        ]
        vectors = {}
        for level, embedder in self.embedders.items():
            rows = [i for i, levels in enumerate(wanted) if level in levels]
            vectors[level] = np.zeros((len(cuts), embedder.dim), np.float32)
            if rows:
                vectors[level][rows] = embedder.embed(crops[rows])
        return Embedded(vectors, own, sizes, np.array([cut.found for cut in cuts]))

    def embed_at(self, crops: ImageArray, size: int) -> FloatArray:
        """Embeddings ``[n, dim]`` of crops uint8 ``[n, 112, 112, 3]`` shrunk by area to size x size pixels."""
        if size not in self.embedders:
            crops = np.stack([shrink_and_enlarge(crop, size) for crop in crops])
        return self.embedders[level_for(size, self.embedders)].embed(crops)

    def embed_records(
        self, records: Sequence[FaceRecord], detector: FaceDetector, enrolled: bool = False, what: str = "faces"
    ) -> Embedded:
        """Reads, aligns and embeds faces, in pieces that fit into memory; in the order of the records."""
        order, parts, batch = [], [], list[FaceCrop]()
        for rows, cuts in tqdm(crop_pictures(records, detector), desc=what, unit="picture", leave=False):
            order += rows
            batch += cuts
            if len(batch) >= CHUNK:
                parts.append(self.embed(batch, enrolled))
                batch = []
        parts += [self.embed(batch, enrolled)] if batch else []
        back = np.argsort(order)
        vectors = {level: np.concatenate([part.vectors[level] for part in parts])[back] for level in self.embedders}
        level, sizes, found = (
            np.concatenate([getattr(p, f) for p in parts])[back] for f in ("level", "native_px", "found")
        )
        return Embedded(vectors, level, sizes, found)

    def search(self, probes: Embedded, mates: Sequence[str], gallery: Templates) -> Searches:
        """Searches every probe.

        Args:
            probes: faces.
            mates: who each is; somebody who is not enrolled is a non-mated search.
            gallery: who is enrolled.
        """
        column = {person: i for i, person in enumerate(gallery.people)}
        mate = np.array([column.get(who, -1) if who != STRANGER else -1 for who in mates], np.int64)
        count = len(mate)
        out = Searches(
            mate >= 0, np.full(count, -np.inf), np.full(count, UNRANKED, np.int64), np.zeros(count), mate * 0
        )
        vectors = probes.own()
        for level in np.unique(probes.level):
            people = gallery.at(self.compare_at[int(level)])
            rows = np.flatnonzero(probes.level == level)
            for part in np.array_split(rows, max(1, len(rows) // CHUNK)):
                scores = vectors[part] @ people.T
                out.top[part], out.named[part] = scores.max(axis=1), scores.argmax(axis=1)
                mated = mate[part] >= 0
                out.own[part[mated]], out.rank[part[mated]] = mate_ranks(scores[mated], mate[part][mated])
        return out


class Templates:
    """One template a person and level, as a gallery projects them.

    Attributes:
        people: in the order of the columns of scores.
    """

    def __init__(self, faces: Embedded, subjects: Sequence[str]) -> None:
        self.people, row = np.unique(np.asarray(subjects, str), return_inverse=True)
        self._means = {}
        for level, vectors in faces.vectors.items():
            sums = np.zeros((len(self.people), vectors.shape[1]), np.float32)
            np.add.at(sums, row, vectors)
            self._means[level] = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)

    def at(self, level: int) -> FloatArray:
        """float32 ``[people, dim]``: each person at this level or, without a template there, at the largest."""
        out: FloatArray = self._means[level].copy()
        for other in sorted(self._means, reverse=True):
            empty = ~out.any(axis=1)
            out[empty] = self._means[other][empty]
        return out
