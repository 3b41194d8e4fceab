"""QMUL-SurvFace (Cheng, Zhu, Gong, 2018): faces of surveillance cameras, about 24x20 px, not shrunk from larger ones.

Layout of the release, below ``--root``::

    Face_Identification_Test_Set/gallery/*.jpg        gallery_img_ID_pairs.mat: gallery_set (names), gallery_ids
    Face_Identification_Test_Set/mated_probe/*.jpg    mated_probe_img_ID_pairs.mat: mated_probe_set, mated_probe_ids
    Face_Identification_Test_Set/unmated_probe/*.jpg  strangers: probes, never of the gallery
    Face_Verification_Test_Set/verification_images/*.jpg
    Face_Verification_Test_Set/positive_pairs_names.mat: positive_pairs_names [n, 2]; negative likewise
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.lib.datasets.records import (
    FaceRecord,
    IdentificationTest,
    VerificationTest,
    existing,
    mat_faces,
    mat_names,
)

NAME = "QMUL-SurvFace"


def read_survface(root: Path) -> IdentificationTest:
    """The open-set identification test: TPIR within rank 20 at FPIR 0.3, 0.2, 0.1, 0.01, as its authors report.

    Raises:
        FileNotFoundError: it is laid out otherwise.
        ValueError: a list of it cannot be understood.
    """
    folder = existing(root / "Face_Identification_Test_Set", NAME)
    gallery, mated = (
        mat_faces(folder / part, folder / f"{part}_img_ID_pairs.mat", part, NAME) for part in ("gallery", "mated_probe")
    )
    strangers = [FaceRecord(picture) for picture in sorted(existing(folder / "unmated_probe", NAME).glob("*.jpg"))]
    return IdentificationTest(NAME, gallery, {"all": [*mated, *strangers]}, fpirs=(0.3, 0.2, 0.1, 0.01), at_rank=20)


def read_survface_pairs(root: Path) -> VerificationTest:
    """The verification test: TAR at FAR 0.3, 0.1, 0.01, 0.001, as its authors report; there are no folds.

    Raises:
        FileNotFoundError: it is laid out otherwise.
        ValueError: a list of it cannot be understood.
    """
    folder = existing(root / "Face_Verification_Test_Set", NAME)
    images = existing(folder / "verification_images", NAME)
    names = [
        mat_names(folder / f"{kind}_pairs_names.mat", f"{kind}_pairs_names", NAME).reshape(-1, 2)
        for kind in ("positive", "negative")
    ]
    pairs = [(FaceRecord(images / a), FaceRecord(images / b)) for a, b in np.concatenate(names)]
    same = np.arange(len(pairs)) < len(names[0])
    return VerificationTest.of_pairs(f"{NAME} pairs", pairs, same, fars=(0.3, 0.1, 0.01, 0.001))
