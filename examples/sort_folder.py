"""Copies the pictures of a folder into one folder a person: python examples/sort_folder.py people/ inbox/ sorted/."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import lrface

people, inbox, target = map(Path, sys.argv[1:4])

with lrface.FaceMatcher.open(target.with_suffix(".gallery")) as matcher:
    print(matcher.enroll_folder(people, progress=True))
    for picture in sorted(inbox.iterdir()):
        try:
            faces = matcher.identify(picture)
        except lrface.ImageError as error:
            print(f"left out: {error}")
            continue
        for name in {face.name or "unknown" for face in faces} or {"nobody"}:
            folder = target / name
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(picture, folder)
            print(f"{picture} -> {folder}")
