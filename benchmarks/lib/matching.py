"""From face crops to scores, for tests that are larger than a gallery file can be.

The networks, the choice among them and the templates are the runtime's own code. One thing differs: no face is too
small; one that is narrower than all that a network serves goes to the network of the smallest faces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from benchmarks.lib.crops import FaceCrop, crop_pictures, shrink_and_enlarge
from benchmarks.lib.datasets.records import STRANGER, FaceRecord
from benchmarks.lib.results import hashes
from lrface.detection import FaceDetector
from lrface.embedding.embedders import MIN_NATIVE_PX, Embedder, Networks, open_networks
from lrface.embedding.templates import fuse
from lrface.metrics import UNRANKED, mate_ranks
from lrface.models.manifest import Manifest
from lrface.models.serving import NetworkSet
from lrface.types import FloatArray, ImageArray

CHUNK = 512


def network_of(networks: Networks, width: float) -> Embedder:
    """The network that the runtime gives a face of this native width; that of the smallest faces for smaller ones."""
    smallest = networks.ranges[0]
    return networks.network_for(width) or networks.network_for(max(MIN_NATIVE_PX, smallest.low)) or networks.enrolment


@dataclass(frozen=True, eq=False)
class Embedded:
    """Embeddings of faces.

    Attributes:
        vectors: float32 ``[n, dim]``.
        native_px: float ``[n]``.
        found: bool ``[n]``, whether a detector found the face (or its place was given).
    """

    vectors: FloatArray
    native_px: npt.NDArray[np.float64]
    found: npt.NDArray[np.bool_]


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
    """The networks of a models folder, with what decides which of them embeds a face.

    Attributes:
        networks: The runtime's.
        models: SHA-256 by name.
    """

    def __init__(self, manifest: Manifest, threads: int = 1, which: NetworkSet = NetworkSet.ACCURATE) -> None:
        self.networks = open_networks(manifest, which, threads=threads)
        self.models = hashes(manifest.entries)

    def embed(self, cuts: Sequence[FaceCrop], enrolled: bool = False) -> Embedded:
        """Embeds faces, each by the network that serves its width; to enrol them, all by the network of enrolment."""
        crops = np.array([cut.crop for cut in cuts], np.uint8)
        sizes = np.array([cut.native_px for cut in cuts], np.float64)
        found = np.array([cut.found for cut in cuts])
        if enrolled:
            return Embedded(self.networks.enrolment.embed(crops), sizes, found)
        vectors = np.zeros((len(cuts), self.networks.enrolment.dim), np.float32)
        chosen = [network_of(self.networks, size) for size in sizes]
        for embedder in self.networks.embedders.values():
            rows = [i for i, one in enumerate(chosen) if one is embedder]
            if rows:
                vectors[rows] = embedder.embed(crops[rows])
        return Embedded(vectors, sizes, found)

    def embed_at(self, crops: ImageArray, size: int) -> FloatArray:
        """Embeddings ``[n, dim]`` of crops uint8 ``[n, 112, 112, 3]`` shrunk by area to size x size pixels."""
        embedder = network_of(self.networks, size)
        if size != embedder.level:  # else the network shrinks them itself
            crops = np.stack([shrink_and_enlarge(crop, size) for crop in crops])
        return embedder.embed(crops)

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
        vectors, sizes, found = (
            np.concatenate([getattr(p, f) for p in parts])[back] for f in ("vectors", "native_px", "found")
        )
        return Embedded(vectors, sizes, found)

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
        for part in np.array_split(np.arange(count), max(1, count // CHUNK)):
            scores = probes.vectors[part] @ gallery.vectors.T
            out.top[part], out.named[part] = scores.max(axis=1), scores.argmax(axis=1)
            mated = mate[part] >= 0
            out.own[part[mated]], out.rank[part[mated]] = mate_ranks(scores[mated], mate[part][mated])
        return out


class Templates:
    """One template a person, as the gallery's search index has them.

    Attributes:
        people: in the order of the columns of scores.
        vectors: float32 ``[people, dim]``.
    """

    def __init__(self, faces: Embedded, subjects: Sequence[str]) -> None:
        self.people, row = np.unique(np.asarray(subjects, str), return_inverse=True)
        sums = np.zeros((len(self.people), faces.vectors.shape[1]), np.float32)
        np.add.at(sums, row, faces.vectors)
        self.vectors = fuse(sums)
