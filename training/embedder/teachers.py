"""Teachers: ONNX embedders of high-resolution faces, run by onnxruntime, their embeddings cached.

A teacher is an ONNX file with its preprocessing; several are concatenated (each unit-normalised, the whole divided by
the root of their number, so that it is of unit length and its cosine is the mean of theirs).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from tqdm import tqdm

from training.common.files import replacing
from training.data.faces import FaceSet
from training.recipe import TeacherSpec

ARCFACE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
RETAIL_0095 = 128 * np.array(
    [[0.31556875, 0.46157411], [0.68262292, 0.46157411], [0.50026250, 0.64050536], [0.34947188, 0.82469196],
     [0.65343646, 0.82469196]], np.float32
)  # fmt: skip


@dataclass(frozen=True)
class Preprocessing:
    """How an ONNX embedder's input is made.

    Attributes:
        size: side of the square input, in pixels.
        rgb: channel order; False is BGR.
        mean: subtracted from the 0-255 value.
        scale: multiplied after that.
        template: the five landmarks ``[5, 2]`` of its crop in pixels of the input; None is ArcFace's.
    """

    size: int = 112
    rgb: bool = True
    mean: float = 127.5
    scale: float = 1 / 127.5
    template: npt.NDArray[np.float32] | None = field(default=None, compare=False)


# By file stem, as published; a recipe gives the preprocessing of any other embedder.
KNOWN_TEACHERS = {
    "edgeface_xs": Preprocessing(),
    "reid0095": Preprocessing(size=128, rgb=False, mean=0.0, scale=1.0, template=RETAIL_0095),
    "w600k_r50": Preprocessing(),
}


def similarity(source: npt.NDArray[np.float32], target: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The similarity transform ``[2, 3]`` of least squared error between two templates ``[5, 2]`` (Umeyama, 1991).

    OpenCV's robust estimators fit some of the five points exactly and ignore the others, which rotated the crop of
    reid-0095 by four degrees.
    """
    z, w = (points.astype(np.float64) @ np.array([1, 1j]) for points in (source, target))
    centred = z - z.mean()
    a = np.vdot(centred, w - w.mean()) / np.vdot(centred, centred).real
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


class Teacher:
    """One ONNX embedder, fed canonical 112x112 crops.

    Args:
        path: the ONNX file, input ``[n or 1, 3, size, size]``, output ``[n, dim]``.
        spec: its preprocessing; by default looked up by the file's stem in ``KNOWN_TEACHERS``.
        threads: CPU threads of onnxruntime.

    Raises:
        ValueError: an unknown teacher without a spec.
    """

    def __init__(self, path: Path, spec: Preprocessing | None = None, threads: int = 1) -> None:
        if spec is None and path.stem not in KNOWN_TEACHERS:
            raise ValueError(f"{path.name}: unknown teacher; give its preprocessing (one of {sorted(KNOWN_TEACHERS)})")
        self.path = path
        self.spec = spec or KNOWN_TEACHERS[path.stem]
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        entry = self._session.get_inputs()[0]
        self._input, self._fixed = entry.name, isinstance(entry.shape[0], int)
        self._warp = None
        if self.spec.template is not None:
            self._warp = similarity(ARCFACE, self.spec.template)

    @property
    def key(self) -> str:
        """Twelve hex digits of the hash of the file and its preprocessing: what cached embeddings depend on."""
        warp = b"" if self._warp is None else self._warp.round(6).tobytes()
        preprocessing = repr((self.spec.size, self.spec.rgb, self.spec.mean, self.spec.scale)).encode()
        return hashlib.sha256(self.path.read_bytes() + preprocessing + warp).hexdigest()[:12]

    def tensor(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Crops uint8 ``[n, 112, 112, 3]`` BGR to the network's input float32 ``[n, 3, size, size]``."""
        spec, side = self.spec, (self.spec.size, self.spec.size)
        if self._warp is not None:
            crops = np.stack([cv2.warpAffine(c, self._warp, side, flags=cv2.INTER_LINEAR) for c in crops])
        elif crops.shape[1:3] != side:
            crops = np.stack([cv2.resize(c, side, interpolation=cv2.INTER_LINEAR) for c in crops])
        if spec.rgb:
            crops = crops[..., ::-1]
        values = (crops.astype(np.float32) - np.float32(spec.mean)) * np.float32(spec.scale)
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2))

    def embed(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Unit embeddings float32 ``[n, dim]`` of crops uint8 ``[n, 112, 112, 3]`` (BGR, ArcFace template)."""
        x = self.tensor(crops)
        batches = [x[i : i + 1] for i in range(len(x))] if self._fixed else [x]
        raw = np.concatenate([self._session.run(None, {self._input: b})[0].reshape(len(b), -1) for b in batches])
        return (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)


def open_teachers(entries: Iterable[str | TeacherSpec], folder: Path, threads: int = 1) -> list[Teacher]:
    """The teachers of a recipe, read from ``folder``."""
    out = []
    for entry in entries:
        if isinstance(entry, str):
            out.append(Teacher(folder / entry, threads=threads))
        else:
            spec = Preprocessing(entry.size, entry.rgb, entry.mean, entry.scale)
            out.append(Teacher(folder / entry.file, spec, threads))
    return out


def embed_all(teachers: list[Teacher], crops: npt.NDArray[np.uint8], progress: str = "") -> npt.NDArray[np.float32]:
    """Concatenated unit embeddings float32 ``[n, sum of dims]`` of all crops, in batches of 64."""
    out = []
    for i in tqdm(range(0, len(crops), 64), desc=progress or None, disable=not progress, unit="batch"):
        batch = np.asarray(crops[i : i + 64])
        out.append(np.concatenate([t.embed(batch) for t in teachers], axis=1) / np.sqrt(len(teachers)))
    return np.concatenate(out).astype(np.float32)


def cached_embeddings(teachers: list[Teacher], faces: FaceSet, cache: Path) -> npt.NDArray[np.float32]:
    """Teachers' embeddings of a whole set, float32 ``[n, dim]``, computed once a teacher, in resumable shards.

    They are kept in float16 (cosine to float32 above .99999), named by the teacher's and the set's key.
    """
    parts = []
    for teacher in teachers:
        folder = cache / f"embeddings-{faces.key}-{teacher.path.stem}-{teacher.key}"
        folder.mkdir(parents=True, exist_ok=True)
        shards = []
        for start in tqdm(range(0, len(faces), 4096), desc=f"teach {teacher.path.stem}", unit="shard"):
            shard = folder / f"{start:08d}.npy"
            if not shard.exists():
                done = embed_all([teacher], faces.crops[start : start + 4096]).astype(np.float16)
                with replacing(shard) as part:
                    np.save(part, done)
            shards.append(np.load(shard))
        parts.append(np.concatenate(shards).astype(np.float32))
    return np.concatenate(parts, axis=1) / np.float32(np.sqrt(len(teachers)))
