"""Scenes with face boxes, and aligned faces to paste into them: read once, labelled by YuNet, then mapped from a cache.

The teacher of the landmarks is YuNet-n (libfacedetection, permissive). Boxes of a scene are its annotation's.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from lrface.align import TEMPLATE, estimate_similarity
from lrface.detection import FaceDetector, open_detector
from lrface.metrics.average_precision import box_iou
from training.faces import load_faces

Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]
TRAINED = ("face", "masked")
REPEATED = {"afw": 3}  # candid photos are few among the scenes, beside classrooms and portraits
MARGIN = 40  # black pixels around an aligned crop, so that the teacher sees its box's edges
VALIDATION_PERCENT = 5
SCENE_SCORE = 0.4  # of YuNet: enough for landmarks where an annotated box agrees
CROP_SCORE = 0.7


@dataclass(frozen=True)
class Labels:
    """What is known of the faces of one picture.

    Attributes:
        boxes: float32 ``[n, 4]``, x1, y1, x2, y2 in pixels.
        landmarks: float32 ``[n, 5, 2]``; meaningless where ``marked`` is false.
        marked: bool ``[n]``, whether the landmarks are known.
        ignored: bool ``[n]``, regions to be trained neither way.
    """

    boxes: Floats
    landmarks: Floats
    marked: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: npt.NDArray[np.generic] | slice) -> Labels:
        return Labels(self.boxes[index], self.landmarks[index], self.marked[index], self.ignored[index])

    @classmethod
    def joined(cls, parts: list[Labels]) -> Labels:
        """All labels of several parts, in order."""
        return cls(
            *(np.concatenate([getattr(p, f) for p in parts]) for f in ("boxes", "landmarks", "marked", "ignored"))
        )


class SceneSet:
    """Decoded scenes, mapped from one flat file.

    Attributes:
        names: of the pictures.
        train: indices to train on, some of them repeated.
        validation: indices of the held-out ones.

    Args:
        folder: a cache folder that ``load_scenes`` wrote.
    """

    def __init__(self, folder: Path) -> None:
        index = np.load(folder / "index.npz")
        self.names: list[str] = index["names"].tolist()
        self._offsets, self._sizes = index["offsets"], index["sizes"]
        self._first = index["first"]
        self._labels = Labels(index["boxes"], index["landmarks"], index["marked"], index["ignored"])
        self._pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        digests = [hashlib.sha256(name.encode()).digest()[0] for name in self.names]
        held = np.array(digests) * 100 < 256 * VALIDATION_PERCENT
        self.train, self.validation = np.flatnonzero(~held), np.flatnonzero(held)
        self.train = np.repeat(self.train, [REPEATED.get(self.names[i].rsplit("_", 1)[0], 1) for i in self.train])

    def __len__(self) -> int:
        return len(self.names)

    def image(self, i: int) -> Image:
        """uint8 ``[h, w, 3]``, BGR, read-only."""
        height, width = self._sizes[i]
        start = self._offsets[i]
        return self._pixels[start : start + height * width * 3].reshape(height, width, 3)

    def mend_landmarks(self, shape: Floats) -> None:
        """Take the teacher's bias from the landmarks, see ``unbiased``."""
        known = self._labels.marked
        self._labels.landmarks[known] = unbiased(self._labels.landmarks[known], shape)

    def labels(self, i: int) -> Labels:
        """The faces and ignored regions of scene ``i``."""
        return self._labels[slice(self._first[i], self._first[i + 1])]


def load_scenes(source: Path, cache: Path, teacher: Path) -> SceneSet:
    """Read ``scenes.zip`` and ``boxes.csv``, through the cache.

    Args:
        source: folder of both.
        cache: folder for derived files.
        teacher: YuNet, for the landmarks.

    Raises:
        FileNotFoundError: the folder does not hold them.
    """
    archive, table = source / "scenes.zip", source / "boxes.csv"
    for file in (archive, table):
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing; name the folder that holds scenes.zip and boxes.csv")
    folder = cache / f"scenes-{_key(archive, table, teacher)}"
    if not (folder / "index.npz").exists():
        folder.mkdir(parents=True, exist_ok=True)
        _write_scenes(folder, archive, pd.read_csv(table), teacher)
    return SceneSet(folder)


@dataclass(frozen=True)
class PasteSet:
    """Aligned faces with the teacher's box and landmarks.

    Attributes:
        crops: uint8 ``[m, 112, 112, 3]``, BGR, possibly a memory map.
        rows: int ``[n]``, the crops that may be pasted.
        boxes: float32 ``[n, 4]``, pixels of the crop (may leave it by a little).
        landmarks: float32 ``[n, 5, 2]``, the teacher's without its bias, and so that aligning by them gives the crop.
        shape: float32 ``[5, 2]``, where the teacher sees the landmarks of an aligned crop in the mean.
    """

    crops: Image
    rows: npt.NDArray[np.int64]
    boxes: Floats
    landmarks: Floats
    shape: Floats

    def __len__(self) -> int:
        return len(self.rows)


def load_pastes(source: Path, cache: Path, teacher: Path, count: int, faces_cache: Path | None = None) -> PasteSet:
    """Aligned training crops that the teacher finds, through the cache.

    Args:
        source: as for ``training.faces.load_faces``.
        cache: folder for derived files.
        teacher: YuNet.
        count: crops to look at, the sharpest of an even sample; those it misses are left out.
        faces_cache: where the decoded crops are cached; ``cache`` if None.
    """
    faces = load_faces(source, faces_cache or cache)
    file = cache / f"pastes-{faces.key}-{_key(teacher)}-{count}.npz"
    if not file.exists():
        train = faces.rows("train")
        sharp = train[faces.table["native_crop_px"].to_numpy()[train] >= 80]
        sample = sharp[np.linspace(0, len(sharp) - 1, min(count, len(sharp))).astype(np.int64)]
        _write_pastes(file, faces.crops, sample, teacher)
    data = np.load(file)
    shape = data["landmarks"].mean(axis=0)
    landmarks = data["landmarks"] + (TEMPLATE - shape)
    for i, points in enumerate(landmarks):
        landmarks[i] = _moved(points, estimate_similarity(points))
    return PasteSet(faces.crops, data["rows"], data["boxes"], landmarks, shape)


