"""TinyFace (Cheng, Zhu, Gong, ACCV 2018): identification of faces of about 20 px among 150,000 others.

Layout of the release, below ``--root``::

    Testing_Set/Gallery_Match/*.jpg       gallery_match_img_ID_pairs.mat: gallery_set (names), gallery_ids
    Testing_Set/Probe/*.jpg               probe_img_ID_pairs.mat: probe_set, probe_ids
    Testing_Set/Gallery_Distractor/*.jpg  people without a probe; they fill the gallery
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.lib.datasets.records import FaceRecord, IdentificationTest, existing, mat_faces

NAME = "TinyFace"


def read_tinyface(root: Path) -> IdentificationTest:
    """The test of the release: closed set, the gallery with its distractors.

    Raises:
        FileNotFoundError: it is laid out otherwise.
        ValueError: a list of it cannot be understood.
    """
    folder = existing(root / "Testing_Set", NAME)
    gallery = mat_faces(folder / "Gallery_Match", folder / "gallery_match_img_ID_pairs.mat", "gallery", NAME)
    probes = mat_faces(folder / "Probe", folder / "probe_img_ID_pairs.mat", "probe", NAME)
    others = sorted(existing(folder / "Gallery_Distractor", NAME).glob("*.jpg"))
    distractors = [FaceRecord(picture, f"distractor {picture.stem}") for picture in others]
    return IdentificationTest(NAME, [*gallery, *distractors], {"all": probes}, ranks=(1, 5, 20, 50))
