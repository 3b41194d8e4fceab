"""Every face of a video as JSON, with its embedding: python examples/export_json.py staff.gallery clip.mp4 > x.jsonl.

Embeddings are biometric data: keep the file no longer than you must.
"""

from __future__ import annotations

import json
import sys

import lrface

gallery, clip = sys.argv[1:3]
with lrface.FaceMatcher.open(gallery) as matcher, lrface.VideoSource(clip, stride=5) as video:
    for frame in video:
        for face in matcher.identify(frame.image):
            record = {"time_s": round(frame.time_s, 3), **face.to_dict(), "embedding": face.embedding.tolist()}
            print(json.dumps(record))
