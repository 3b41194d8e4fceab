"""How long a folder of photos takes to enrol, and how long the same folder takes again.

    python -m benchmarks.enrolment                        # 1,000 photos of LFW, 250x250 pixels
    python -m benchmarks.enrolment --photos people/       # your own people/<name>/*.jpg
    python -m benchmarks.enrolment --side 2000            # LFW's photos enlarged to this side, as phones take them

Of LFW: the people with most photos, 20 of each at most. One photo in twenty shows nobody, so that some are refused. The
second run finds all of them unchanged, those that were refused too. Time is the clock's and the processors', of all
threads, models and imports left out.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.lib.results import RESULTS, SHARED, hashes, write_result
from lrface.enrolment.preparing import usable_processors
from lrface.inputs.images import read_image
from lrface.matcher import FaceMatcher
from lrface.models.manifest import Manifest

EACH = 20
EMPTY_EVERY = 20


def lay_out(archive: Path, folder: Path, photos: int, side: int) -> None:
    """Writes people/<name>/*.jpg of LFW, and among them pictures that show nobody."""
    with zipfile.ZipFile(archive) as pictures:
        names = [name for name in pictures.namelist() if name.endswith(".jpg")]
        counts = Counter(Path(name).parent.name for name in names)
        order = sorted(names, key=lambda name: (-counts[Path(name).parent.name], name))
        taken: Counter[str] = Counter()
        for name in order:
            person = Path(name).parent.name
            if taken.total() == photos:
                return
            if taken[person] == EACH:
                continue
            target = folder / person / Path(name).name
            target.parent.mkdir(parents=True, exist_ok=True)
            content = pictures.read(name)
            if taken.total() % EMPTY_EVERY == EMPTY_EVERY - 1:  # a smooth picture, another one each time
                rng = np.random.default_rng(taken.total())
                smooth = cv2.resize(rng.integers(90, 160, (4, 4, 3)).astype(np.uint8), (side, side))
                content = cv2.imencode(".jpg", smooth)[1].tobytes()
            elif side != 250:
                picture = read_image(content)
                content = cv2.imencode(".jpg", cv2.resize(picture, (side, side)))[1].tobytes()
            target.write_bytes(content)
            taken[person] += 1


def run(gallery: Path, folder: Path) -> dict[str, Any]:
    """Enrols a folder and says what it took."""
    with FaceMatcher.open(gallery) as matcher:
        start, cpu = time.perf_counter(), time.process_time()
        report = matcher.enroll_folder(folder)
        taken = {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - cpu}
    statuses = Counter(str(photo.status) for photo in report.photos)
    return {"photos": len(report.photos), "people": len(report.people)} | taken | dict(sorted(statuses.items()))


def main() -> None:
    """Measure, print, write `enrolment.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a folder people/<name>/*.jpg; LFW's photos unless given")
    parser.add_argument("--count", type=int, default=1000, help="how many photos of LFW")
    parser.add_argument("--side", type=int, default=250, help="pixels, of LFW's photos")
    parser.add_argument("--lfw", type=Path, default=SHARED / "lfw" / "lfw-deepfunneled.zip")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of enrolment.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, gallery = args.photos or Path(temporary) / "people", Path(temporary) / "benchmark.gallery"
        if args.photos is None:
            lay_out(args.lfw, folder, args.count, args.side)
        rows = [{"run": name, **run(gallery, folder)} for name in ("first", "unchanged")]
    for row in rows:
        print(
            "  ".join(
                f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()
            )
        )
    what = "own photos" if args.photos else f"photos of LFW, {args.side}x{args.side} pixels"
    models = hashes(Manifest.load().entries)
    result = {"protocol": f"{what}; {usable_processors()} processors", "models": models, "rows": rows}
    print(f"written: {write_result('enrolment', result, args.out)}")


if __name__ == "__main__":
    main()
