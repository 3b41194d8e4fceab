from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from lrface.types import Candidate, Detections, Identification


def detections() -> Detections:
    boxes = np.arange(12).reshape(3, 4)
    return Detections.from_arrays(boxes, [0.2, 0.9, 0.5], np.arange(30).reshape(3, 5, 2))


def test_detections_are_sorted_by_score_and_typed() -> None:
    found = detections()
    assert found.scores.tolist() == pytest.approx([0.9, 0.5, 0.2])
    assert found.boxes[:, 0].tolist() == [4, 8, 0]
    assert {a.dtype for a in (found.boxes, found.scores, found.landmarks)} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (np.array([True, False, True]), [4, 0]),
        (np.array([2, 0]), [0, 4]),
        ([1], [8]),
        ([], []),
        (slice(1), [4]),
        (np.zeros(3, bool), []),
    ],
)
def test_indexing_gives_detections(index: object, expected: list[int]) -> None:
    part = detections()[index]  # type: ignore[index]
    assert isinstance(part, Detections)
    assert part.boxes[:, 0].tolist() == expected
    assert len(part) == len(expected) == len(part.landmarks)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        Detections(np.zeros((2, 4), np.float32), np.zeros(3, np.float32), np.zeros((3, 5, 2), np.float32))
    assert len(Detections.empty()) == 0


def test_an_identification_is_frozen_and_speaks_json_without_the_embedding() -> None:
    landmarks, embedding = np.ones((5, 2), np.float32), np.ones(4, np.float32)
    found = Identification(
        (np.float32(1), 2, 3, 4),  # type: ignore[arg-type]
        0.9,
        landmarks,
        20.0,
        16,
        embedding,
        name="Zoë",
        similarity=0.7,
        threshold=0.5,
        reason="match",
        candidates=(Candidate("Zoë", 0.7), Candidate("Bo", 0.1)),
    )
    said = json.loads(json.dumps(found.to_dict()))
    assert said["name"] == "Zoë"
    assert said["box"] == [1, 2, 3, 4]
    assert said["candidates"][1] == {"name": "Bo", "similarity": 0.1}
    assert "embedding" not in said
    assert "array" not in repr(found)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.name = "Bo"  # type: ignore[misc]
