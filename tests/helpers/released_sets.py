"""Tiny folders laid out as TinyFace, SurvFace, SCface, XQLFW and UCCS are released; the "faces" are coarse patterns."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from scipy.io import savemat
from tiny_models import face


def cells(names: Iterable[str], width: int = 1) -> np.ndarray:
    """A MATLAB cell array of texts, [n, width]."""
    flat = np.array([*names, None], object)[:-1]
    return flat.reshape(-1, width)


def save(path: Path, name: str, photo: int, side: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = cv2.resize(face(name, photo), (side, side), interpolation=cv2.INTER_AREA)
    assert cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 100])


def listing(folder: Path, listed: str, key: str, people: dict[str, int], photo: int, pictures: str, side: int) -> None:
    """Pictures of people, one each, and the .mat file that names them."""
    names = [f"{number}_{photo}.jpg" for number in people.values()]
    for name, person in zip(names, people, strict=True):
        save(folder / pictures / name, person, photo, side)
    ids = np.array([[number] for number in people.values()], np.uint16)
    savemat(folder / listed, {f"{key}_set": cells(names), f"{key}_ids": ids})


def tinyface(root: Path) -> Path:
    people = {"Ada": 3, "Bo": 17, "Cy": 40}
    folder = root / "Testing_Set"
    listing(folder, "gallery_match_img_ID_pairs.mat", "gallery", people, 1, "Gallery_Match", 28)
    listing(folder, "probe_img_ID_pairs.mat", "probe", people, 2, "Probe", 20)
    for i in range(4):
        save(folder / "Gallery_Distractor" / f"{i}.jpg", f"other {i}", 0, 24)
    return root


def survface(root: Path) -> Path:
    people = {"Ada": 3, "Bo": 17}
    folder = root / "Face_Identification_Test_Set"
    listing(folder, "gallery_img_ID_pairs.mat", "gallery", people, 1, "gallery", 26)
    listing(folder, "mated_probe_img_ID_pairs.mat", "mated_probe", people, 2, "mated_probe", 22)
    for i in range(10):
        save(folder / "unmated_probe" / f"9{i}_cam1_1.jpg", f"stranger {i}", 0, 24)
    folder = root / "Face_Verification_Test_Set"
    for person, number in people.items():
        for photo in (1, 2):
            save(folder / "verification_images" / f"{number}_{photo}.jpg", person, photo, 24)
    positive = cells(["3_1.jpg", "3_2.jpg", "17_1.jpg", "17_2.jpg"], 2)
    negative = cells(["3_1.jpg", "17_1.jpg", "3_2.jpg", "17_1.jpg", "3_2.jpg", "17_2.jpg"], 2)
    savemat(folder / "positive_pairs_names.mat", {"positive_pairs_names": positive})
    savemat(folder / "negative_pairs_names.mat", {"negative_pairs_names": negative})
    return root


def scface(root: Path) -> Path:
    for number, person in enumerate(["Ada", "Bo", "Cy"], 1):
        save(root / "mugshot_frontal_cropped_all" / f"{number:03d}_frontal.JPG", person, 0, 120)
        for camera in (1, 5, 6):
            for distance, side in ((1, 20), (2, 28), (3, 40)):
                save(
                    root / "surveillance_cameras_all" / f"{number:03d}_cam{camera}_{distance}.jpg", person, camera, side
                )
        save(root / "surveillance_cameras_all" / f"{number:03d}_cam8.jpg", person, 8, 100)
    return root


def xqlfw(root: Path) -> Path:
    people = ["Ada_A", "Bo_B", "Cy_C", "Di_D"]
    for person in people:
        for photo in (1, 2):
            save(root / "xqlfw_aligned_112" / person / f"{person}_{photo:04d}.jpg", person, photo, 112)
    lines = ["2\t2"]
    for first, second in (people[:2], people[2:]):
        lines += [f"{person}\t1\t2" for person in (first, second)]
        lines += [f"{first}\t{photo}\t{second}\t{photo}" for photo in (1, 2)]
    (root / "xqlfw_pairs.txt").write_text("\n".join(lines) + "\n")
    return root


RELEASES = {"tinyface": tinyface, "survface": survface, "survface-pairs": survface, "scface": scface, "xqlfw": xqlfw}
