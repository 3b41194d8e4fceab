"""Scenes with face boxes, and aligned faces to paste into them: read once, labelled by YuNet, then mapped from a cache.

The teacher is YuNet-n (libfacedetection, permissive), which detects faces in each scene at several scales. A
held-out scene keeps its annotation; the teacher only adds landmarks. In a training scene the teacher also adds faces
that the annotation misses or ignores. What it detects in a training scene without people is a known negative.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import zipfile
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

import lrface.detection
from lrface.alignment import TEMPLATE, estimate_similarity
from lrface.detection import FaceDetector, open_detector
from lrface.detection.suppression import NMS_IOU, suppress, vote_boxes
from lrface.geometry import box_iou, transform_points
from lrface.types import Detections
from training.data.faces import code_key, load_faces

Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]
TRAINED_LABELS = ("face", "masked")
SCENE_REPEATS = {
    "afw": 10,
    "medmask": 2,
}  # times an epoch: candid photos and crowded news pictures are few
MARGIN = 40  # black pixels around an aligned crop, so that the teacher sees the edges of the face's box
VALIDATION_PERCENT = 5
EMPTY = ("raccoon", "rooms", "kangaroo", "textures", "camvid")  # sets whose pictures without boxes show no face
EMPTY_PERCENT = 30  # of these are held out, to count false alarms
SCALES = (0.5, 1.0, 2.0)  # at which the teacher sees a scene and its mirror image
MIN_SCORE = 0.1  # the teacher's score from which on it detects a face at all
SIGHTING_SCORE = 0.25  # ... from which on a detection is not background
NEW_FACE_SCORE = 0.4  # ... from which on it is a face even without annotation
TRUSTED_SCORE = 0.6  # ... from which on its box is better than the annotation's: the data sets' conventions differ
CROP_SCORE = 0.7


@dataclass(frozen=True)
class Labels:
    """What is known of the faces of one picture.

    Attributes:
        boxes: float32 ``[n, 4]``, x1, y1, x2, y2 in pixels.
        landmarks: float32 ``[n, 5, 2]``; meaningless where ``marked`` is false.
        marked: bool ``[n]``, whether the landmarks are known.
        ignored: bool ``[n]``, regions that teach nothing.
        negative: bool ``[n]``, those of the ignored ones in which the teacher detects a face although there is none.
    """

    boxes: Floats
    landmarks: Floats
    marked: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]
    negative: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: npt.NDArray[np.generic] | slice) -> Labels:
        return Labels(*(getattr(self, name)[index] for name in FIELDS))

    @classmethod
    def joined(cls, parts: list[Labels]) -> Labels:
        """All labels of several parts, in order."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in FIELDS))


FIELDS = tuple(field.name for field in fields(Labels))


class SceneSet:
    """Decoded scenes, mapped from one flat file.

    Attributes:
        names: of the pictures.
        train: indices to train on, some of them repeated.
        validation: indices of the held-out ones.
        empty: those of them that show no people.

    Args:
        folder: a cache folder that ``load_scenes`` wrote.
    """

    def __init__(self, folder: Path) -> None:
        index = np.load(folder / "index.npz")
        self.names: list[str] = index["names"].tolist()
        self._offsets, self._sizes = index["offsets"], index["sizes"]
        self._first = index["first"]
        self._labels = Labels(*(index[name] for name in FIELDS))
        self._pixels = np.memmap(folder / "pixels.raw", np.uint8, "r")
        held = np.array([held_out(name) for name in self.names])
        self.train, self.validation = np.flatnonzero(~held), np.flatnonzero(held)
        empty = [is_empty_set(self.names[i]) and not len(self.labels(int(i))) for i in self.validation]
        self.empty = self.validation[np.array(empty, bool)]
        self.train = np.repeat(self.train, [SCENE_REPEATS.get(_set(self.names[i]), 1) for i in self.train])

    def __len__(self) -> int:
        return len(self.names)

    def image(self, i: int) -> Image:
        """uint8 ``[h, w, 3]``, BGR, read-only."""
        height, width = self._sizes[i]
        start = self._offsets[i]
        return self._pixels[start : start + height * width * 3].reshape(height, width, 3)

    def remove_landmark_bias(self, shape: Floats) -> None:
        """Subtract the teacher's bias from the landmarks, see ``without_bias``."""
        known = self._labels.marked
        self._labels.landmarks[known] = without_bias(self._labels.landmarks[known], shape)

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
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=cache))  # two processes may write at the same time
        _write_scenes(part, archive, pd.read_csv(table), teacher)
        with contextlib.suppress(FileExistsError, NotADirectoryError):
            part.replace(folder)
    return SceneSet(folder)


