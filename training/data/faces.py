"""Aligned training faces: read once from Parquet files or plain folders, then mapped from a cache.

A cache is one folder with ``crops.npy`` (uint8 ``[n, 112, 112, 3]``, BGR, ArcFace template) and ``faces.parquet``
(one row a crop: name, source, identity, split, native_crop_px). It holds faces: keep it outside git.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

SIZE = 112
COLUMNS = ["name", "source", "identity", "split", "native_crop_px"]


def default_cache() -> Path:
    """Folder for everything that training derives from faces: ``$LRFACE_CACHE`` or ``~/.cache/lrface``."""
    return Path(os.environ.get("LRFACE_CACHE", "~/.cache/lrface")).expanduser()


@dataclass(frozen=True)
class FaceSet:
    """Aligned crops with their table.

    Also pictures of other things, see ``training.data.images``: square, of another side, classes as identities.

    Attributes:
        crops: uint8 ``[n, 112, 112, 3]``, BGR, aligned to the ArcFace template; may be a read-only memory map.
        table: one row a crop, columns ``COLUMNS``; ``identity`` is "" where unknown.
        key: short hash of what the set was made from; names caches of embeddings.
    """

    crops: npt.NDArray[np.uint8]
    table: pd.DataFrame
    key: str

    def __len__(self) -> int:
        return len(self.table)

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        """Indices ``[m]`` of the crops of one split (``"train"`` or ``"val"``)."""
        return np.flatnonzero((self.table["split"] == split).to_numpy())


def load_faces(source: Path, cache: Path) -> FaceSet:
    """Read a training set, through the cache.

    Args:
        source: a folder of Parquet files with columns ``COLUMNS`` and ``image`` (encoded 112x112 crops), or a folder
            ``people/<name>/*.jpg`` of ordinary photos, which are detected and aligned with the bundled detector.
        cache: folder for derived files.

    Raises:
        FileNotFoundError: the folder holds neither.
    """
    files = sorted(source.glob("*.parquet")) or sorted(p for p in source.glob("*/*") if p.is_file())
    if not files:
        raise FileNotFoundError(
            f"{source}: neither *.parquet files nor <name>/<picture> folders; name the right folder"
        )
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(source)}:{file.stat().st_size}\n".encode())
    key = digest.hexdigest()[:12]
    folder = cache / f"faces-{key}"
    if not (folder / "faces.parquet").exists():
        folder.mkdir(parents=True, exist_ok=True)
        parquet = files[0].suffix == ".parquet"
        write_cache(folder, _from_parquet(files) if parquet else _from_folders(source, files))
    table = pd.read_parquet(folder / "faces.parquet")
    return FaceSet(np.load(folder / "crops.npy", mmap_mode="r"), table, key)


def code_key(*sources: Path) -> str:
    """Eight hex digits of the code that a cached file depends on, so that other code makes another file.

    Args:
        sources: modules, or folders of them.
    """
    files = [file for source in sources for file in (sorted(source.rglob("*.py")) if source.is_dir() else [source])]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:8]


def validation_faces(source: Path, cache: Path) -> FaceSet:
    """Only the ``val`` split of a set; of Parquet files it is read without building the cache of the whole set."""
    files = sorted(source.glob("*.parquet"))
    if not files:
        whole = load_faces(source, cache)
        rows = whole.rows("val")
        return FaceSet(np.asarray(whole.crops[rows]), whole.table.iloc[rows].reset_index(drop=True), f"{whole.key}-val")
    crops, lines = zip(*_from_parquet(files, "val"), strict=True)
    return FaceSet(np.stack(crops), pd.DataFrame(lines, columns=COLUMNS), "val")


def _from_parquet(files: list[Path], split: str = "") -> Iterator[tuple[npt.NDArray[np.uint8], dict[str, object]]]:
    for file in tqdm(files, desc="decode", unit="file"):
        frame = pd.read_parquet(file, filters=[("split", "==", split)] if split else None)
        frame["identity"] = frame["identity"].fillna("")
        for row in frame.to_dict("records"):
            crop = cv2.imdecode(np.frombuffer(row["image"], np.uint8), cv2.IMREAD_COLOR)
            if crop is None:
                raise ValueError(f"{file}: the image of {row['name']!r} cannot be decoded; remove the row")
            yield crop.astype(np.uint8, copy=False), {column: row[column] for column in COLUMNS}


def _from_folders(source: Path, files: list[Path]) -> Iterator[tuple[npt.NDArray[np.uint8], dict[str, object]]]:
    from lrface.detection import open_detector
    from lrface.enrolment.portraits import cut_portrait, fingerprint
    from lrface.errors import LrfaceError

    held_out = validation_people({file.parent.name for file in files})
    detector = open_detector()
    for file in tqdm(files, desc="align", unit="photo"):
        try:
            portrait = cut_portrait(*fingerprint(file), detector)
        except LrfaceError as error:
            tqdm.write(f"left out: {file}: {error}")
            continue
        yield (
            portrait.crop,
            {
                "name": str(file.relative_to(source).with_suffix("")),
                "source": source.name,
                "identity": file.parent.name,
                "split": "val" if file.parent.name in held_out else "train",
                "native_crop_px": round(portrait.native_px),
            },
        )


def validation_people(people: set[str]) -> set[str]:
    """A twentieth of the people, two at least, chosen by their names' hash: all photos of a person are in one split.

    Raises:
        ValueError: fewer than four people.
    """
    if len(people) < 4:
        raise ValueError(
            f"{len(people)} people: training and validation need at least four, in <name>/<picture> folders"
        )
    drawn = sorted(people, key=lambda name: hashlib.sha256(name.encode()).digest())
    return set(drawn[: max(2, len(people) // 20)])


def write_cache(
    folder: Path, faces: Iterator[tuple[npt.NDArray[np.uint8], dict[str, object]]], size: int = SIZE
) -> None:
    """Stream crops to disk; the table is written last, so a cache without it is made again.

    Args:
        folder: of the cache.
        faces: crops uint8 ``[size, size, 3]``, each with its row of the table.
        size: their side in pixels.

    Raises:
        ValueError: there are none, or one has another shape.
    """
    raw = folder / "crops.raw"
    rows = []
    with raw.open("wb") as out:
        for crop, row in faces:
            if crop.shape != (size, size, 3):
                raise ValueError(f"{row['name']}: crop {crop.shape}, expected {(size, size, 3)}; align it first")
            out.write(crop.tobytes())
            rows.append(row)
    if not rows:
        raise ValueError("no usable picture in the training set")
    crops = np.memmap(raw, np.uint8, "r", shape=(len(rows), size, size, 3))
    np.save(folder / "crops.npy", crops)
    raw.unlink()
    temporary = folder / "faces.parquet.part"
    pd.DataFrame(rows, columns=COLUMNS).astype({"source": str}).to_parquet(temporary)
    temporary.replace(folder / "faces.parquet")
