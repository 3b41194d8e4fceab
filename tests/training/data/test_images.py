"""Pictures with classes: the layouts of released sets, on tiny folders of their shape, and what is held out."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("pandas")
pytest.importorskip("torch")

from training.data.images import load_images
from training.recipe import ImageSpec

RNG = np.random.default_rng(0)


def save(path: Path, value: int, shape: tuple[int, int] = (12, 20)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*shape, 3), (value, 0, 0), np.uint8))


def cars(root: Path) -> None:
    for number in range(1, 9):
        save(root / "cars_train" / f"{number:05d}.jpg", number)
    (root / "train_perfect_preds.txt").write_text("2\n1\n4\n10\n1\n2\n4\n10\n")


def whole_cars(root: Path) -> None:
    from scipy.io import savemat

    kind = [("relative_im_path", "O"), ("bbox_x1", "O"), ("class", "O"), ("test", "O")]
    rows = [(f"car_ims/{i:06d}.jpg", 1, c, i % 2) for i, c in enumerate((2, 1, 4, 10, 1, 2, 4, 10), 1)]
    for row in rows:
        save(root / row[0], row[2])
    savemat(root / "cars_annos.mat", {"annotations": np.array(rows, kind)})


def cub(root: Path, separator: str = " ") -> None:
    names = [f"{c:03d}.Bird_{c}/Bird_{c}_{i}.jpg" for c in (1, 2, 3, 10) for i in range(2)]
    for number, name in enumerate(names):
        save(root / "images" / name, number)
    lines = [(i, name, int(name[:3])) for i, name in enumerate(names, 1)]
    (root / "images.txt").write_text("".join(f"{i}{separator}{name}\n" for i, name, _ in lines))
    (root / "image_class_labels.txt").write_text("".join(f"{i}{separator}{c}\n" for i, _, c in lines))


def sop(root: Path) -> None:
    for part, classes in (("train", (1, 2)), ("test", (3, 10))):
        lines = ["image_id class_id super_class_id path"]
        for c in classes:
            for i in range(2):
                save(root / "chair_final" / f"{c}_{i}.JPG", c)
                lines.append(f"{len(lines)} {c} 1 chair_final/{c}_{i}.JPG")
        (root / f"Ebay_{part}.txt").write_text("\n".join(lines) + "\n")


def cifar100(root: Path) -> None:
    for part, count in (("train", 6), ("test", 3)):
        records = np.zeros((count, 3074), np.uint8)
        records[:, 1] = np.arange(count) % 3
        records[:, 2 : 2 + 1024] = 200  # red comes first
        records.tofile(root / f"{part}.bin")


def svhn(root: Path) -> None:
    from scipy.io import savemat

    for part, count in (("train", 6), ("test", 3)):
        pictures = np.zeros((32, 32, 3, count), np.uint8)
        pictures[:, :, 0] = 200
        savemat(root / f"{part}_32x32.mat", {"X": pictures, "y": np.array([[10, 1, 2] * 2][0][:count])[:, None]})


def folders(root: Path) -> None:
    for c in ("ant", "bee", "cat", "dog"):
        for i in range(2):
            save(root / c / f"{i}.png", i)


@pytest.mark.parametrize(
    ("make", "hold_out", "trained", "held"),
    [
        (cars, "classes", {"001", "002"}, {"004", "010"}),
        (whole_cars, "classes", {"001", "002"}, {"004", "010"}),
        (cub, "classes", {"001", "002"}, {"003", "010"}),
        (lambda root: cub(root, ", "), "classes", {"001", "002"}, {"003", "010"}),
        (sop, "classes", {"00001", "00002"}, {"00003", "00010"}),
        (cifar100, "pictures", {"00", "01", "02"}, {"00", "01", "02"}),
        (svhn, "pictures", {"0", "1", "2"}, {"0", "1", "2"}),
        (folders, "classes", {"ant", "bee"}, {"cat", "dog"}),
    ],
    ids=["cars", "whole cars", "cub", "cub with commas", "sop", "cifar100", "svhn", "folders"],
)
def test_released_sets_are_read_by_their_layouts(make, hold_out: str, trained: set, held: set, tmp_path: Path) -> None:
    make(tmp_path)
    images = load_images(tmp_path, ImageSpec(8, hold_out), tmp_path / "cache")
    assert images.crops.shape[1:] == (8, 8, 3)
    for split, classes in (("train", trained), ("val", held)):
        assert set(images.table["identity"].iloc[images.rows(split)]) == classes
    if make in (cifar100, svhn):
        assert (len(images.rows("train")), len(images.rows("val"))) == (6, 3)
        assert images.crops[0, 0, 0].tolist() == [0, 0, 200]  # BGR


def test_parts_of_a_folder_are_kept(tmp_path: Path) -> None:
    for part, count in (("train", 3), ("test", 2)):
        for c in ("ant", "bee"):
            for i in range(count):
                save(tmp_path / part / c / f"{i}.png", i)
    images = load_images(tmp_path, ImageSpec(8, "pictures"), tmp_path / "cache")
    assert (len(images.rows("train")), len(images.rows("val"))) == (6, 4)


def test_a_fifth_of_each_class_is_held_out(tmp_path: Path) -> None:
    for c in ("ant", "bee"):
        for i in range(10):
            save(tmp_path / c / f"{i}.png", i)
    images = load_images(tmp_path, ImageSpec(8, "pictures"), tmp_path / "cache")
    held = images.table.iloc[images.rows("val")]
    assert held["identity"].value_counts().to_dict() == {"ant": 2, "bee": 2}


def test_a_broken_picture_is_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders(tmp_path)
    (tmp_path / "ant" / "broken.jpg").write_bytes(b"no picture")
    images = load_images(tmp_path, ImageSpec(8), tmp_path / "cache")
    assert len(images) == 8
    assert "broken.jpg" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("make", "spec", "message"),
    [
        (lambda root: None, ImageSpec(8), "no <class>/<picture> folders"),
        (lambda root: save(root / "ant" / "0.png", 0), ImageSpec(8), "1 classes: give at least four"),
        (folders, ImageSpec(8, "pictures"), "no class has 5 pictures"),
        (sop, ImageSpec(8, "pictures"), "parts of different classes"),
        (lambda root: (root / "train.bin").write_bytes(b"123"), ImageSpec(8), "no records of 3,074"),
        (lambda root: (root / "train_32x32.mat").write_bytes(b"123" * 99), ImageSpec(8), "cannot be read"),
        (lambda root: (root / "cars_annos.mat").write_bytes(b""), ImageSpec(8), "cannot be read"),
        (lambda root: [cub(root), (root / "images" / "001.Bird_1" / "Bird_1_0.jpg").unlink()], ImageSpec(8), "missing"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(make, spec: ImageSpec, message: str, tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_images(tmp_path, spec, tmp_path / "cache")
