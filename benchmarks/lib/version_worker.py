"""Run by `benchmarks.versions` with the lrface of one checkout: times frames, whenever a line asks for it.

It uses only what every version of lrface has. Arguments: keyword arguments of `FaceMatcher.open` as JSON, a folder of
people, and a folder with the frames of each clip.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from lrface import FaceMatcher

cv2.setNumThreads(1)
matcher = FaceMatcher.open(":memory:", threads=1, **json.loads(sys.argv[1]))
matcher.enroll_folder(sys.argv[2])
frames = {path.stem: np.load(path) for path in Path(sys.argv[3]).glob("*.npy")}
print("ready", flush=True)
for clip in sys.stdin:
    faces, first, started = 0, 0.0, time.thread_time()
    for image in frames[clip.strip()]:
        before = time.thread_time()
        found = matcher.detector.detect(image)
        first += time.thread_time() - before
        faces += len(matcher.identify_faces(image, found))
    count = len(frames[clip.strip()])
    whole = time.thread_time() - started
    answer = {"detection": 1e3 * first / count, "whole": 1e3 * whole / count, "faces": faces / count}
    print(json.dumps(answer), flush=True)
