"""SCface (Grgic, Delac, Grgic, 2011): 130 people, a mugshot each, seen by surveillance cameras at three distances.

Layout of the release, below ``--root``::

    mugshot_frontal_cropped_all/001_frontal.jpg
    surveillance_cameras_all/001_cam1_1.jpg      <person>_cam<camera>_<distance>; cameras 1-5 by day, 6-7 infrared

Distances are 4.2, 2.6 and 1.0 m. Only the day cameras are read. Everybody is enrolled; results that were published with
50 of the people used for training are on the other 80 and do not compare.
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.lib.datasets.records import FaceRecord, IdentificationTest, existing

NAME = "SCface"
DISTANCES = {"1": "4.2 m", "2": "2.6 m", "3": "1.0 m"}


def read_scface(root: Path) -> IdentificationTest:
    """Mugshots against each distance, closed set.

    Raises:
        FileNotFoundError: it is laid out otherwise.
        ValueError: no picture of it is named as in the release.
    """
    mugshots = _named(existing(root / "mugshot_frontal_cropped_all", NAME), r"(?P<person>\d{3})_frontal")
    seen = _named(existing(root / "surveillance_cameras_all", NAME), r"(?P<person>\d{3})_cam[1-5]_(?P<distance>[123])")
    gallery = [FaceRecord(picture, match["person"]) for picture, match in mugshots]
    probes = {
        label: [FaceRecord(picture, match["person"]) for picture, match in seen if match["distance"] == number]
        for number, label in DISTANCES.items()
    }
    return IdentificationTest(NAME, gallery, {label: part for label, part in probes.items() if part}, ranks=(1, 5, 10))


def _named(folder: Path, pattern: str) -> list[tuple[Path, re.Match[str]]]:
    named = re.compile(pattern + r"\.jpe?g", re.IGNORECASE)
    found = [(path, match) for path in sorted(folder.iterdir()) if (match := named.fullmatch(path.name))]
    if not found:
        raise ValueError(f"{folder}: no picture is named as in the release of {NAME}")
    return found
