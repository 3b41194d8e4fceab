from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from lrface.errors import LrfaceError
from lrface.types import Candidate, Detections, Identification, one_in


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


def test_a_detection_by_its_number_and_in_a_loop() -> None:
    found = dataclasses.replace(detections(), landmark_errors=np.float32([0.1, 0.2, 0.3]))
    first, last = found[0], found[np.int64(-1)]
    assert (first.box, first.score, first.landmark_error) == ((4, 5, 6, 7), pytest.approx(0.9), pytest.approx(0.1))
    np.testing.assert_array_equal(first.landmarks, found.landmarks[0])
    assert last.box == (0, 1, 2, 3)
    assert [one.box[0] for one in found] == [4, 8, 0]
    assert [one.box[0] for one in reversed(found)] == [0, 8, 4]  # type: ignore[call-overload]
    assert [one.landmark_error for one in detections()] == [None] * 3
    for outside in (3, -4):
        with pytest.raises(IndexError):
            found[outside]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["boxes", "scores", "landmarks"])
def test_values_that_are_not_finite_are_refused(name: str, value: float) -> None:
    arrays = {"boxes": np.ones((2, 4)), "scores": np.ones(2), "landmarks": np.ones((2, 5, 2))}
    arrays[name].reshape(-1)[-1] = value
    with pytest.raises(LrfaceError, match=f"{name} are not all finite"):
        Detections.from_arrays(**arrays)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        Detections(np.zeros((2, 4), np.float32), np.zeros(3, np.float32), np.zeros((3, 5, 2), np.float32))
    with pytest.raises(ValueError, match="landmark_errors"):
        dataclasses.replace(detections(), landmark_errors=np.zeros(2, np.float32))
    assert len(Detections.empty()) == 0


def test_what_landmarks_may_be_off_by_stays_with_its_face() -> None:
    told = dataclasses.replace(detections(), landmark_errors=np.float32([0.1, 0.2, np.nan]))
    assert told[[2, 0]].landmark_errors == pytest.approx([np.nan, 0.1], nan_ok=True)
    assert detections()[[2, 0]].landmark_errors is None


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
        candidates=(Candidate("Zoë", 0.7, 1e-5, "id-z"), Candidate("Bo", 0.1, 0.25, "id-b")),
        person="id-z",
    )
    said = json.loads(json.dumps(found.to_dict()))
    assert (said["name"], said["person"]) == ("Zoë", "id-z")
    assert said["box"] == [1, 2, 3, 4]
    assert said["candidates"][1] == {"name": "Bo", "person": "id-b", "similarity": 0.1, "false_match_rate": 0.25}
    assert "embedding" not in said
    assert "array" not in repr(found)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.name = "Bo"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (1.0, "every second stranger or more"),
        (0.5, "every second stranger or more"),
        (0.26, "one stranger in 3.8"),
        (0.01, "one stranger in 100"),
        (1 / 12_345, "one stranger in 12,000"),
        (1e-7, "fewer than one stranger in 10,000,000"),
        (0.0, "fewer than one stranger in 10,000,000"),
    ],
)
def test_a_share_of_strangers_in_words(share: float, words: str) -> None:
    assert one_in(share) == words


BO = Candidate("Bo", 0.1, 0.25)


@pytest.mark.parametrize(
    ("name", "reason", "candidates", "size", "said"),
    [
        ("Zoë", "match", (Candidate("Zoë", 0.7, 1e-5), BO), 10, (
            "Zoë: similarity 0.70 reaches 0.50. One stranger in 100,000 looks this similar to Zoë, one stranger in "
            "10,000 to anybody of the 10 enrolled. The threshold: as measured. The face is 20 px wide, seen at level "
            "16, quality 0.81. Next: Bo 0.10 (one stranger in 4)."
        )),
        (None, "below threshold", (Candidate("Zoë", 0.7, 0.02),), 1, (
            "Unknown: looks most like Zoë, but similarity 0.70 is below 0.50. One stranger in 50 looks this similar to "
            "Zoë. The threshold: as measured. The face is 20 px wide, seen at level 16, quality 0.81."
        )),
        (None, "gallery is empty", (), 0, (
            "Unknown: gallery is empty. The face is 20 px wide, seen at level 16, quality 0.81."
        )),
    ],
)  # fmt: skip
def test_a_decision_explains_itself(
    name: str | None, reason: str, candidates: tuple[Candidate, ...], size: int, said: str
) -> None:
    similarity = candidates[0].similarity if candidates else None
    threshold = 0.5 if candidates else None
    found = Identification(
        (1, 2, 3, 4), 0.9, np.ones((5, 2), np.float32), 20.0, 16, np.ones(4, np.float32), name, similarity, threshold,
        reason, candidates, "as measured", size, quality=0.81,
    )  # fmt: skip
    assert found.explain() == said
    assert said not in found.to_dict().values()