@dataclass(frozen=True)
class PasteSet:
    """Aligned faces with the teacher's box and landmarks.

    Attributes:
        crops: uint8 ``[m, 112, 112, 3]``, BGR, possibly a memory map.
        rows: int ``[n]``, the crops that may be pasted.
        boxes: float32 ``[n, 4]``, pixels of the crop (may leave it by a little).
        landmarks: float32 ``[n, 5, 2]``, the teacher's without its bias; aligning by them gives the crop.
        shape: float32 ``[5, 2]``, the teacher's mean landmarks on aligned crops.
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
        source: as for ``training.data.faces.load_faces``.
        cache: folder for derived files.
        teacher: YuNet.
        count: crops to label, the sharpest of an even sample; those in which it finds no face are left out.
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
        landmarks[i] = transform_points(points, estimate_similarity(points))
    return PasteSet(faces.crops, data["rows"], data["boxes"], landmarks, shape)


def without_bias(landmarks: Floats, shape: Floats) -> Floats:
    """Landmarks without the teacher's bias.

    The teacher's points deviate from the template (YuNet: mouth too high by 3 of 112 px, nose too low), which would
    misalign every face a little. The mean difference to the template, rotated and scaled with each face, is added.

    Args:
        landmarks: float32 ``[n, 5, 2]``, the teacher's.
        shape: float32 ``[5, 2]``, its mean on aligned crops.

    Returns:
        float32 ``[n, 5, 2]``.
    """
    bias = TEMPLATE - shape
    corrected = np.empty_like(landmarks)
    for i, points in enumerate(landmarks):
        # from the face to the crop; its inverse brings the bias to the face
        turn = np.linalg.inv(estimate_similarity(points)[:, :2])
        corrected[i] = points + bias @ turn.T
    return corrected


def held_out(name: str) -> bool:
    """Whether a scene is kept from training."""
    percent = EMPTY_PERCENT if is_empty_set(name) else VALIDATION_PERCENT
    return hashlib.sha256(name.encode()).digest()[0] * 100 < 256 * percent


def teacher_detections(image: Image, teacher: FaceDetector) -> Detections:
    """The teacher's detections in several views of a picture; those of one face are averaged by box voting.

    Args:
        image: uint8 ``[h, w, 3]``.
        teacher: the detector, with a low threshold.

    Returns:
        Faces in pixels of ``image``; the score is that of the best view.
    """
    boxes, scores, landmarks = [], [], []
    for scale in SCALES:
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        view = cv2.resize(image, None, fx=scale, fy=scale, interpolation=method).astype(np.uint8, copy=False)
        ratio = np.array([view.shape[1] / image.shape[1], view.shape[0] / image.shape[0]], np.float32)
        for mirrored in (False, True):
            found = teacher.detect(np.ascontiguousarray(view[:, ::-1]) if mirrored else view)
            box, points = found.boxes.copy(), found.landmarks.copy()
            if mirrored:
                box[:, [0, 2]] = view.shape[1] - box[:, [2, 0]]
                points = points[:, [1, 0, 2, 4, 3]]
                points[..., 0] = view.shape[1] - points[..., 0]
            boxes.append(box / np.tile(ratio, 2))
            landmarks.append(points / ratio)
            scores.append(found.scores)
    box, points, score = np.concatenate(boxes), np.concatenate(landmarks), np.concatenate(scores)
    kept = suppress(box, score, NMS_IOU)
    mean, marks = vote_boxes(kept, box, score, points)
    return Detections.from_arrays(mean, score[kept], marks)


def annotated_labels(boxes: Floats, ignored: npt.NDArray[np.bool_], seen: Detections) -> Labels:
    """The annotation as it is, with the teacher's landmarks where a detection overlaps by half.

    Args:
        boxes: float32 ``[n, 4]``.
        ignored: bool ``[n]``.
        seen: the teacher's detections.
    """
    no = np.zeros(len(boxes), bool)
    if not len(boxes) or not len(seen):
        return Labels(boxes, np.zeros((len(boxes), 5, 2), np.float32), no, ignored, no)
    overlap = box_iou(boxes, seen.boxes)
    return Labels(boxes, seen.landmarks[overlap.argmax(axis=1)], overlap.max(axis=1) >= 0.5, ignored, no)


def training_labels(labels: Labels, seen: Detections) -> Labels:
    """The labels that are trained on.

    Annotated faces get the teacher's box where its score is high. Its detections elsewhere are faces, weak ones are
    ignored. What is annotated as ignored stays so only where the teacher detects no face.

    Args:
        labels: of ``annotated``.
        seen: the teacher's detections.
    """
    faces, unknown = labels[~labels.ignored], labels[labels.ignored]
    boxes, free = faces.boxes.copy(), np.ones(len(seen), bool)
    if len(faces) and len(seen):
        overlap = box_iou(faces.boxes, seen.boxes)
        best = overlap.argmax(axis=1)
        better = faces.marked & (seen.scores[best] >= TRUSTED_SCORE)
        boxes[better] = seen.boxes[best[better]]
        free = np.maximum(box_iou(boxes, seen.boxes), overlap).max(axis=0) < 0.3
    count = int(free.sum())
    known, weak = np.ones(count, bool), seen.scores[free] < NEW_FACE_SCORE
    new = Labels(seen.boxes[free], seen.landmarks[free], known, weak, ~known)
    if len(unknown) and count:
        unknown = unknown[box_iou(unknown.boxes, new.boxes).max(axis=1) < 0.4]
    return Labels.joined([replace(faces, boxes=boxes), new, unknown])


def known_negatives(seen: Detections) -> Labels:
    """Labels of what the teacher detects in a picture without people: all known negatives."""
    yes = np.ones(len(seen), bool)
    return Labels(seen.boxes, seen.landmarks, ~yes, yes, yes)


def is_empty_set(name: str) -> bool:
    """Whether a scene is of a set whose pictures without boxes show no people."""
    return _set(name) in EMPTY


def _set(name: str) -> str:
    return name.rsplit("_", 1)[0]


def _key(*files: Path) -> str:
    """Cache key: the data's names and sizes, and the code that runs the teacher."""
    digest = hashlib.sha256(code_key(Path(lrface.detection.__file__).parent, Path(__file__)).encode())
    for file in files:
        digest.update(f"{file.name}:{file.stat().st_size}\n".encode())
    return digest.hexdigest()[:12]


