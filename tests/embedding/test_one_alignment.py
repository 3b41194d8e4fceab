"""A face is aligned once for each set of its landmarks, whatever is done with it."""

from __future__ import annotations

import numpy as np
import pytest
from fake_detectors import portraits

import lrface.alignment
import lrface.detection.landmark_refinement
from lrface.detection import open_detector
from lrface.detection.landmark_refinement import ITERATIONS
from lrface.embedding.embedders import embed_faces, open_networks
from lrface.models.manifest import Manifest


def test_one_alignment_for_each_iteration_and_one_for_the_embedding(monkeypatch: pytest.MonkeyPatch) -> None:
    aligned: list[int] = []  # how many faces, in each call
    estimate = lrface.alignment.estimate_similarities

    def counted(landmarks: np.ndarray) -> object:
        aligned.append(len(landmarks))
        return estimate(landmarks)

    for module in (lrface.alignment, lrface.detection.landmark_refinement):
        monkeypatch.setattr(module, "estimate_similarities", counted)
    detector, networks = open_detector(), open_networks(Manifest.load())
    image = portraits()["astronaut"][0]
    found = detector.detect(image)
    assert len(found) >= 1
    assert sum(aligned) == ITERATIONS * len(found)
    aligned.clear()
    faces = embed_faces(image, found, networks)
    assert sum(aligned) == len(faces) == len(found)
