"""A face is aligned once for each set of its landmarks, whatever is done with it."""

from __future__ import annotations

import numpy as np
import pytest
from fake_detectors import portraits

import lrface.alignment
from lrface.detection import open_detector
from lrface.detection.landmark_refinement import ITERATIONS
from lrface.embedding.embedders import embed_faces, open_networks
from lrface.models.manifest import Manifest


def test_one_alignment_for_each_iteration_and_one_for_the_embedding(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[np.ndarray] = []
    estimate = lrface.alignment.estimate_similarity
    monkeypatch.setattr(
        lrface.alignment, "estimate_similarity", lambda points: calls.append(points) or estimate(points)
    )
    detector, networks = open_detector(), open_networks(Manifest.load())
    image = portraits()["astronaut"][0]
    found = detector.detect(image)
    assert len(found) >= 1
    assert len(calls) == ITERATIONS * len(found)
    calls.clear()
    faces = embed_faces(image, found, networks)
    assert len(calls) == len(faces) == len(found)
