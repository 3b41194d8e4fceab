"""Networks of others: they are fed the small face enlarged to the size of their input."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from training.common.manifest import sha256
from training.embedder.teachers import Teacher, embed_all

Crops = npt.NDArray[np.uint8]
Embeddings = npt.NDArray[np.float32]


def shrunk(crops: Crops, size: int) -> Crops:
    """Crops shrunk by area to uint8 [n, size, size, 3]."""
    return np.stack([cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA) for crop in crops])


def upscaled(crops: Crops, size: int) -> Crops:
    """Crops shrunk by area and enlarged to 112 by bicubic interpolation, as a teacher would be fed."""
    if size == crops.shape[1]:
        return crops
    return np.stack([cv2.resize(crop, (112, 112), interpolation=cv2.INTER_CUBIC) for crop in shrunk(crops, size)])


class PeerEmbeddings:
    """Embeddings of one set of crops by networks of others; each is kept, since a network stands alone and paired.

    Args:
        whole: crops of the whole set, uint8 [n, 112, 112, 3].
        cache: folder to keep them in from one time to the next, by what is in the crops.
        label: of the set, for the names of files.
    """

    def __init__(self, whole: Crops, cache: Path | None, label: str = "lfw") -> None:
        self.whole, self._cache, self._label = whole, cache, label
        self._digest = hashlib.sha256(np.ascontiguousarray(whole).data).hexdigest()[:8] if cache else ""
        self._known: dict[tuple[Path, int], Embeddings] = {}

    def embed(self, teacher: Teacher, crops: Crops, size: int) -> Embeddings:
        """Unit embeddings [n, dim] of crops seen at size x size pixels; those of other crops are not kept."""
        if crops is not self.whole:
            return teacher.embed(upscaled(crops, size))
        key = (teacher.path, size)
        if key not in self._known:
            name = f"{self._label}-{self._digest}-{teacher.path.stem}-{sha256(teacher.path)[:8]}-{size}.npy"
            kept = self._cache / name if self._cache else None
            if kept is not None and kept.exists():
                self._known[key] = np.load(kept)
            else:
                print(f"{teacher.path.stem} {size} ...", file=sys.stderr)
                self._known[key] = spread(lambda part: embed_all([teacher], upscaled(part, size)), crops)
                if kept is not None:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    np.save(kept, self._known[key])
        return self._known[key]

    def joined(self, teachers: Sequence[Teacher], crops: Crops, size: int) -> Embeddings:
        """Unit embeddings by several networks, concatenated: their cosine is the mean of the networks' cosines."""
        parts = [self.embed(teacher, crops, size) for teacher in teachers]
        return np.concatenate(parts, axis=1) / np.float32(np.sqrt(len(parts)))


def spread(embed: Callable[[Crops], Embeddings], crops: Crops) -> Embeddings:
    """The embeddings of all crops, by as many threads as there are cores."""
    parts = [part for part in np.array_split(crops, 4 * (os.cpu_count() or 1)) if len(part)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.concatenate(list(pool.map(embed, parts)))