def unbiased(landmarks: Floats, shape: Floats) -> Floats:
    """Landmarks as the makers of the aligned crops would have set them.

    The teacher sets its points elsewhere (YuNet: mouth too high by 3 of 112 px, nose too low), which would align
    every face a little wrongly. The mean difference to the template, turned and scaled with each face, is added.

    Args:
        landmarks: float32 ``[n, 5, 2]``, the teacher's.
        shape: float32 ``[5, 2]``, its mean on aligned crops.

    Returns:
        float32 ``[n, 5, 2]``.
    """
    bias = TEMPLATE - shape
    mended = np.empty_like(landmarks)
    for i, points in enumerate(landmarks):
        # from the face to the crop; its inverse brings the bias to the face
        turn = np.linalg.inv(estimate_similarity(points)[:, :2])
        mended[i] = points + bias @ turn.T
    return mended


def _moved(points: Floats, matrix: npt.NDArray[np.floating]) -> Floats:
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def match_landmarks(boxes: Floats, images: list[tuple[Image, float]], teacher: FaceDetector) -> tuple[Floats, Floats]:
    """Landmarks for known boxes, from whatever view of the picture shows them best.

    Args:
        boxes: float32 ``[n, 4]``.
        images: views of one picture, each with its scale (its pixels per pixel of the boxes).
        teacher: the detector.

    Returns:
        float32 ``[n, 5, 2]`` landmarks and float32 ``[n]`` scores, 0 where no view's box overlaps by half.
    """
    landmarks = np.zeros((len(boxes), 5, 2), np.float32)
    scores = np.zeros(len(boxes), np.float32)
    for image, scale in images:
        found = teacher.detect(image)
        if not len(found) or not len(boxes):
            continue
        overlap = box_iou(boxes, found.boxes / scale)
        best = overlap.argmax(axis=1)
        better = (overlap.max(axis=1) >= 0.5) & (found.scores[best] > scores)
        landmarks[better] = found.landmarks[best[better]] / scale
        scores[better] = found.scores[best[better]]
    return landmarks, scores


def _key(*files: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}:{file.stat().st_size}\n".encode())
    return digest.hexdigest()[:12]


def _write_scenes(folder: Path, archive: Path, table: pd.DataFrame, teacher: Path) -> None:
    """Stream pixels to disk; the index is written last, so a cache without it is begun anew."""
    detector = open_detector(teacher, score_threshold=SCENE_SCORE)
    rows = dict(list(table.groupby("file")))
    offsets, sizes, first, parts, at = [], [], [0], [], 0
    raw = folder / "pixels.raw"
    with zipfile.ZipFile(archive) as pack, raw.open("wb") as out:
        names = sorted(name for name in pack.namelist() if name.endswith(".webp"))
        for name in tqdm(names, desc="scenes", unit="picture"):
            image = cv2.imdecode(np.frombuffer(pack.read(name), np.uint8), cv2.IMREAD_COLOR).astype(
                np.uint8, copy=False
            )
            out.write(image.tobytes())
            offsets.append(at)
            sizes.append(image.shape[:2])
            at += image.size
            part = rows.get(name, table.iloc[:0])
            boxes = part[["x1", "y1", "x2", "y2"]].to_numpy(np.float32).reshape(-1, 4)
            views = [(cv2.resize(image, None, fx=s, fy=s, interpolation=cv2.INTER_AREA), s) for s in (0.5, 2.0)]
            landmarks, scores = match_landmarks(boxes, [(image, 1.0), *views], detector)
            ignored = ~part["label"].isin(TRAINED).to_numpy(bool)
            parts.append(Labels(boxes, landmarks, scores > 0, ignored))
            first.append(first[-1] + len(boxes))
    np.save(folder / "pixels.npy", np.memmap(raw, np.uint8, "r"))
    raw.unlink()
    every = Labels.joined(parts)
    with (folder / "index.part").open("wb") as file:
        np.savez(
            file, names=np.array(names), offsets=np.array(offsets), sizes=np.array(sizes), first=np.array(first),
            boxes=every.boxes, landmarks=every.landmarks, marked=every.marked, ignored=every.ignored,
        )  # fmt: skip
    (folder / "index.part").replace(folder / "index.npz")


def _write_pastes(file: Path, crops: Image, sample: npt.NDArray[np.int64], teacher: Path) -> None:
    detector = open_detector(teacher, score_threshold=CROP_SCORE)
    side = crops.shape[1] + 2 * MARGIN
    kept, boxes, landmarks = [], [], []
    for row in tqdm(sample, desc="pastes", unit="face"):
        canvas = np.zeros((side, side, 3), np.uint8)
        canvas[MARGIN:-MARGIN, MARGIN:-MARGIN] = crops[row]
        found = detector.detect(canvas)
        if len(found) == 1:
            kept.append(row)
            boxes.append(found.boxes[0] - MARGIN)
            landmarks.append(found.landmarks[0] - MARGIN)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    with part.open("wb") as out:
        np.savez(
            out, rows=np.array(kept, np.int64), boxes=np.array(boxes, np.float32).reshape(-1, 4),
            landmarks=np.array(landmarks, np.float32).reshape(-1, 5, 2),
        )  # fmt: skip
    part.replace(file)