def _write_scenes(folder: Path, archive: Path, table: pd.DataFrame, teacher: Path) -> None:
    """Stream pixels to disk, then the index."""
    detector, sensitive = (
        open_detector(teacher, score_threshold=SIGHTING_SCORE),
        open_detector(teacher, score_threshold=MIN_SCORE),
    )
    rows = dict(list(table.groupby("file")))
    offsets, sizes, first, parts, at = [], [], [0], [], 0
    with zipfile.ZipFile(archive) as pack, (folder / "pixels.raw").open("wb") as out:
        names = sorted(name for name in pack.namelist() if name.endswith(".webp"))
        for name in tqdm(names, desc="scenes", unit="picture"):
            decoded = cv2.imdecode(np.frombuffer(pack.read(name), np.uint8), cv2.IMREAD_COLOR)
            if decoded is None:
                raise ValueError(f"{archive}: {name} is not a picture: replace it or leave it out")
            image = decoded.astype(np.uint8, copy=False)
            out.write(image.tobytes())
            offsets.append(at)
            sizes.append(image.shape[:2])
            at += image.size
            part = rows.get(name, table.iloc[:0])
            boxes = part[["x1", "y1", "x2", "y2"]].to_numpy(np.float32).reshape(-1, 4)
            ignored = ~part["label"].isin(TRAINED_LABELS).to_numpy(bool)
            empty = not len(part) and is_empty_set(name)
            if empty and not held_out(name):
                parts.append(known_negatives(teacher_detections(image, sensitive)))
            else:
                seen = Detections.empty() if empty else teacher_detections(image, detector)
                labels = annotated_labels(boxes, ignored, seen)
                parts.append(labels if held_out(name) else training_labels(labels, seen))
            first.append(first[-1] + len(parts[-1]))
    every = Labels.joined(parts)
    np.savez(
        folder / "index.npz", names=np.array(names), offsets=np.array(offsets), sizes=np.array(sizes),
        first=np.array(first), **{name: getattr(every, name) for name in FIELDS},
    )  # fmt: skip


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
