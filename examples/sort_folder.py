"""Copies the pictures of a folder into one folder a person: python examples/sort_folder.py people/ inbox/ sorted/.

The folder `sorted/` must be new, so that no file is replaced.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import lrface

people, inbox, target = map(Path, sys.argv[1:4])


def folder_of(name: str) -> Path:
    """A folder directly inside the target, whatever the name holds: names in a gallery may come from somebody else."""
    return target / (re.sub(r"[^\w .-]", "_", name).strip(". ") or "_")


target.mkdir(mode=0o700, parents=True)
with lrface.FaceMatcher.open(":memory:") as matcher:
    print(matcher.enroll_folder(people, progress=True))
    for picture in sorted(inbox.iterdir()):
        try:
            faces = matcher.identify(picture)
        except lrface.ImageError as error:
            print(f"left out: {error}")
            continue
        for name in {face.name or "unknown" for face in faces} or {"nobody"}:
            folder = folder_of(name)
            folder.mkdir(exist_ok=True)
            shutil.copy2(picture, folder)
            print(f"{str(picture)!r} -> {str(folder)!r}")  # quoted: a file's name may hold control characters
